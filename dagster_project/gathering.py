"""Plans and runs the stages of feeds that gather what their episodes have landed, such as `voices`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.stages import GATHERING
from dagster_project.in_process import run_batch
from dagster_project.planning import Situation, plan_settings
from dagster_project.settings import Settings
from partitions.definitions import FEEDS
from pipeline.gathering import gathered_commits, planning_graph
from pipeline.in_flight import in_flight
from pipeline.lake_state import LakeState
from pipeline.planner import Batch, batches_of
from pipeline.readiness import Commits, Episode
from resources.lake.commits import all_open_commits
from resources.lake.graph import StageGraph, StageSpec
from resources.lake.lake import Lake

PAUSE = timedelta(minutes=10)
"""Between two requests of automation: episodes of a feed that land one by one are gathered together."""


def gathering_batches(
    instance: dg.DagsterInstance,
    lake: Lake,
    settings: Settings,
    listed: Commits | None = None,
    *,
    pause: timedelta = PAUSE,
) -> Iterator[Batch]:
    """The feeds whose episodes have landed something that has not been gathered."""
    listed = all_open_commits(lake.home) if listed is None else listed
    for stage in GATHERING:
        newest = max((commit.landed_at for commit in listed.get(stage.name, {}).values()), default=None)
        if newest is None or datetime.now(UTC) - newest >= pause:
            situation, limits = gathering_situation(instance, lake, stage, listed), plan_settings(settings)
            yield from batches_of(situation.readiness(limits))


def gather(instance: dg.DagsterInstance, lake: Lake, settings: Settings) -> None:
    """Run them in this process. The failure of a feed is recorded, and does not stop the others."""
    for batch in gathering_batches(instance, lake, settings, pause=timedelta(0)):
        run_batch(instance, batch)


def gathering_situation(
    instance: dg.DagsterInstance, lake: Lake, stage: StageSpec, listed: Commits | None = None
) -> Situation:
    """The feeds that have something to gather, with their newest landings as inputs."""
    listed = all_open_commits(lake.home) if listed is None else listed
    order = instance.get_dynamic_partitions(FEEDS.name or "")
    state = LakeState.read(lake, StageGraph((stage,)), order, listed)
    own = state.commits[stage.name]
    gathered = gathered_commits(lake, stage, own, listed)
    feeds = [feed_id for feed_id in order if any(feed_id in commits for commits in gathered.values())]
    return Situation(
        planning_graph(stage), dict.fromkeys(feeds, Episode()), LakeState({**gathered, stage.name: own}, state.failures),
        in_flight(instance, order), datetime.now(UTC),
    )  # fmt: skip
