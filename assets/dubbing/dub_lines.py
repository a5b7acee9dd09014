"""`dub_lines`: the voices say the translated sentences, one WAV file each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from assets.dubbing.dub_voices import cast, voice_name
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.engines.voices import Said, Voices
from resources.lake.lake import Lake
from resources.lake.tables.lessons import (
    DUB_LINES,
    LESSON_SENTENCES,
    LESSON_STEMS,
    LESSON_TRANSLATIONS,
    LESSONS,
    DubLineRow,
    LessonSentenceRow,
)
from resources.studio.lesson_files import LessonFiles
from speech.errors import PodlakeError


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    rows = tables["dub_lines"]
    return {
        "lines": rows.num_rows,
        "voices": ", ".join(sorted(set(rows["voice"].to_pylist()))),
        "engines": ", ".join(sorted(set(rows["engine"].to_pylist()))),
        "speech_s": sum(rows["duration_ms"].to_pylist()) / 1000,
        "dagster/row_count": rows.num_rows,
    }


@Stage(
    tables=(DUB_LINES,), ui_metadata=_ui_metadata, group="dubbing", batch_size=1, version="1",
    inputs=("lesson_video", "stems", "sentences", "translation"), partition_kind="lesson", pool="studio",
    engine_slot="synthesizer", kinds=frozenset({"wav", "parquet"}),
)  # fmt: skip
def dub_lines(batch: Batch, lake: Lake, voices: Voices, lesson_files: LessonFiles) -> Iterator[Outcome]:
    """Lets the voice of each speaker say the translated sentences. A silent or far too short line fails the lesson.

    Lines that an interrupted run has made are not said again.
    """
    return each(batch.keys, lambda key: _lines(key, batch, lake, voices, lesson_files))


def _lines(key: str, batch: Batch, lake: Lake, voices: Voices, files: LessonFiles) -> Landing:
    (lesson,), (stems,) = batch.rows(lake, LESSONS, key), batch.rows(lake, LESSON_STEMS, key)
    sentences = batch.rows(lake, LESSON_SENTENCES, key)
    texts = [row.text for row in batch.rows(lake, LESSON_TRANSLATIONS, key)]
    own = cast(lesson, sentences, stems, voices, files)
    said = list(voices.say([own.line(one, text) for one, text in zip(sentences, texts, strict=True)]))
    rows = [_row(sentence, one, files) for sentence, one in zip(sentences, said, strict=True)]
    return Landing(key, {"dub_lines": rows}, _cost(said))


def _row(sentence: LessonSentenceRow, said: Said, files: LessonFiles) -> DubLineRow:
    """Raises the error of the line."""
    if isinstance(said.result, PodlakeError):
        raise said.result
    line = said.line
    name = f"lines/{sentence.sentence_idx:05d}.wav"
    return DubLineRow(
        sentence_idx=sentence.sentence_idx, voice=voice_name(sentence.speaker), engine=said.spec.name,
        model=said.spec.model, voice_fingerprint=said.spec.fingerprint, spoken_text=line.text,
        clone=str(said.spec.settings.get("clone", "none")), duration_ms=said.result.duration_ms,
        sample_rate_hz=said.result.sample_rate_hz, samples_sha256=said.result.samples_sha256,
        uri=files.add(line.podcast_id, name, line.path), engine_ms=said.result.engine_ms,
    )  # fmt: skip


def _cost(said: Sequence[Said]) -> Cost:
    """The engines of all lines together."""
    prints = sorted({one.spec.fingerprint for one in said})
    done = [one.result for one in said if not isinstance(one.result, PodlakeError)]
    return Cost(
        engine_fingerprint=hashlib.sha256("\n".join(prints).encode()).hexdigest()[:16],
        engine="+".join(sorted({one.spec.name for one in said})),
        model="+".join(sorted({one.spec.model for one in said})), device="cpu",
        engine_ms=sum(one.engine_ms for one in done), audio_ms=sum(one.duration_ms for one in done),
    )  # fmt: skip
