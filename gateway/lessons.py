"""What the routes of lessons share: the ledger, the files, and what the API says of a lesson."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import dagster as dg

from dagster_project.build_resources import lesson_limits
from dagster_project.lessons import Status, statuses
from dagster_project.settings import Settings
from pipeline.lake_state import newest_commits
from podlake.api import Course, LessonReview
from podlake.api import Lesson as LessonEntry
from resources.lake.lake import Lake
from resources.lake.tables.lessons import DUBBED_VIDEOS, LESSON_SUBTITLES, LESSONS, PUBLISHED_VIDEOS
from resources.lake.warehouse import ask, connect
from resources.studio.lesson_files import LessonFiles
from resources.studio.lessons import Lesson, LessonLedger, NewLesson, Review
from speech.videos import check_lesson_file

Which = Literal["source", "dubbed"]
_COURSES = """
select course, n_lessons, n_published, is_available from courses
where $course is null or course = $course order by course
"""


@dataclass(frozen=True)
class Lessons:
    """The lessons of a service."""

    settings: Settings
    lake: Lake
    ledger: LessonLedger
    files: LessonFiles

    def entries(self, instance: dg.DagsterInstance, lessons: Sequence[Lesson]) -> list[LessonEntry]:
        keys = [one.lesson_id for one in lessons]
        published = self.lake.read_many(PUBLISHED_VIDEOS, keys)
        landed = newest_commits(self.lake, ("lesson_video", "dubbed_video"), keys)
        reviews = self.ledger.reviews_of(keys)
        found = statuses(instance, self.lake, self.ledger, lessons)
        return [
            _entry(
                one, reviews.get(key, []),
                PUBLISHED_VIDEOS.rows_of(published[key])[0].location if key in published else None,
                has_source=key in landed["lesson_video"], has_dub=key in landed["dubbed_video"],
            )
            for key, one in zip(keys, found, strict=True)
        ]  # fmt: skip

    def numbers(self, instance: dg.DagsterInstance) -> dict[str, int]:
        """State → how many of the newest thousand lessons are in it."""
        found = statuses(instance, self.lake, self.ledger, self.ledger.lessons(most=1_000))
        return dict(Counter(one.state for one in found))

    def add_file(self, new: NewLesson, received: Path) -> Lesson:
        """Copy a received file into the home, and write the lesson down. Raises a `PodlakeError` for a bad one."""
        new.check()
        check_lesson_file(received, lesson_limits(self.settings))
        key = self.ledger.new_key(new)
        return self.ledger.add(key, new, self.files.add(key, f"source{received.suffix.lower()}", received))

    def add_episode(self, new: NewLesson) -> Lesson:
        """Raises `BadLesson`."""
        return self.ledger.add(self.ledger.new_key(new), new, None)

    def video(self, lesson_id: str, which: Which) -> Path | None:
        """The file as it was given, or the dubbed one; None if there is none. Raises `StorageError` if it is gone."""
        if which == "dubbed":
            return next((self.files.local(row.uri) for row in self.lake.rows(DUBBED_VIDEOS, lesson_id)), None)
        return next((self.files.local(row.source_uri) for row in self.lake.rows(LESSONS, lesson_id)), None)

    def subtitles(self, lesson_id: str, kind: str, suffix: str) -> Path | None:
        rows = self.lake.rows(LESSON_SUBTITLES, lesson_id)
        return next((self.files.local(row.uri) for row in rows if (row.kind, row.format) == (kind, suffix)), None)

    def courses(self, course: str | None = None) -> list[Course]:
        with connect(self.lake.home) as connection:
            return [Course(*row) for row in ask(connection, _COURSES, {"course": course})]


def _entry(
    found: Status, reviews: Sequence[Review], location: str | None, *, has_source: bool, has_dub: bool
) -> LessonEntry:
    lesson = found.lesson
    return LessonEntry(
        lesson_id=lesson.lesson_id, title=lesson.title, course=lesson.course,
        source_language=lesson.source_language, target_language=lesson.target_language, state=found.state,
        added_by=lesson.user_id, added_at=lesson.added_at, stage=found.stage, error=found.error,
        attempt=found.attempt, has_source=has_source, has_dub=has_dub,
        location=location if found.state == "published" else None,
        reviews=tuple(
            LessonReview(
                one.gate, "approved" if one.is_approved else "rejected", one.decided_by, one.decided_at, one.note
            )
            for one in reviews
        ),
    )  # fmt: skip
