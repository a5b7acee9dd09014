"""Lessons that are dubbed, their courses and reviews."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

LessonState = Literal[
    "pending", "processing", "content_review", "voiceover_review", "rejected", "published", "failed", "cancelled"
]


LessonGate = Literal["content_review", "voiceover_review"]


@dataclass(frozen=True)
class NewReview:
    """What a person decides at a gate of a lesson."""

    decision: Literal["approved", "rejected"]
    note: str | None = None
    """A rejection needs a reason."""
    gate: LessonGate | None = None
    """None: the gate that the lesson has come to."""


@dataclass(frozen=True)
class LessonRetry:
    """Where a lesson is tried again."""

    stage: str | None = None
    """Do this asset and all after it again. None: what is missing."""


@dataclass(frozen=True)
class LessonReview:
    """A decision about a lesson."""

    gate: LessonGate
    decision: Literal["approved", "rejected"]
    decided_by: str
    decided_at: datetime
    note: str | None


@dataclass(frozen=True)
class Lesson:
    """A lesson that is dubbed, and where it is."""

    lesson_id: str
    title: str
    course: str | None
    source_language: str
    target_language: str
    state: LessonState
    """`content_review` and `voiceover_review`: it waits for a person."""
    added_by: str
    added_at: datetime
    stage: str | None
    """The asset that is next, under way, or has failed; at a gate the one to look at."""
    error: str | None
    attempt: int
    has_source: bool
    """Whether `/video?which=source` plays."""
    has_dub: bool
    """Whether `/video?which=dubbed` plays."""
    location: str | None
    """Where it is published."""
    reviews: tuple[LessonReview, ...]


@dataclass(frozen=True)
class LessonList:
    """Lessons, the newest first."""

    lessons: tuple[Lesson, ...]


@dataclass(frozen=True)
class Course:
    """A course. It is available when all its lessons are published; cancelled ones do not count."""

    course: str
    n_lessons: int
    n_published: int
    is_available: bool
