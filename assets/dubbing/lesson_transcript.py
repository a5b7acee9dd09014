"""`lesson_transcript`: the words of a lesson with their times, and who says them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.dubbing.gates import require_open
from pipeline.stage import Batch, Cost, Failure, Landing, Outcome, Stage
from resources.engines.routing import Audio, Done, Engines
from resources.lake.lake import Lake
from resources.lake.tables.lessons import (
    CONTENT_REVIEWS,
    LESSON_TRANSCRIPTS,
    LESSON_WORDS,
    LESSONS,
    LessonTranscriptRow,
    LessonWordRow,
)
from resources.studio.lesson_files import LessonFiles
from speech.assignment import assign_speakers
from speech.errors import PodlakeError
from speech.turns import join_words
from speech.types import Diarization, Transcript

_SHOWN = 120


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["lesson_transcripts"].to_pylist()
    words = tables["lesson_words"]
    excerpt = join_words(words["word"].slice(0, _SHOWN).to_pylist())
    return {
        "words": row["n_words"],
        "speakers": row["n_speakers"],
        "excerpt": dg.MetadataValue.md(f"> {excerpt} …" if excerpt else "*No speech.*"),
        "dagster/row_count": words.num_rows,
    }


@Stage(
    tables=(LESSON_TRANSCRIPTS, LESSON_WORDS), ui_metadata=_ui_metadata, group="dubbing", batch_size=1, version="1",
    inputs=("lesson_video", "content_review"), partition_kind="lesson", pool="gpu", engine_slot="transcriber",
)  # fmt: skip
def lesson_transcript(batch: Batch, lake: Lake, engines: Engines, lesson_files: LessonFiles) -> Iterator[Outcome]:
    """Transcribes and diarizes an approved lesson: each word has its times and its speaker, S1, S2, …"""
    audio = list[Audio]()
    for key in batch.keys:
        try:
            require_open(key, batch, lake, CONTENT_REVIEWS, "lesson_video")
            (lesson,) = batch.rows(lake, LESSONS, key)
            path = lesson_files.local(lesson.source_uri)
            audio.append(Audio(key, lesson.source_sha256, path, lesson.source_language))
        except (PodlakeError, OSError) as error:
            yield Failure(key, error)
    transcribed = {done.audio.episode_id: done for done in engines.transcribe(audio)}
    for who in engines.diarize([one for one in audio if transcribed[one.episode_id].error is None]):
        yield _outcome(transcribed.pop(who.audio.episode_id), who)
    for what in transcribed.values():
        yield Failure(what.audio.episode_id, what.error or RuntimeError("The transcriber gave no result."))


def _outcome(what: Done, who: Done) -> Outcome:
    key = what.audio.episode_id
    if not isinstance(what.result, Transcript) or not isinstance(who.result, Diarization):
        return Failure(key, what.error or who.error or RuntimeError("The engine gave no result."))
    words = what.result.words
    speakers = numbered([one.speaker for one in assign_speakers(words, who.result.segments)])
    prints = [done.fingerprint or (done.spec.fingerprint if done.spec else "") for done in (what, who)]
    rows = [
        LessonWordRow(
            word_idx=index, word=word.text, start_ms=word.start_ms, end_ms=word.end_ms, confidence=word.confidence,
            speaker=speaker,
        )
        for index, (word, speaker) in enumerate(zip(words, speakers, strict=True))
    ]  # fmt: skip
    whole = LessonTranscriptRow(
        language=what.result.language or what.audio.language, n_words=len(words),
        n_speakers=len({speaker for speaker in speakers if speaker}), audio_ms=what.audio_ms or 0,
        transcriber_fingerprint=prints[0], diarizer_fingerprint=prints[1],
    )  # fmt: skip
    cost = Cost(
        engine_fingerprint=hashlib.sha256("\n".join(prints).encode()).hexdigest()[:16],
        engine="+".join(done.spec.name for done in (what, who) if done.spec), device=what.device,
        engine_ms=what.result.engine_ms + who.result.engine_ms, audio_ms=what.audio_ms,
    )  # fmt: skip
    return Landing(key, {"lesson_transcripts": [whole], "lesson_words": rows}, cost)


def numbered(speakers: Sequence[str | None]) -> list[str | None]:
    """S1 for who speaks first, S2 for the next one: the names that voices are set for."""
    names = {label: f"S{number}" for number, label in enumerate(dict.fromkeys(filter(None, speakers)), start=1)}
    return [None if speaker is None else names[speaker] for speaker in speakers]
