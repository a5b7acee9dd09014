"""The ledger of lessons: what is to be dubbed, and what people decided at the two gates. It is SQL.

The state of a lesson is not stored here. It derives from Dagster's runs and from what has landed
(`dagster_project.lessons`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, Literal

import sqlalchemy as sa

from partitions.keys import episode_key
from resources.database import open_database, writing
from resources.studio.claims import claim
from speech.errors import BadLesson, LessonCancelled
from speech.plain_text import is_line

FEED_ID = "lesson"
"""Keys of lessons begin with it."""
_ASKED_AT_ONCE = 500
LONGEST_TITLE = 200
LONGEST_COURSE = 100
LONGEST_NOTE = 2_000

Gate = Literal["content_review", "voiceover_review"]

SCHEMA = sa.MetaData()
LESSONS = sa.Table(
    "lessons", SCHEMA,
    sa.Column("lesson_id", sa.String(120), primary_key=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("course", sa.String(LONGEST_COURSE), index=True),
    sa.Column("source_language", sa.String(12), nullable=False),
    sa.Column("target_language", sa.String(12), nullable=False),
    sa.Column("episode_id", sa.String(120)),
    sa.Column("source_uri", sa.Text),
    sa.Column("user_id", sa.String(200), nullable=False),
    sa.Column("added_at", sa.Float, nullable=False, index=True),
    sa.Column("cancelled_at", sa.Float),
    sa.Column("restarts", sa.Integer, nullable=False, default=0),
    sa.Column("restart_from", sa.String(60)),
)  # fmt: skip
REVIEWS = sa.Table(
    "lesson_reviews", SCHEMA,
    sa.Column("lesson_id", sa.String(120), primary_key=True),
    sa.Column("gate", sa.String(40), primary_key=True),
    sa.Column("review_no", sa.Integer, primary_key=True),
    sa.Column("is_approved", sa.Boolean, nullable=False),
    sa.Column("decided_by", sa.String(200), nullable=False),
    sa.Column("note", sa.Text),
    sa.Column("subject_version", sa.String(40), nullable=False),
    sa.Column("decided_at", sa.Float, nullable=False),
)  # fmt: skip
CLAIMS = sa.Table(
    "lesson_attempts", SCHEMA,
    sa.Column("lesson_id", sa.String(120), primary_key=True),
    sa.Column("phase", sa.String(60), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("claimed_at", sa.Float, nullable=False),
)  # fmt: skip
UPLOADS = sa.Table(
    "lesson_uploads", SCHEMA,
    sa.Column("lesson_id", sa.String(120), primary_key=True),
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("video_id", sa.String(200), nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
)  # fmt: skip
SUBTITLES = sa.Table(
    "lesson_uploaded_subtitles", SCHEMA,
    sa.Column("lesson_id", sa.String(120), nullable=False),
    sa.Column("video_id", sa.String(200), primary_key=True),
    sa.Column("language", sa.String(12), primary_key=True),
    sa.Column("subtitle_id", sa.String(200), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
)  # fmt: skip


@dataclass(frozen=True)
class NewLesson:
    """What a user adds: a file or an episode."""

    title: str
    source_language: str
    target_language: str
    user_id: str
    course: str | None = None
    episode_id: str | None = None
    """None: a file, which is copied into the home under the lesson's key."""

    def check(self) -> None:
        """Raises `BadLesson`."""
        if not is_line(self.title) or len(self.title) > LONGEST_TITLE:
            raise BadLesson(f"A title is one line of 1 to {LONGEST_TITLE} characters.")
        if self.course is not None and not (is_line(self.course) and len(self.course) <= LONGEST_COURSE):
            raise BadLesson(f"The name of a course is one line of 1 to {LONGEST_COURSE} characters.")
        if self.source_language == self.target_language:
            raise BadLesson(f"The lesson is in {self.source_language} already. Choose another target language.")


@dataclass(frozen=True)
class Lesson:
    """A lesson of the ledger."""

    lesson_id: str
    title: str
    course: str | None
    source_language: str
    target_language: str
    episode_id: str | None
    source_uri: str | None
    user_id: str
    added_at: datetime
    cancelled_at: datetime | None
    restarts: int
    restart_from: str | None


@dataclass(frozen=True)
class Review:
    """What a person decided at a gate."""

    gate: Gate
    review_no: int
    is_approved: bool
    decided_by: str
    note: str | None
    subject_version: str
    """The data version of what the person looked at. The decision holds for this version only."""
    decided_at: datetime


