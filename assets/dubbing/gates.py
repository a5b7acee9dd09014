"""The gates of a lesson: a person opens or closes them, and Dagster shows it as a materialization with a blocking check.

A decision holds for the version that the person looked at. A rejection is a landing like an approval: a state with a
reason, and no error. Later stages refuse a lesson whose gate is not open, whoever starts them.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa

from partitions.definitions import LESSONS
from pipeline.run_keys import has_planned_events, keys_of
from pipeline.stage import Batch, Landing, UiMetadata
from resources.lake.lake import Lake
from resources.lake.tables import Table
from resources.lake.tables.lessons import ReviewRow
from resources.studio.lessons import Gate, LessonLedger
from speech.errors import NotReviewed


def review_metadata(table: Table[ReviewRow]) -> UiMetadata:
    """What the UI shows of a decision."""

    def shown(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
        (row,) = tables[table.name].to_pylist()
        return {
            "decision": "approved" if row["is_approved"] else "rejected",
            "decided_by": row["decided_by"],
            "note": row["note"] or "",
            "decided_at": row["decided_at"].isoformat(),
        }

    return shown


def decision(key: str, gate: Gate, subject: str, batch: Batch, ledger: LessonLedger, table: Table) -> Landing:
    """The decision at a gate, as rows. Raises `NotReviewed` where this version of `subject` was not reviewed.

    A run that was requested before its lesson was cancelled ends here.
    """
    ledger.check_wanted(key)
    version = batch.upstream[subject][key].data_version
    review = ledger.review(key, gate)
    if review is None or review.subject_version != version:
        changed = " since it was made again" if review else ""
        raise NotReviewed(
            f"{subject} of {key} has not been reviewed{changed}. Look at it, then `podlake review approve {key} --by NAME` "
            f"or `podlake review reject {key} --by NAME --note WHY`."
        )
    row = ReviewRow(
        is_approved=review.is_approved, decided_by=review.decided_by, note=review.note, decided_at=review.decided_at,
        review_no=review.review_no, subject_version=review.subject_version,
    )  # fmt: skip
    return Landing(key, {table.name: [row]})


def require_open(key: str, batch: Batch, lake: Lake, table: Table[ReviewRow], subject: str) -> None:
    """Raises `NotReviewed` if the gate is closed, or was opened for another version of `subject`."""
    (row,) = batch.rows(lake, table, key)
    if row.subject_version != batch.upstream[subject][key].data_version:
        raise NotReviewed(f"{subject} of {key} was made again after {row.decided_by} reviewed it. Review it again.")
    if not row.is_approved:
        raise NotReviewed(f"{key} was rejected at {table.asset} by {row.decided_by}: {row.note}")


def check_name(gate: str) -> str:
    return f"{gate}_is_open"


def report_checks(instance: dg.DagsterInstance, landed: Sequence[Mapping[str, pa.Table]], table: Table) -> None:
    """Report the check of each decision to Dagster: runs that podlake requests evaluate no checks themselves."""
    for tables in landed:
        for row in table.rows_of(tables[table.name]):
            instance.report_runless_asset_event(
                dg.AssetCheckEvaluation(
                    asset_key=dg.AssetKey(table.asset), check_name=check_name(table.asset), passed=row.is_approved,
                    severity=dg.AssetCheckSeverity.ERROR, blocking=True,
                    description=row.note, metadata={"lesson": row.lesson_id, "decided_by": row.decided_by},
                )
            )  # fmt: skip


def gate_check(table: Table[ReviewRow]) -> dg.AssetChecksDefinition:
    """The blocking check of a gate, for the lessons of a run that a user starts in the UI.

    It is no check of the whole lake: there, a rejected lesson is nothing wrong.
    """

    @dg.asset_check(
        asset=table.asset, name=check_name(table.asset), blocking=True, required_resource_keys={"lake"},
        description="The gate is open: a person has approved the lesson.",
    )  # fmt: skip
    def is_open(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        lake: Lake = context.resources.lake
        closed = [row for key in _lessons(context, lake, table) for row in lake.rows(table, key) if not row.is_approved]
        reasons = {row.lesson_id: f"{row.decided_by}: {row.note}" for row in closed}
        return dg.AssetCheckResult(passed=not closed, severity=dg.AssetCheckSeverity.ERROR, metadata=reasons)

    return is_open


def _lessons(context: dg.AssetCheckExecutionContext, lake: Lake, table: Table) -> Iterator[str]:
    """The lessons of the run; without partitions, all that were reviewed."""
    if not has_planned_events(context.run.tags):
        yield from sorted(lake.landed(table.asset))
        return
    order = context.instance.get_dynamic_partitions(LESSONS.name or "")
    yield from keys_of(context.run.tags, order, {key: index for index, key in enumerate(order)})
