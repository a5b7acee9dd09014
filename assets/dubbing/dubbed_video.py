"""`dubbed_video`: the lesson with the dub as a track beside the original, and subtitles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.lake.lake import Lake
from resources.lake.tables.lessons import (
    DUB_AUDIO,
    DUBBED_VIDEOS,
    LESSON_SENTENCES,
    LESSON_TRANSLATIONS,
    LESSONS,
    DubbedVideoRow,
    LessonRow,
)
from resources.studio.dub_settings import DubSettings
from resources.studio.lesson_files import LessonFiles, sha256_of
from speech.burnt_subtitles import burn
from speech.dub_video import SubtitleTrack, container_for, mux
from speech.subtitles import SubtitleText, source_cues, target_cues
from speech.videos import probe, sound_begins_ms


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["dubbed_videos"].to_pylist()
    return {
        "file": row["uri"],
        "duration_s": row["duration_ms"] / 1000,
        "differs_from_source_ms": row["duration_ms"] - row["source_ms"],
        "subtitles": row["subtitles"],
        "size_mb": row["size_bytes"] / 1e6,
    }


@Stage(
    tables=(DUBBED_VIDEOS,), ui_metadata=_ui_metadata, group="dubbing", batch_size=1, version="1",
    inputs=("lesson_video", "sentences", "translation", "subtitles", "dub_audio"), partition_kind="lesson",
    kinds=frozenset({"mp4", "parquet"}),
)  # fmt: skip
def dubbed_video(batch: Batch, lake: Lake, lesson_files: LessonFiles, dub_settings: DubSettings) -> Iterator[Outcome]:
    """Copies the picture and the original sound, and adds the dub as the first track, with the languages of both."""
    return each(batch.keys, lambda key: _video(key, batch, lake, lesson_files, dub_settings))


def _video(key: str, batch: Batch, lake: Lake, files: LessonFiles, settings: DubSettings) -> Landing:
    (lesson,), (dub,) = batch.rows(lake, LESSONS, key), batch.rows(lake, DUB_AUDIO, key)
    source = files.local(lesson.source_uri)
    begin_ms = sound_begins_ms(source)
    texts = [
        SubtitleText(begin_ms + one.start_ms, begin_ms + one.end_ms, one.text, target.text)
        for one, target in zip(
            batch.rows(lake, LESSON_SENTENCES, key), batch.rows(lake, LESSON_TRANSLATIONS, key), strict=True
        )
    ]
    kind = container_for(lesson.video_codec, lesson.audio_codec)
    target = files.work(key, f"dubbed.{lesson.target_language}.{kind}")
    picture = _burnt(source, texts, lesson, files) if settings.subtitles == "burnt" else None
    mux(
        source, files.local(dub.uri), target, source_language=lesson.source_language,
        target_language=lesson.target_language, picture_from=picture, title=lesson.title,
        subtitles=_tracks(texts, lesson) if settings.subtitles == "muxed" else (),
    )  # fmt: skip
    duration_ms = probe(target).duration_ms
    row = DubbedVideoRow(
        uri=files.add(key, target.name, target), sha256=sha256_of(target), size_bytes=target.stat().st_size, container=kind,
        duration_ms=duration_ms, source_ms=lesson.duration_ms,
        subtitles="burnt" if picture else "none" if settings.subtitles != "muxed" else "muxed",
    )  # fmt: skip
    return Landing(key, {"dubbed_videos": [row]}, Cost(audio_ms=duration_ms))


def _tracks(texts: list[SubtitleText], lesson: LessonRow) -> tuple[SubtitleTrack, ...]:
    return (
        SubtitleTrack(lesson.target_language, lesson.target_language, tuple(target_cues(texts))),
        SubtitleTrack(lesson.source_language, lesson.source_language, tuple(source_cues(texts))),
    )


def _burnt(source: Path, texts: list[SubtitleText], lesson: LessonRow, files: LessonFiles) -> Path | None:
    """The picture with the translated subtitles in it; None without a picture."""
    if lesson.video_codec is None:
        return None
    target = files.work(lesson.lesson_id, "burnt.mp4")
    burn(source, target, target_cues(texts))
    return target
