"""Backfills that we request, as the UI does: Dagster's daemon carries them out, stage by stage, batch by batch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.execution.backfill import PartitionBackfill
from dagster._core.storage.tags import MAX_RUNTIME_SECONDS_TAG
from dagster._core.utils import make_new_backfill_id
from dagster._daemon.controller import get_daemon_statuses

from assets.stages import STAGES
from dagster_project.settings import Settings
from partitions.definitions import EPISODES, FEEDS, move_to_end
from pipeline.batches import grouped
from pipeline.in_flight import in_flight

BACKFILL_DAEMONS = ("BACKFILL", "QUEUED_RUN_COORDINATOR")


def request_backfill(
    instance: dg.DagsterInstance, settings: Settings, wanted: Mapping[str, Sequence[str]], title: str
) -> str:
    """Ask for the keys at their stages, and for what is made from them. Returns the backfill's id.

    Scattered keys are put together first, in the order in which they enter the lineage, so that batches are full;
    those that something in flight names stay where they are.
    """
    together(instance, wanted)
    targets = {
        dg.AssetKey(stage): STAGES[stage].partitions.subset_with_partition_keys(keys)
        for stage, keys in with_downstream(wanted).items()
    }
    backfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id=make_new_backfill_id(),
        backfill_timestamp=time.time(),
        tags=run_tags(settings),
        dynamic_partitions_store=instance,
        asset_graph_subset=AssetGraphSubset(targets, set()),  # type: ignore[call-arg]
        title=title,
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    return backfill.backfill_id


def with_downstream(wanted: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Stage → the keys wanted there or at a stage that it is made from, in the order of the lineage."""
    found: dict[str, list[str]] = {}
    for stage in STAGES.values():
        of_upstream = [key for name in stage.inputs for key in found.get(name, ())]
        keys = list(dict.fromkeys([*wanted.get(stage.name, ()), *of_upstream]))
        if keys:
            found[stage.name] = keys
    return found


def together(instance: dg.DagsterInstance, wanted: Mapping[str, Sequence[str]]) -> None:
    """Move the keys together, at the end of their order, where they are scattered."""
    for definition in (FEEDS, EPISODES):
        stages = [stage for stage in STAGES.values() if stage.partitions is definition]
        keys = list(dict.fromkeys(key for stage in stages for key in wanted.get(stage.name, ())))
        order = instance.get_dynamic_partitions(definition.name or "")
        pinned = in_flight(instance, order).all_keys()
        if grouped(order, [key for key in keys if key in set(order)], len(keys) + 1, pinned=pinned)[1]:
            move_to_end(instance, definition, [key for key in keys if key not in pinned])


def run_tags(settings: Settings) -> dict[str, str]:
    """What every run that we ask for carries: a hung run is ended."""
    return {MAX_RUNTIME_SECONDS_TAG: str(round(settings.job_timeout_hours * 3600))}


def daemon_is_running(instance: dg.DagsterInstance) -> bool:
    """Whether somebody is there to carry a backfill out."""
    return all(
        status.healthy for status in get_daemon_statuses(instance, BACKFILL_DAEMONS, ignore_errors=True).values()
    )
