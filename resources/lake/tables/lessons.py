"""Tables of lessons that are dubbed. Times are milliseconds on the timeline of the lesson's file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from resources.lake.tables.table import FILLED, Float32, Int32, Int64, LandedAt, RunId, Table

LessonId = Annotated[str, "The lesson, which is its Dagster partition key."]


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonRowBase:
    """A row of a lesson."""

    lesson_id: LessonId = FILLED
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonRow(LessonRowBase):
    """The lessons, and what their files hold."""

    title: Annotated[str, "Title."]
    course: Annotated[str | None, "The course that it belongs to."] = None
    source_language: Annotated[str, "Language that is spoken in it."]
    target_language: Annotated[str, "Language that it is dubbed in."]
    episode_id: Annotated[str | None, "The episode of the catalogue that it is; NULL: a file that a user gave."] = None
    source_uri: Annotated[str, "Its file in the home."]
    source_sha256: Annotated[str, "Hash of the file."]
    size_bytes: Annotated[Int64, "Its size."]
    container: Annotated[str, "Its format."]
    duration_ms: Annotated[Int32, "To the end of its longest stream."]
    audio_codec: Annotated[str, "Codec of the sound."]
    audio_channels: Annotated[Int32, "Channels of the sound."]
    sample_rate_hz: Annotated[Int32, "Sample rate of the sound."]
    video_codec: Annotated[str | None, "Codec of the picture; NULL: audio only."] = None
    width: Annotated[Int32 | None, "Width of the picture."] = None
    height: Annotated[Int32 | None, "Height of the picture."] = None
    frames_per_s: Annotated[Float32 | None, "Average rate of the picture."] = None
    added_by: Annotated[str, "Who added it."]
    added_at: Annotated[datetime, "When it was added."]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewRow(LessonRowBase):
    """What a person decided at a gate, and about which version."""

    is_approved: Annotated[bool, "Whether the gate is open."]
    decided_by: Annotated[str, "Who decided."]
    note: Annotated[str | None, "Why."] = None
    decided_at: Annotated[datetime, "When."]
    review_no: Annotated[Int32, "Number of the decision in the ledger."]
    subject_version: Annotated[str, "Data version of what was reviewed."]


_KEY = ("lesson_id",)


def _table(name: str, asset: str, row: type[LessonRowBase], *more: str) -> Table:
    return Table(name, asset, (*_KEY, *more), row, landing=_KEY)


LESSONS: Table[LessonRow] = _table("lessons", "lesson_video", LessonRow)
CONTENT_REVIEWS: Table[ReviewRow] = _table("content_reviews", "content_review", ReviewRow)
