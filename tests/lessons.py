"""Lessons for tests, as runs of all stages leave them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from assets.stages import LESSON_GRAPH, STAGES
from dagster_project.lessons import GATES, SUBJECTS
from pipeline.records import Run
from pipeline.stage import Landing
from resources.lake.lake import Lake
from resources.studio.lessons import LessonLedger
from tests.landings import filled, land_outcome


def publish(lake: Lake, ledger: LessonLedger, lesson_id: str, rows: Mapping[str, list[dict[str, Any]]]) -> None:
    """Every stage has landed, and both gates are open. `rows` are those of some tables; the others get a blank one."""
    for stage in LESSON_GRAPH:
        found = {table.name: rows.get(table.name, [{}]) for table in stage.tables}
        if stage.name in GATES:
            subject = lake.current(SUBJECTS[stage.name], [lesson_id])[lesson_id]
            review = ledger.decide(
                lesson_id, stage.name, is_approved=True, by="Ann", note=None, subject_version=subject.data_version
            )  # fmt: skip
            found = {stage.tables[0].name: [_review(review.review_no, subject.data_version)]}
        whole = {name: [filled(_table(stage, name), row) for row in some] for name, some in found.items()}
        land_outcome(lake, STAGES[stage.name], Landing(lesson_id, whole), Run("run", "run", datetime.now(UTC), 1))


def _review(review_no: int, version: str) -> dict[str, Any]:
    return {
        "is_approved": True, "decided_by": "Ann", "decided_at": datetime.now(UTC), "review_no": review_no,
        "subject_version": version,
    }  # fmt: skip


def _table(stage: Any, name: str) -> Any:
    return next(table for table in stage.tables if table.name == name)
