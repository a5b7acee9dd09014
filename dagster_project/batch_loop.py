"""Runs the stages of many episodes in this process, batch by batch, as the planner decides.

For many episodes, `podlake run` uses a process for each engine stage and one for all other stages. While an engine works
on a batch, the other processes prepare the next batch of the other engine, download and hash the next episodes, and
build turns of finished ones. The processes share only the tables.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import dagster as dg

from assets.stages import EPISODE_GRAPH
from dagster_project.in_process import run_batch
from dagster_project.planning import Situation, plan_settings
from dagster_project.settings import Settings
from pipeline.planner import DOWNLOAD_POOL, batches_of
from pipeline.readiness import InFlight, PlanSettings
from resources.lake.lake import Lake

ALL_STAGES = frozenset(EPISODE_GRAPH.names)
ENGINE_STAGES = frozenset(EPISODE_GRAPH.engine_stages)
CPU_STAGES = ALL_STAGES - ENGINE_STAGES

ENGINE_PROCESS_MIN = 24
"""One process downloads this many episodes before a further one has started."""

POLL_S = 0.5
"""Time until a process that has nothing to run plans again, unless planning takes long."""


@dataclass(frozen=True)
class Work:
    """The episodes to process, each at most once at each stage."""

    instance: dg.DagsterInstance
    settings: Settings
    lake: Lake
    keys: Sequence[str]
    retry_before: datetime | None = None
    """Failures before this time are retried, even if no retry is due."""
    attempted: dict[str, set[str]] = field(default_factory=dict)

    def situation(self, *, one_process: bool) -> Situation:
        """Runs of others do not count, but their keys do not move. Beside another process, no key moves."""
        found = Situation.of_episodes(self.instance, self.lake)
        pinned = found.in_flight.all_keys() if one_process else set(found.catalogue)
        return replace(found, in_flight=InFlight(targets=pinned))

    def limits(self) -> PlanSettings:
        return replace(
            plan_settings(self.settings),
            only=frozenset(self.keys),
            retry_before=self.retry_before,
            attempted=self.attempted,
        )

    def needs_engine_processes(self) -> bool:
        """Whether there are enough downloads that further processes are worth their start."""
        ready = self.situation(one_process=True).readiness(self.limits()).ready
        return any(
            len(ready[stage.name]) > ENGINE_PROCESS_MIN for stage in EPISODE_GRAPH if stage.pool == DOWNLOAD_POOL
        )


def run_batches(work: Work, stages: Callable[[], frozenset[str]]) -> None:
    """Run the largest batch of `stages()`, again and again, until nothing is ready at any stage."""
    while True:
        own, started_s = stages(), time.monotonic()
        situation, limits = work.situation(one_process=own == ALL_STAGES), work.limits()
        found = situation.readiness(limits)
        if not any(found.ready.values()):
            return
        batches = [batch for batch in batches_of(found) if batch.stage in own]
        if not batches:
            time.sleep(max(POLL_S, 4 * (time.monotonic() - started_s)))
            continue
        batch = max(batches, key=lambda batch: len(batch.keys))
        run_batch(work.instance, batch)
        work.attempted.setdefault(batch.stage, set()).update(batch.keys)
