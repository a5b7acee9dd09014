"""`content_review`: the first gate. A person decides whether a lesson is to be dubbed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
import pyarrow as pa

from assets.dubbing.gates import decision, report_checks, review_metadata
from pipeline.stage import Batch, Outcome, Stage, each
from resources.lake.tables.lessons import CONTENT_REVIEWS
from resources.studio.lessons import LessonLedger


def _report(instance: dg.DagsterInstance, landed: Sequence[Mapping[str, pa.Table]]) -> None:
    report_checks(instance, landed, CONTENT_REVIEWS)


@Stage(
    tables=(CONTENT_REVIEWS,), ui_metadata=review_metadata(CONTENT_REVIEWS), group="dubbing", batch_size=1, version="1",
    inputs=("lesson_video",), partition_kind="lesson", after_batch=_report,
    data_version_columns=("is_approved", "subject_version"),
)  # fmt: skip
def content_review(batch: Batch, lesson_ledger: LessonLedger) -> Iterator[Outcome]:
    """What a person decided about the content of the lesson. Nothing is dubbed before it is approved."""
    return each(
        batch.keys,
        lambda key: decision(key, "content_review", "lesson_video", batch, lesson_ledger, CONTENT_REVIEWS),
    )
