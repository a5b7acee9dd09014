"""Backfills, requested as the UI does. Dagster's daemon executes them, stage by stage and batch by batch."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import dagster as dg

from assets.stages import STAGES
from dagster_project.settings import Settings
from partitions.definitions import EPISODES, FEEDS, PODCASTS
from pipeline.batches import grouped
from pipeline.dagster_internals import add_backfill, move_to_end
from pipeline.in_flight import in_flight

BACKFILL_DAEMONS = ("BACKFILL", "QUEUED_RUN_COORDINATOR")
HEARTBEAT_LIMIT_S = 300.0
"""A daemon reports every 30 s that it is alive."""


def request_backfill(
    instance: dg.DagsterInstance, settings: Settings, wanted: Mapping[str, Sequence[str]], title: str
) -> str:
    """Request the keys at their stages and at all later stages. Returns the backfill's id.

    Scattered keys become neighbours first, so that batches are full. Keys in flight stay where they are.
    """
    make_neighbours(instance, wanted)
    targets = {stage: (STAGES[stage].partitions, keys) for stage, keys in with_downstream(wanted).items()}
    return add_backfill(instance, targets, run_tags(settings), title)


def with_downstream(wanted: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Stage → the keys wanted there or at an input that backfills wait for, in the order of the stages."""
    found: dict[str, list[str]] = {}
    for stage in STAGES.values():
        upstream = [key for name in stage.inputs + stage.ordered for key in found.get(name, ())]
        if keys := list(dict.fromkeys([*wanted.get(stage.name, ()), *upstream])):
            found[stage.name] = keys
    return found


def make_neighbours(instance: dg.DagsterInstance, wanted: Mapping[str, Sequence[str]]) -> None:
    """Move scattered keys to the end of their order."""
    for definition in (FEEDS, EPISODES, PODCASTS):
        stages = [stage for stage in STAGES.values() if stage.partitions is definition]
        keys = list(dict.fromkeys(key for stage in stages for key in wanted.get(stage.name, ())))
        order = instance.get_dynamic_partitions(definition.name or "")
        pinned, known = in_flight(instance, order).all_keys(), set(order)
        if grouped(order, [key for key in keys if key in known], len(keys) + 1, pinned=pinned)[1]:
            move_to_end(instance, definition, [key for key in keys if key not in pinned])


def run_tags(settings: Settings) -> dict[str, str]:
    """The tags of every run that we request: the run monitor ends a run at this limit."""
    return {dg.MAX_RUNTIME_SECONDS_TAG: str(round(settings.job_timeout_hours * 3600))}


def daemon_is_running(instance: dg.DagsterInstance) -> bool:
    """Whether Dagster's daemon, which executes backfills, is alive."""
    beats = instance.get_daemon_heartbeats()
    return all(name in beats and time.time() - beats[name].timestamp < HEARTBEAT_LIMIT_S for name in BACKFILL_DAEMONS)
