"""`dub_hearing`: what our own transcriber understands of the dub, compared with the translation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.stage import Batch, Cost, Failure, Landing, Outcome, Stage
from resources.engines.routing import Audio, Done, Engines
from resources.lake.lake import Lake
from resources.lake.tables.lessons import (
    DUB_AUDIO,
    DUB_HEARINGS,
    DUB_TIMES,
    LESSONS,
    DubHearingRow,
)
from resources.studio.lesson_files import LessonFiles
from speech.errors import LanguageWithoutEngine, PodlakeError
from speech.spoken_text import spoken_text
from speech.turns import join_words
from speech.types import Transcript
from speech.word_errors import normalised_words, word_error_rate


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["dub_hearings"].to_pylist()
    shown: dict[str, Any] = {"heard": row["heard_text"] or row["absent_reason"], "words": row["n_words"]}
    rate = row["word_error_rate"]
    return shown if rate is None else {**shown, "word_error_rate": rate}


@Stage(
    tables=(DUB_HEARINGS,), ui_metadata=_ui_metadata, group="dubbing", batch_size=1, version="1",
    inputs=("lesson_video", "dub_audio"), partition_kind="lesson", pool="gpu", engine_slot="transcriber",
)  # fmt: skip
def dub_hearing(batch: Batch, lake: Lake, engines: Engines, lesson_files: LessonFiles) -> Iterator[Outcome]:
    """Transcribes the dub, and counts the words that differ from the lines as they are said."""
    audio, references = list[Audio](), dict[str, list[str]]()
    for key in batch.keys:
        try:
            (lesson,), (dub,) = batch.rows(lake, LESSONS, key), batch.rows(lake, DUB_AUDIO, key)
            language = lesson.target_language
            lines = [spoken_text(row.text, language)[0] for row in batch.rows(lake, DUB_TIMES, key)]
            references[key] = normalised_words(lines, language)
            audio.append(Audio(key, dub.sha256, lesson_files.local(dub.uri), language))
        except (PodlakeError, OSError) as error:
            yield Failure(key, error)
    for done in engines.transcribe(audio):
        yield _outcome(done, references[done.audio.episode_id])


def _outcome(done: Done, reference: list[str]) -> Outcome:
    key, fingerprint = done.audio.episode_id, done.spec.fingerprint if done.spec else None
    if isinstance(done.error, LanguageWithoutEngine):
        row = DubHearingRow(n_words=len(reference), absent_reason=str(done.error))
        return Landing(key, {"dub_hearings": [row]})
    if not isinstance(done.result, Transcript):
        return Failure(key, done.error or RuntimeError("The engine gave no result."))
    heard, language = join_words(word.text for word in done.result.words), done.audio.language or ""
    said, _ = spoken_text(heard, language)  # the transcriber writes figures; the lines have words by now
    row = DubHearingRow(
        word_error_rate=word_error_rate(normalised_words([said], language), reference), n_words=len(reference),
        heard_text=heard, transcriber_fingerprint=fingerprint,
    )  # fmt: skip
    cost = Cost(
        engine_fingerprint=fingerprint, engine=done.spec.name if done.spec else None, device=done.device,
        engine_ms=done.result.engine_ms, audio_ms=done.audio_ms,
    )  # fmt: skip
    return Landing(key, {"dub_hearings": [row]}, cost)
