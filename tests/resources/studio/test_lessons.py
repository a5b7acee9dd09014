"""The ledger of lessons: lessons, decisions and claims, on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from resources.studio.lessons import LessonLedger, NewLesson
from speech.errors import BadLesson
from tests.conftest import Storage

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
NEW = NewLesson("Mitosis", "en", "es", "ann", "biology")


@pytest.fixture
def ledger(storage: Storage, tmp_path: Path) -> LessonLedger:
    return LessonLedger(
        storage["storage"]["postgres"]["postgres_url"] if storage else f"sqlite:///{tmp_path}/service.db"
    )


def add(ledger: LessonLedger, new: NewLesson = NEW, now: datetime = NOON) -> str:
    return ledger.add(ledger.new_key(new, now), new, "lessons/a.mp4", now).lesson_id


def test_lessons_reviews_and_restarts_are_kept(ledger: LessonLedger) -> None:
    first, second = add(ledger), add(ledger, now=NOON + timedelta(seconds=1))
    assert first.startswith("lesson-20261127-")
    assert first != second
    lesson = ledger.lesson(first)
    assert lesson is not None
    assert (lesson.title, lesson.course, lesson.source_uri, lesson.added_at) == (
        "Mitosis",
        "biology",
        "lessons/a.mp4",
        NOON,
    )
    assert [one.lesson_id for one in ledger.lessons("biology")] == [second, first]
    assert ledger.lessons("history") == []
    assert ledger.review(first, "content_review") is None
    ledger.decide(first, "content_review", is_approved=False, by="Bob", note="It hums.", subject_version="v1", now=NOON)
    ledger.decide(
        first, "content_review", is_approved=True, by="Eve", note=None, subject_version="v2", now=NOON + timedelta(1)
    )
    last = ledger.review(first, "content_review")
    assert last is not None
    assert (last.review_no, last.is_approved, last.decided_by, last.subject_version) == (2, True, "Eve", "v2")
    assert [one.note for one in ledger.reviews(first)] == ["It hums.", None]
    assert ledger.restart(first, "dub_lines")
    assert ledger.cancel(first, NOON)
    lesson = ledger.lesson(first)
    assert lesson is not None
    assert (lesson.restarts, lesson.restart_from, lesson.cancelled_at) == (1, "dub_lines", NOON)
    assert not ledger.cancel("lesson-20260101-00000000")


def test_one_of_many_claims_an_attempt(ledger: LessonLedger) -> None:
    lesson = add(ledger)
    with ThreadPoolExecutor(6) as pool:
        got = list(pool.map(lambda _: ledger.claim(lesson, "1.1.0", 1, NOON), range(6)))
    assert sorted(got) == [False] * 5 + [True]
    assert not ledger.claim(lesson, "1.1.0", 1, NOON + timedelta(seconds=110))
    assert ledger.claim(lesson, "1.1.0", 1, NOON + timedelta(seconds=130))
    assert ledger.claim(lesson, "1.1.0", 2, NOON)


@pytest.mark.parametrize(
    ("new", "why"),
    [
        (NewLesson(" ", "en", "es", "ann"), "A title is one line"),
        (NewLesson("a\nb", "en", "es", "ann"), "A title is one line"),
        (NewLesson("Mitosis", "es", "es", "ann"), "in es already"),
        (NewLesson("Mitosis", "en", "es", "ann", "c" * 101), "name of a course"),
    ],
)
def test_impossible_lessons_are_refused(tmp_path: Path, new: NewLesson, why: str) -> None:
    with pytest.raises(BadLesson, match=why):
        LessonLedger(f"sqlite:///{tmp_path}/service.db").new_key(new)


def test_a_decision_has_a_name_and_a_rejection_a_reason(tmp_path: Path) -> None:
    ledger = LessonLedger(f"sqlite:///{tmp_path}/service.db")
    lesson = add(ledger)
    with pytest.raises(BadLesson, match="the name of the person"):
        ledger.decide(lesson, "content_review", is_approved=True, by=" ", note=None, subject_version="v")
    with pytest.raises(BadLesson, match="A rejection has a reason"):
        ledger.decide(lesson, "content_review", is_approved=False, by="Bob", note="  ", subject_version="v")
    assert ledger.reviews(lesson) == []
