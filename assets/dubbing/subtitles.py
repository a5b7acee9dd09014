"""`subtitles`: SRT and WebVTT files of a lesson, in both languages and with both at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.stage import Batch, Landing, Outcome, Stage, each
from resources.lake.lake import Lake
from resources.lake.tables.lessons import (
    LESSON_SENTENCES,
    LESSON_SUBTITLES,
    LESSON_TRANSLATIONS,
    LESSON_WORDS,
    LESSONS,
    LessonSubtitleRow,
)
from resources.studio.lesson_files import LessonFiles
from speech.subtitles import Cue, SubtitleText, bilingual_cues, source_cues, srt, target_cues, too_fast, vtt
from speech.types import Word
from speech.videos import sound_begins_ms

_WRITERS = {"srt": srt, "vtt": vtt}


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    rows = tables["lesson_subtitles"].to_pylist()
    return {f"{row['kind']}.{row['format']}": f"{row['n_cues']} cues: {row['uri']}" for row in rows}


@Stage(
    tables=(LESSON_SUBTITLES,), ui_metadata=_ui_metadata, group="dubbing", batch_size=1, version="1",
    inputs=("lesson_video", "lesson_transcript", "sentences", "translation"), partition_kind="lesson",
    kinds=frozenset({"srt", "vtt", "parquet"}),
)  # fmt: skip
def subtitles(batch: Batch, lake: Lake, lesson_files: LessonFiles) -> Iterator[Outcome]:
    """Writes subtitles of the source, of the translation, and of both: in order, without overlap, two lines at most."""
    return each(batch.keys, lambda key: _subtitles(key, batch, lake, lesson_files))


def _subtitles(key: str, batch: Batch, lake: Lake, files: LessonFiles) -> Landing:
    (lesson,) = batch.rows(lake, LESSONS, key)
    words = batch.rows(lake, LESSON_WORDS, key)
    translated = batch.rows(lake, LESSON_TRANSLATIONS, key)
    begin_ms = sound_begins_ms(files.local(lesson.source_uri))
    texts = [
        SubtitleText(
            begin_ms + one.start_ms, begin_ms + one.end_ms, one.text, target.text,
            tuple(
                Word(word.word, begin_ms + word.start_ms, begin_ms + word.end_ms)
                for word in words[one.first_word_idx : one.first_word_idx + one.n_words]
            ),
            one.speaker,
        )
        for one, target in zip(batch.rows(lake, LESSON_SENTENCES, key), translated, strict=True)
    ]  # fmt: skip
    cues: dict[str, tuple[str, list[Cue]]] = {
        "source": (lesson.source_language, source_cues(texts)),
        "target": (lesson.target_language, target_cues(texts)),
        "bilingual": (f"{lesson.target_language}+{lesson.source_language}", bilingual_cues(texts)),
    }
    rows = [
        LessonSubtitleRow(
            kind=kind, format=suffix, language=language, n_cues=len(own), n_too_fast=len(too_fast(own)),
            uri=files.write(key, f"subtitles.{kind}.{suffix}", write(own).encode()),
        )
        for kind, (language, own) in cues.items()
        for suffix, write in _WRITERS.items()
    ]  # fmt: skip
    return Landing(key, {"lesson_subtitles": rows})
