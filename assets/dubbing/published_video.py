"""`published_video`: the approved dub where people watch it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from assets.dubbing.gates import require_open
from pipeline.stage import Batch, Landing, Outcome, Stage, each
from resources.lake.lake import Lake
from resources.lake.tables.lessons import (
    DUBBED_VIDEOS,
    LESSON_SUBTITLES,
    LESSONS,
    PUBLISHED_VIDEOS,
    VOICEOVER_REVIEWS,
    PublishedVideoRow,
)
from resources.studio.lesson_files import LessonFiles
from resources.studio.publishing import DubbedFile, Publisher


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["published_videos"].to_pylist()
    return {"service": row["service"], "location": row["location"]}


@Stage(
    tables=(PUBLISHED_VIDEOS,), ui_metadata=_ui_metadata, group="dubbing", batch_size=1, version="1",
    inputs=("lesson_video", "subtitles", "dubbed_video", "voiceover_review"), partition_kind="lesson", pool="downloads",
)  # fmt: skip
def published_video(
    batch: Batch, lake: Lake, lesson_files: LessonFiles, publisher: Publisher
) -> Iterator[Outcome]:  # fmt: skip
    """Publishes a dub that was approved, on Kinescope, in an object store or in a folder. Twice is the same as once."""
    return each(batch.keys, lambda key: _published(key, batch, lake, lesson_files, publisher))


def _published(key: str, batch: Batch, lake: Lake, files: LessonFiles, publisher: Publisher) -> Landing:
    require_open(key, batch, lake, VOICEOVER_REVIEWS, "dubbed_video")
    (lesson,), (video,) = batch.rows(lake, LESSONS, key), batch.rows(lake, DUBBED_VIDEOS, key)
    subtitles = [one for one in batch.rows(lake, LESSON_SUBTITLES, key) if one.kind != "bilingual"]
    srt, vtt = (
        tuple((one.language, files.local(one.uri)) for one in subtitles if one.format == suffix)
        for suffix in ("srt", "vtt")
    )
    found = publisher.publish(
        DubbedFile(
            key, lesson.title, lesson.course, lesson.target_language, files.local(video.uri), video.sha256, srt, vtt,
        )
    )  # fmt: skip
    row = PublishedVideoRow(
        service=found.service, location=found.location, video_id=found.video_id, sha256=video.sha256
    )
    files.forget_work(key)
    return Landing(key, {"published_videos": [row]})
