"""Many episodes through every stage, by one or two processes: one for the engines, one for everything else.

While the engines work on a batch, the other process downloads and hashes what comes next, and builds turns of what is
transcribed. The processes share nothing but the tables. The planner decides what each of them does next.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import dagster as dg

from assets.stages import EPISODE_GRAPH
from dagster_project.in_process import materialize_range
from dagster_project.planning import Situation, plan_settings
from dagster_project.settings import Settings
from partitions.definitions import EPISODES
from pipeline.dagster_internals import move_to_end
from pipeline.planner import DOWNLOAD_POOL, Batch
from pipeline.readiness import InFlight, PlanSettings
from resources.lake.lake import Lake

ALL_STAGES = frozenset(EPISODE_GRAPH.names)
ENGINE_STAGES = frozenset(EPISODE_GRAPH.engine_stages)
CPU_STAGES = ALL_STAGES - ENGINE_STAGES

TWO_PROCESS_MIN = 24
"""Episodes that one process downloads before another would have loaded."""

POLL_S = 0.5
"""How often a process that has nothing to do plans again."""


@dataclass(frozen=True)
class Work:
    """What is to be done, each episode at most once at each stage."""

    instance: dg.DagsterInstance
    settings: Settings
    lake: Lake
    keys: Sequence[str]
    retry_before: datetime | None = None
    """Failures before this are retried, whether they are due or not."""
    attempted: dict[str, set[str]] = field(default_factory=dict)

    def situation(self, *, alone: bool) -> Situation:
        """Runs of others do not count, but what they name stays where it is; so does all of it beside another process."""
        found = Situation.of_episodes(self.instance, self.lake)
        pinned = found.in_flight.all_keys() if alone else set(found.catalogue)
        return replace(found, in_flight=InFlight(targets=pinned))

    def limits(self) -> PlanSettings:
        return replace(
            plan_settings(self.settings),
            only=frozenset(self.keys),
            retry_before=self.retry_before,
            attempted=self.attempted,
        )

    def is_many(self) -> bool:
        """Whether there is so much to download that a second process is worth its start."""
        ready = self.situation(alone=True).readiness(self.limits()).ready
        return any(len(ready[stage.name]) > TWO_PROCESS_MIN for stage in EPISODE_GRAPH if stage.pool == DOWNLOAD_POOL)


def work_off(work: Work, stages: Callable[[], frozenset[str]]) -> None:
    """Batch by batch, the largest first, until nothing is ready at any stage; `stages` says which are ours by now."""
    while True:
        ours = stages()
        situation, limits = work.situation(alone=ours == ALL_STAGES), work.limits()
        found = situation.readiness(limits)
        if not any(found.ready.values()):
            return
        batches = [batch for batch in situation.batches(found, limits) if batch.stage in ours]
        if batches:
            run_batch(work, max(batches, key=lambda batch: len(batch.keys)))
        else:
            time.sleep(POLL_S)


def run_batch(work: Work, batch: Batch) -> None:
    if batch.is_scattered:
        move_to_end(work.instance, EPISODES, batch.keys)
    materialize_range(work.instance, batch.stage, batch.keys)
    work.attempted.setdefault(batch.stage, set()).update(batch.keys)
