"""`voiceover_review`: the second gate. A person watches the dubbed video and decides whether it is published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import dagster as dg
import pyarrow as pa

from assets.dubbing.gates import decision, report_checks, review_metadata
from pipeline.stage import Batch, Outcome, Stage, each
from resources.lake.tables.lessons import VOICEOVER_REVIEWS
from resources.studio.lessons import LessonLedger


def _report(instance: dg.DagsterInstance, landed: Sequence[Mapping[str, pa.Table]]) -> None:
    report_checks(instance, landed, VOICEOVER_REVIEWS)


@Stage(
    tables=(VOICEOVER_REVIEWS,), ui_metadata=review_metadata(VOICEOVER_REVIEWS), group="dubbing", batch_size=1,
    version="1", inputs=("dubbed_video",), partition_kind="lesson", after_batch=_report,
    data_version_columns=("is_approved", "subject_version"),
)  # fmt: skip
def voiceover_review(batch: Batch, lesson_ledger: LessonLedger) -> Iterator[Outcome]:
    """What a person decided about the dub. Nothing is published before it is approved."""
    return each(
        batch.keys,
        lambda key: decision(key, "voiceover_review", "dubbed_video", batch, lesson_ledger, VOICEOVER_REVIEWS),
    )
