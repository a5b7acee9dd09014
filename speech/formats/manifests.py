"""Manifests for training toolkits: one JSON object a line, times in seconds.

NeMo: the fields of `nemo_toolkit`'s ASR manifests. Lhotse: `Recording` and `SupervisionSegment` as
`RecordingSet` and `SupervisionSet` read them from `.jsonl`, the words as an alignment.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from speech.turns import Turn
from speech.types import Word


def nemo_manifest(audio_path: str, turns: Iterable[Turn], language: str | None = None) -> str:
    """A line per turn: `audio_filepath`, `offset`, `duration`, `text`, and `speaker` and `lang` where known."""
    return _lines(
        {
            "audio_filepath": audio_path,
            "offset": turn.start_ms / 1_000,
            "duration": (turn.end_ms - turn.start_ms) / 1_000,
            "text": turn.text,
            "speaker": turn.speaker,
            "lang": language,
        }
        for turn in turns
    )


def lhotse_recording(recording_id: str, audio_path: str, sample_rate_hz: int, n_samples: int) -> str:
    """The line of one mono recording for `recordings.jsonl`."""
    return _lines(
        [
            {
                "id": recording_id,
                "sources": [{"type": "file", "channels": [0], "source": audio_path}],
                "sampling_rate": sample_rate_hz,
                "num_samples": n_samples,
                "duration": n_samples / sample_rate_hz,
            }
        ]
    )


def lhotse_supervisions(
    recording_id: str, words: Sequence[Word], turns: Iterable[Turn], language: str | None = None
) -> str:
    """A line per turn for `supervisions.jsonl`; `alignment.word` holds (word, start, duration, confidence)."""
    return _lines(
        {
            "id": f"{recording_id}-{turn.turn_idx:05}",
            "recording_id": recording_id,
            "start": turn.start_ms / 1_000,
            "duration": (turn.end_ms - turn.start_ms) / 1_000,
            "channel": 0,
            "text": turn.text,
            "language": language,
            "speaker": turn.speaker,
            "alignment": {
                "word": [
                    [word.text, word.start_ms / 1_000, (word.end_ms - word.start_ms) / 1_000, word.confidence]
                    for word in words[turn.first_word_idx : turn.first_word_idx + turn.n_words]
                ]
            },
        }
        for turn in turns
    )


def _lines(rows: Iterable[dict[str, object]]) -> str:
    """The rows as JSON lines; a field that is None is left out."""
    return "".join(
        json.dumps({name: value for name, value in row.items() if value is not None}, ensure_ascii=False) + "\n"
        for row in rows
    )
