"""`lesson_video`: the file of a lesson, and what is in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from pipeline.audio_inputs import acquisition
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.lake.lake import Lake
from resources.lake.tables.lessons import LESSONS, LessonRow
from resources.studio.lesson_files import LessonFiles, sha256_of
from resources.studio.lessons import Lesson, LessonLedger
from speech.errors import BadLesson
from speech.videos import LessonLimits, check_length, check_lesson_file, probe


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["lessons"].to_pylist()
    picture = f"{row['video_codec']}, {row['width']}×{row['height']}" if row["video_codec"] else "audio only"
    return {
        "title": row["title"],
        "course": row["course"] or "none",
        "languages": f"{row['source_language']} → {row['target_language']}",
        "duration_s": row["duration_ms"] / 1000,
        "picture": picture,
        "file": row["source_uri"],
    }


@Stage(
    tables=(LESSONS,), ui_metadata=_ui_metadata, group="dubbing", batch_size=1, version="1", partition_kind="lesson",
    kinds=frozenset({"mp4", "parquet"}),
)  # fmt: skip
def lesson_video(
    batch: Batch, lake: Lake, lesson_ledger: LessonLedger, lesson_files: LessonFiles, lesson_limits: LessonLimits
) -> Iterator[Outcome]:
    """Probes the file that a user gave, or the audio of an episode of the catalogue, and checks the limits."""
    return each(batch.keys, lambda key: _video(key, lake, lesson_ledger, lesson_files, lesson_limits))


def _video(key: str, lake: Lake, ledger: LessonLedger, files: LessonFiles, limits: LessonLimits) -> Landing:
    ledger.check_wanted(key)
    lesson = ledger.lesson(key)
    if lesson is None:
        raise BadLesson(f"The ledger has no lesson {key}. Add one with `podlake lesson add`.")
    uri = lesson.source_uri or acquisition(lake, str(lesson.episode_id)).storage_uri
    path = files.local(uri)
    if lesson.episode_id:
        facts = probe(path)
        check_length(lesson.episode_id, facts.duration_ms, limits)
    else:
        facts = check_lesson_file(path, limits)
    picture = facts.picture
    row = LessonRow(
        **_asked_for(lesson), source_uri=uri, source_sha256=sha256_of(path), size_bytes=path.stat().st_size,
        container=facts.container, duration_ms=facts.duration_ms, audio_codec=facts.audio_codec,
        audio_channels=facts.audio_channels, sample_rate_hz=facts.sample_rate_hz,
        video_codec=picture.codec if picture else None, width=picture.width if picture else None,
        height=picture.height if picture else None, frames_per_s=picture.frames_per_s if picture else None,
    )  # fmt: skip
    return Landing(key, {"lessons": [row]}, Cost(audio_ms=facts.duration_ms))


def _asked_for(lesson: Lesson) -> dict[str, Any]:
    return {
        "title": lesson.title, "course": lesson.course, "source_language": lesson.source_language,
        "target_language": lesson.target_language, "episode_id": lesson.episode_id, "added_by": lesson.user_id,
        "added_at": lesson.added_at,
    }  # fmt: skip
