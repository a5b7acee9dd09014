"""What Dagster has been asked to do and has not finished. It is not requested twice, and its keys stay where they are."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import dagster as dg
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionsFilter, BulkActionStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from pipeline.readiness import InFlight
from pipeline.run_keys import keys_of

_ACTIVE = [status for status in BulkActionStatus if status not in BULK_ACTION_TERMINAL_STATUSES]


def in_flight(instance: dg.DagsterInstance, order: Sequence[str]) -> InFlight:
    """What is in flight of the partitions whose keys stand in this order."""
    keys: dict[str, set[str]] = defaultdict(set)
    runs: Counter[str] = Counter()
    position = {key: index for index, key in enumerate(order)}
    for run in instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)):
        for asset in run.asset_selection or ():
            keys[asset.to_user_string()].update(keys_of(run.tags, order, position))
            runs[asset.to_user_string()] += 1
    targets: set[str] = set()
    for backfill in instance.get_backfills(filters=BulkActionsFilter(statuses=_ACTIVE)):
        data = backfill.asset_backfill_data
        if data is None:
            continue
        for subset in data.target_subset.partitions_subsets_by_asset_key.values():
            targets.update(subset.get_partition_keys())
        left = data.target_subset - data.materialized_subset - data.failed_and_downstream_subset
        for asset, subset in left.partitions_subsets_by_asset_key.items():
            keys[asset.to_user_string()].update(subset.get_partition_keys())
    return InFlight(keys, runs, targets)