class LessonLedger:
    """The lessons, in the database that several processes use at once."""

    def __init__(self, url: str | Callable[[], str]) -> None:
        self._url = url
        """A SQLAlchemy URL, or what finds it when the database is needed."""

    @cached_property
    def _engine(self) -> sa.Engine:
        return open_database(self._url if isinstance(self._url, str) else self._url(), SCHEMA)

    def new_key(self, new: NewLesson, now: datetime | None = None) -> str:
        """A key that no lesson has: `lesson-20261127-1a2b3c4d`. Raises `BadLesson` for an impossible lesson."""
        new.check()
        now = now or datetime.now(UTC)
        with self._engine.connect() as connection:
            taken = set(connection.execute(sa.select(LESSONS.c.lesson_id)).scalars())
        return episode_key(FEED_ID, f"{asdict(new)} {now.timestamp()}", now, taken)

    def add(self, lesson_id: str, new: NewLesson, source_uri: str | None, now: datetime | None = None) -> Lesson:
        """Write the lesson down. Its file is in the home by now."""
        new.check()
        now = now or datetime.now(UTC)
        values = {**asdict(new), "lesson_id": lesson_id, "source_uri": source_uri, "added_at": now.timestamp()}
        with writing(self._engine) as connection:
            connection.execute(LESSONS.insert().values(**values, restarts=0))
        found = self.lesson(lesson_id)
        assert found
        return found

    def lesson(self, lesson_id: str) -> Lesson | None:
        return next(iter(self._lessons(sa.select(LESSONS).where(LESSONS.c.lesson_id == lesson_id))), None)

    def lessons(self, course: str | None = None, *, most: int | None = 1_000) -> list[Lesson]:
        """The newest lessons, the newest first; of one course, or of all."""
        query = sa.select(LESSONS).order_by(LESSONS.c.added_at.desc(), LESSONS.c.lesson_id).limit(most)
        return self._lessons(query if course is None else query.where(LESSONS.c.course == course))

    def of_episodes(self, episode_ids: Sequence[str]) -> list[str]:
        """The ids of all lessons that were requested of these episodes."""
        found: list[str] = []
        with self._engine.connect() as connection:
            for start in range(0, len(episode_ids), _ASKED_AT_ONCE):
                asked = LESSONS.c.episode_id.in_(episode_ids[start : start + _ASKED_AT_ONCE])
                found += connection.execute(sa.select(LESSONS.c.lesson_id).where(asked)).scalars()
        return found

    def cancel(self, lesson_id: str, now: datetime | None = None) -> bool:
        """Note that the lesson is not wanted any more. Returns whether there is such a lesson."""
        at = (now or datetime.now(UTC)).timestamp()
        return self._change(lesson_id, cancelled_at=sa.func.coalesce(LESSONS.c.cancelled_at, at))

    def check_wanted(self, lesson_id: str) -> None:
        """Raise `LessonCancelled` if the user has cancelled the lesson."""
        lesson = self.lesson(lesson_id)
        if lesson is not None and lesson.cancelled_at is not None:
            raise LessonCancelled(f"{lesson_id} is cancelled.")

    def restart(self, lesson_id: str, stage: str | None) -> bool:
        """Let the lesson be tried again, from this stage on or from the first one that is missing."""
        return self._change(lesson_id, restarts=LESSONS.c.restarts + 1, restart_from=stage)

    def _change(self, lesson_id: str, **values: Any) -> bool:
        with writing(self._engine) as connection:
            found = connection.execute(LESSONS.update().where(LESSONS.c.lesson_id == lesson_id).values(**values))
            return bool(found.rowcount)

    def decide(
        self, lesson_id: str, gate: Gate, *, is_approved: bool, by: str, note: str | None, subject_version: str,
        now: datetime | None = None,
    ) -> Review:  # fmt: skip
        """Write a decision down. It replaces an earlier one. Raises `BadLesson` without a name or a reason to reject."""
        if not by.strip() or len(by) > 200:
            raise BadLesson("A review has the name of the person who decides, of at most 200 characters.")
        if not is_approved and not (note or "").strip():
            raise BadLesson("A rejection has a reason: add a note.")
        if note and len(note) > LONGEST_NOTE:
            raise BadLesson(f"A note has at most {LONGEST_NOTE:,} characters.")
        now = now or datetime.now(UTC)
        here = (REVIEWS.c.lesson_id == lesson_id, REVIEWS.c.gate == gate)
        with writing(self._engine) as connection:
            last = connection.execute(sa.select(sa.func.max(REVIEWS.c.review_no)).where(*here)).scalar()
            review = Review(gate, (last or 0) + 1, is_approved, by.strip(), note, subject_version, now)
            row = {**asdict(review), "lesson_id": lesson_id, "decided_at": now.timestamp()}
            connection.execute(REVIEWS.insert().values(**row))
        return review

    def review(self, lesson_id: str, gate: Gate) -> Review | None:
        """The decision that holds: the last one."""
        return next((one for one in reversed(self.reviews(lesson_id)) if one.gate == gate), None)

    def reviews(self, lesson_id: str) -> list[Review]:
        """All decisions about a lesson, in their order."""
        return self.reviews_of([lesson_id]).get(lesson_id, [])

    def reviews_of(self, lesson_ids: Sequence[str]) -> dict[str, list[Review]]:
        """Lesson → all decisions about it, in their order, for those that have some."""
        found: dict[str, list[Review]] = {}
        with self._engine.connect() as connection:
            for start in range(0, len(lesson_ids), _ASKED_AT_ONCE):
                asked = REVIEWS.c.lesson_id.in_(lesson_ids[start : start + _ASKED_AT_ONCE])
                for row in connection.execute(sa.select(REVIEWS).where(asked).order_by(REVIEWS.c.decided_at)):
                    found.setdefault(row.lesson_id, []).append(
                        Review(
                            row.gate, row.review_no, row.is_approved, row.decided_by, row.note, row.subject_version,
                            datetime.fromtimestamp(row.decided_at, UTC),
                        )
                    )  # fmt: skip
        return found

    def upload(self, lesson_id: str, sha256: str) -> tuple[str, str] | None:
        """The id and the endpoint of the upload of this file that was begun, if there is one."""
        query = sa.select(UPLOADS).where(UPLOADS.c.lesson_id == lesson_id, UPLOADS.c.sha256 == sha256)
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else (row.video_id, row.endpoint)

    def uploads(self, lesson_id: str) -> list[str]:
        """The ids of all uploads that were begun and not forgotten."""
        query = sa.select(UPLOADS.c.video_id).where(UPLOADS.c.lesson_id == lesson_id)
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def note_upload(self, lesson_id: str, sha256: str, video_id: str, endpoint: str) -> None:
        """Write down that an upload was begun; it replaces an earlier one."""
        row = {"lesson_id": lesson_id, "sha256": sha256, "video_id": video_id, "endpoint": endpoint}
        with writing(self._engine) as connection:
            connection.execute(UPLOADS.delete().where(UPLOADS.c.lesson_id == lesson_id, UPLOADS.c.sha256 == sha256))
            connection.execute(UPLOADS.insert().values(**row))

    def forget_upload(self, lesson_id: str, sha256: str) -> None:
        with writing(self._engine) as connection:
            connection.execute(UPLOADS.delete().where(UPLOADS.c.lesson_id == lesson_id, UPLOADS.c.sha256 == sha256))

    def uploaded_subtitle(self, video_id: str, language: str) -> tuple[str, str] | None:
        """The id and the SHA-256 of the subtitle file that was uploaded for a published video."""
        here = (SUBTITLES.c.video_id == video_id, SUBTITLES.c.language == language)
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(SUBTITLES).where(*here)).first()
        return None if row is None else (row.subtitle_id, row.sha256)

    def note_subtitle(self, lesson_id: str, video_id: str, language: str, subtitle_id: str, sha256: str) -> None:
        """Write down that a subtitle file was uploaded; it replaces an earlier one of its language."""
        row = {
            "lesson_id": lesson_id, "video_id": video_id, "language": language, "subtitle_id": subtitle_id,
            "sha256": sha256,
        }  # fmt: skip
        with writing(self._engine) as connection:
            connection.execute(
                SUBTITLES.delete().where(SUBTITLES.c.video_id == video_id, SUBTITLES.c.language == language)
            )
            connection.execute(SUBTITLES.insert().values(**row))

    def claim(self, lesson_id: str, phase: str, attempt: int, now: datetime | None = None) -> bool:
        """Claim an attempt, so that only one process starts its run. A claim without a run expires after two minutes."""
        attempted = {"lesson_id": lesson_id, "phase": phase, "attempt": attempt}
        return claim(self._engine, CLAIMS, attempted, now or datetime.now(UTC))

    def _lessons(self, query: sa.Select[Any]) -> list[Lesson]:
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [
            Lesson(
                row.lesson_id, row.title, row.course, row.source_language, row.target_language, row.episode_id,
                row.source_uri, row.user_id, datetime.fromtimestamp(row.added_at, UTC),
                None if row.cancelled_at is None else datetime.fromtimestamp(row.cancelled_at, UTC),
                row.restarts, row.restart_from,
            )
            for row in rows
        ]  # fmt: skip
