"""The whole transcript as JSON. docs/exports.md describes the fields."""

import json

from speech.formats.document import Document

SUFFIX = "json"


def write(document: Document) -> str:
    content = {
        "version": 1,
        "episode_id": document.episode_id,
        "audio_sha256": document.audio_sha256,
        "title": document.title,
        "feed_title": document.feed_title,
        "language": document.language,
        "duration_ms": document.duration_ms,
        "turns": [
            {
                "speaker": turn.speaker,
                "start_ms": turn.start_ms,
                "end_ms": turn.end_ms,
                "text": turn.text,
                "words": [
                    {
                        "word": word.text,
                        "start_ms": word.start_ms,
                        "end_ms": word.end_ms,
                        "confidence": None if word.confidence is None else round(word.confidence, 4),
                    }
                    for word in turn.words
                ],
            }
            for turn in document.turns
        ],
        "segments": [
            {"speaker": segment.speaker, "start_ms": segment.start_ms, "end_ms": segment.end_ms}
            for segment in document.segments
        ],
    }
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
