"""The checks of sql/checks as asset checks, each of the asset whose rows it checks.

The job `check_lake` evaluates each for the whole lake, in one event: an event for each episode and check would cost as
much as a landing. The result lists the partitions for which it fails. Runs that podlake requests have no checks. A
run or backfill that a user starts in the UI evaluates the checks of its assets for its own partitions; one that fails
as an error blocks the later assets of the run.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby

import dagster as dg

from assets.stages import STAGES
from pipeline.run_keys import has_planned_events, keys_of
from resources.lake.checks import Check, checks, elsewhere, land_results, run_checks
from resources.lake.lake import Lake
from resources.lake.tables.pipeline import CheckResultRow
from resources.lake.warehouse import connect


@cache
def lake_checks() -> tuple[dg.AssetChecksDefinition, ...]:
    """The checks of each asset."""
    found = sorted(checks(), key=lambda check: check.asset)
    return tuple(_of_asset(asset, list(group)) for asset, group in groupby(found, key=lambda check: check.asset))


def _of_asset(asset: str, own: Sequence[Check]) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(check.name, asset=asset, description=check.description, blocking=check.is_error)
        for check in own
    ]

    @dg.multi_asset_check(name=f"checks_of_{asset}", specs=specs, can_subset=True, required_resource_keys={"lake"})
    def evaluate(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        lake: Lake = context.resources.lake
        selected = {key.name for key in context.selected_asset_check_keys}
        chosen = [check for check in own if check.name in selected]
        partitions = _partitions(context) if has_planned_events(context.run.tags) else None
        results = []
        with connect(lake.home) as connection:
            for row in run_checks(connection, chosen, partitions):
                results.append(row)
                yield _evaluation(row, partitions, lake)
        if partitions is None and len(results) == len(own):
            land_results(lake, results, context.run.run_id)

    return evaluate


def _partitions(context: dg.AssetCheckExecutionContext) -> list[str]:
    """The keys of the run: a key is in the order of one kind of partition only."""
    found: list[str] = []
    for name in {stage.partitions.name or "" for stage in STAGES.values()}:
        order = context.instance.get_dynamic_partitions(name)
        found += keys_of(context.run.tags, order, {key: index for index, key in enumerate(order)})
    return list(dict.fromkeys(found))


def _evaluation(row: CheckResultRow, partitions: Sequence[str] | None, lake: Lake) -> dg.AssetCheckResult:
    other = elsewhere(lake, row.check_name, partitions) if partitions is not None else None
    scope = "the whole lake" if partitions is None else f"{len(partitions)} partitions of this run"
    table = [dg.TableRecord(dict(zip(("partition", "wrong"), one.split(": ", 1), strict=True))) for one in row.examples]
    return dg.AssetCheckResult(
        passed=row.n_wrong == 0 and other is None,
        asset_key=row.asset,
        check_name=row.check_name,
        severity=dg.AssetCheckSeverity.ERROR if row.is_error and row.n_wrong else dg.AssetCheckSeverity.WARN,
        metadata={
            "checked": scope,
            "wrong": row.n_wrong,
            **({"examples": dg.MetadataValue.table(table)} if table else {}),
            **({"wrong elsewhere, when the whole lake was checked": other.n_wrong} if other else {}),
        },
    )
