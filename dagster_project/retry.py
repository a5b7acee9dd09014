"""`podlake retry`: repeats what failed, planned by the planner, by a backfill or in this process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.stages import EPISODE_GRAPH, FEED_GRAPH, GATHERING, GRAPH, STAGES
from dagster_project.backfills import request_backfill
from dagster_project.gathering import gathering_situation
from dagster_project.in_process import run_batch
from dagster_project.planning import Situation, plan_settings
from dagster_project.settings import Settings
from partitions.definitions import add_keys
from pipeline.planner import batches_of
from pipeline.readiness import PlanSettings
from resources.lake.catalogue import Catalogue
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

Wanted = Mapping[str, Sequence[str]]
"""Stage → keys."""


def failed(
    home: Home, *, stages: Collection[str] = (), classes: Collection[str] = (), feeds: Collection[str] = ()
) -> dict[str, list[str]]:
    """Stage → the keys that failed there, inputs first. An empty choice means all."""
    chosen = {"stages": list(stages), "classes": list(classes), "feeds": list(feeds)}
    with connect(home) as connection:
        removed = Catalogue(Lake(home)).removed()
        rows = [(stage, key) for stage, key in ask(connection, _FAILED, chosen) if not removed.has(key)]
    found = {stage: [key for name, key in rows if name == stage] for stage in GRAPH.names}
    return {stage: keys for stage, keys in found.items() if keys}


def bring_back(instance: dg.DagsterInstance, wanted: Wanted) -> None:
    """Admit the keys to the live window again: an episode that failed its last attempt is archived."""
    for stage, keys in wanted.items():
        add_keys(instance, STAGES[stage].partitions, keys)


def retry_by_backfill(instance: dg.DagsterInstance, settings: Settings, lake: Lake, wanted: Wanted) -> str | None:
    """Request what the planner finds ready, and all later stages. Returns the backfill's id; None if nothing is ready.

    What is in flight is not requested again. If an input of a wanted stage is missing or outdated, it is included.
    """
    ready: dict[str, list[str]] = {}
    for situation in _situations(instance, lake, wanted):
        found = situation.readiness(_limits(settings, wanted)).ready
        for name in situation.graph.names:
            reading = [stage for stage in wanted if stage == name or name in GRAPH.all_inputs(stage)]
            if keys := [key for key in found[name] if any(key in wanted[stage] for stage in reading)]:
                ready[name] = keys
    return request_backfill(instance, settings, ready, "podlake retry") if ready else None


def retry_here(instance: dg.DagsterInstance, settings: Settings, lake: Lake, wanted: Wanted) -> None:
    """Run the wanted stages in this process, inputs first. Later stages are left to `podlake run`."""
    for name in (name for name in GRAPH.names if name in wanted):
        only = {name: wanted[name]}
        (situation,) = _situations(instance, lake, only)
        limits = _limits(settings, only)
        for batch in batches_of(situation.readiness(limits)):
            if batch.stage == name:
                run_batch(instance, batch)


def _situations(instance: dg.DagsterInstance, lake: Lake, wanted: Wanted) -> list[Situation]:
    found = [Situation.of_feeds(instance, lake)] if any(name in FEED_GRAPH.names for name in wanted) else []
    found += [gathering_situation(instance, lake, stage) for stage in GATHERING if stage.name in wanted]
    return (
        [*found, Situation.of_episodes(instance, lake)]
        if any(name in EPISODE_GRAPH.names for name in wanted)
        else found
    )


def _limits(settings: Settings, wanted: Wanted) -> PlanSettings:
    """All wanted keys, without limits on what runs ahead."""
    keys = frozenset(key for some in wanted.values() for key in some)
    return replace(
        plan_settings(settings),
        only=keys,
        retry_before=datetime.now(UTC),
        runs_ahead=len(keys),
        ahead_episodes=2 * len(keys),
        ahead_bytes=float("inf"),
        patience=timedelta(0),
    )
