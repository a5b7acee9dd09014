"""The keys of unfinished runs and active backfills. The planner does not request them again or move them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import dagster as dg

from pipeline.dagster_internals import UNFINISHED, active_backfills
from pipeline.readiness import InFlight
from pipeline.run_keys import keys_of


def in_flight(instance: dg.DagsterInstance, order: Sequence[str]) -> InFlight:
    """What is in flight. `order` lists all partition keys of one kind."""
    keys: dict[str, set[str]] = defaultdict(set)
    runs: Counter[str] = Counter()
    position = {key: index for index, key in enumerate(order)}
    for run in instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)):
        for asset in run.asset_selection or ():
            keys[asset.to_user_string()].update(keys_of(run.tags, order, position))
            runs[asset.to_user_string()] += 1
    targets: set[str] = set()
    for target, left in active_backfills(instance):
        targets.update(*target.values())
        for name, some in left.items():
            keys[name].update(some)
    return InFlight(keys, runs, targets)
