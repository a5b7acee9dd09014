"""The checks of sql/checks as asset checks: one evaluation for each check of the whole lake.

An evaluation for each episode would cost as much as a landing: 30 CPU-ms and 11 kB of event log for each check. The
result names the partitions for which a check fails. All are checks of `warehouse`: Dagster adds the checks of an asset
to each run that makes it, and a run of a batch must not read the whole lake.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import dagster as dg

from resources.lake.checks import checks, run_checks
from resources.lake.lake import Lake
from resources.lake.tables import CHECK_RESULTS
from resources.lake.tables.pipeline import CheckResultRow
from resources.lake.warehouse import connect


@dg.multi_asset_check(
    name="lake_checks",
    specs=[
        dg.AssetCheckSpec(check.name, asset="warehouse", description=f"{check.asset}: {check.description}")
        for check in checks()
    ],
    required_resource_keys={"lake"},
)
def lake_checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
    """Checks what has landed, and lands the results in the table `check_results`."""
    lake: Lake = context.resources.lake
    results = []
    with connect(lake.home) as connection:
        for row in run_checks(connection):
            results.append(row)
            yield _evaluation(row)
    landed = CHECK_RESULTS.of(results, run_id=context.run.run_id, landed_at=datetime.now(UTC))
    lake.replace(CHECK_RESULTS, "all", landed)


def _evaluation(row: CheckResultRow) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=row.n_wrong == 0,
        asset_key="warehouse",
        check_name=row.check_name,
        severity=dg.AssetCheckSeverity.ERROR if row.is_error else dg.AssetCheckSeverity.WARN,
        metadata={
            "asset": row.asset,
            "wrong": row.n_wrong,
            "examples": dg.MetadataValue.text("\n".join(row.examples) or "none"),
        },
    )
