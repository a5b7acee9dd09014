"""`podlake retry`: what failed, once more."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg

from assets.stages import GRAPH, STAGES
from dagster_project.in_process import materialize_range
from dagster_project.planning import plan_settings
from dagster_project.settings import Settings
from partitions.definitions import add_keys
from pipeline.dagster_internals import move_to_end
from pipeline.in_flight import in_flight
from pipeline.lake_state import LakeState
from pipeline.planner import plan
from pipeline.readiness import Episode
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.warehouse import ask, connect

_FAILED = """
select stage, episode_id from lake.failures
where (len($stages) = 0 or list_contains($stages, stage))
  and (len($classes) = 0 or list_contains($classes, error_class))
  and (len($feeds) = 0 or list_contains($feeds, feed_id))
order by stage, last_at desc, episode_id
"""


def failed(
    home: Home, *, stages: Collection[str] = (), classes: Collection[str] = (), feeds: Collection[str] = ()
) -> dict[str, list[str]]:
    """Stage → the keys that failed there, inputs first; nothing given: all of them."""
    chosen = {"stages": list(stages), "classes": list(classes), "feeds": list(feeds)}
    with connect(home) as connection:
        rows = ask(connection, _FAILED, chosen)
    found = {stage: [key for name, key in rows if name == stage] for stage in GRAPH.names}
    return {stage: keys for stage, keys in found.items() if keys}


def bring_back(instance: dg.DagsterInstance, wanted: Mapping[str, Sequence[str]]) -> None:
    """Admit the keys again: an episode that failed for the last time is archived."""
    for stage, keys in wanted.items():
        add_keys(instance, STAGES[stage].partitions, keys)


def retry_here(
    instance: dg.DagsterInstance, settings: Settings, lake: Lake, wanted: Mapping[str, Sequence[str]]
) -> None:
    """In this process, each stage's keys in full batches. What reads them is left to the next run."""
    for name in (name for name in GRAPH.names if name in wanted):
        stage, now = STAGES[name], datetime.now(UTC)
        order = instance.get_dynamic_partitions(stage.partitions.name or "")
        state = LakeState.read(lake, graph := GRAPH.of_kind(stage.partition_kind), order)
        keys = frozenset(wanted[name])
        limits = replace(plan_settings(settings), runs_ahead=len(keys), only=keys, retry_before=now)
        limits = replace(limits, ahead_episodes=len(keys))
        catalogue = dict.fromkeys(order, Episode(bytes=0))
        batches = plan(graph, catalogue, state.commits, state.failures, in_flight(instance, order), limits, now)
        for batch in (batch for batch in batches if batch.stage == name):
            if batch.is_scattered:
                move_to_end(instance, stage.partitions, batch.keys)
            materialize_range(instance, name, batch.keys)
