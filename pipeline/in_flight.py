"""What Dagster has been asked to do and has not ended: nobody asks for it twice, moves its keys, or archives them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

import dagster as dg
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionsFilter, BulkActionStatus
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

_ACTIVE = [status for status in BulkActionStatus if status not in BULK_ACTION_TERMINAL_STATUSES]


@dataclass(frozen=True)
class InFlight:
    """The unfinished runs, and what active backfills have yet to get done."""

    keys: Mapping[str, set[str]]
    """Asset → its keys."""
    runs: Mapping[str, int]
    """Asset → unfinished runs of it."""
    targets: Set[str] = frozenset()
    """Keys of active backfills, done or not: Dagster gives up a backfill of which a key is not there any more, and
    takes a range of its finished runs for what the order makes of it now."""

    def anywhere(self) -> set[str]:
        """Keys that are to stay, and to stay where they are."""
        return set(self.targets).union(*self.keys.values())


def in_flight(instance: dg.DagsterInstance, order: Sequence[str]) -> InFlight:
    """What is in flight of the partitions whose keys stand in this order."""
    keys: dict[str, set[str]] = defaultdict(set)
    runs: Counter[str] = Counter()
    position = {key: index for index, key in enumerate(order)}
    for run in instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES)):
        for asset in run.asset_selection or ():
            keys[asset.to_user_string()].update(_keys_of(run.tags, order, position))
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


def _keys_of(tags: Mapping[str, str], order: Sequence[str], position: Mapping[str, int]) -> Iterable[str]:
    if PARTITION_NAME_TAG in tags:
        return [tags[PARTITION_NAME_TAG]]
    first, last = (
        position.get(tags.get(tag, "")) for tag in (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)
    )
    return order[first : last + 1] if first is not None and last is not None else ()
