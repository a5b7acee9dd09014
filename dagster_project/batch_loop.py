"""Runs the stages of many episodes in this process, batch by batch, as the planner decides.

Batches run in threads: one downloads, one does the other work without an engine, and one for each device feeds an
engine, which runs in a host process. One more thread prepares the next batch, so that no device waits for its start.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Thread

import dagster as dg

from assets.stages import EPISODE_GRAPH
from dagster_project.in_process import materialize_range
from dagster_project.planning import Situation, move_scattered, plan_settings
from dagster_project.settings import Settings
from pipeline.dagster_internals import allow_runs_in_threads
from pipeline.planner import DOWNLOAD_POOL, Batch, batches_of, downloads_audio
from pipeline.readiness import InFlight, PlanSettings, Readiness
from resources.lake.lake import Lake

log = logging.getLogger("podlake")

POLL_S = 0.5
"""Time until the next plan, unless a batch ends before or planning takes long."""


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

    def situation(self, running: Collection[Batch] = ()) -> Situation:
        """Runs of others do not count, but their keys do not move."""
        found = Situation.of_episodes(self.instance, self.lake)
        stages = Counter(batch.stage for batch in running)
        keys = {stage: {key for batch in running if batch.stage == stage for key in batch.keys} for stage in stages}
        return replace(found, in_flight=InFlight(keys, stages, found.in_flight.all_keys()))

    def limits(self) -> PlanSettings:
        return replace(
            plan_settings(self.settings),
            only=frozenset(self.keys),
            retry_before=self.retry_before,
            attempted=self.attempted,
        )

    def has_downloads(self) -> bool:
        """Whether episodes are downloaded first: engines can load meanwhile."""
        ready = self.situation().readiness(self.limits()).ready
        return any(ready[stage.name] for stage in EPISODE_GRAPH if stage.pool == DOWNLOAD_POOL)


def run_batches(work: Work) -> None:
    """Plan and run, again and again, until nothing runs and nothing is ready at any stage."""
    allow_runs_in_threads(work.instance)
    running: dict[Future[None], Batch] = {}
    is_paused = False
    while True:
        started_s = time.monotonic()
        situation = work.situation(running.values())
        found = situation.readiness(work.limits())
        is_paused = _log_pause(found, was_paused=is_paused)
        batches = batches_of(found)
        next_batches = list(startable(batches, running.values(), work.settings.n_devices))
        if next_batches:
            move_scattered(work.instance, batches)  # all, as the planner expects of later ones
        for batch in next_batches:
            work.attempted.setdefault(batch.stage, set()).update(batch.keys)
            running[_in_thread(materialize_range, work.instance, batch.stage, batch.keys)] = batch
        if not running and not any(found.ready.values()):
            return
        poll_s = max(POLL_S, 4 * (time.monotonic() - started_s))
        if not running:
            time.sleep(poll_s)
        for future in wait(running, poll_s, FIRST_COMPLETED).done:
            del running[future]
            future.result()


def _log_pause(found: Readiness, *, was_paused: bool) -> bool:
    """Say when downloads begin to wait for free disk space, and when they go on. Returns whether they wait."""
    shortage = found.settings.shortage
    is_paused = shortage is not None and any(found.ready[one.name] for one in found.graph if one.pool == DOWNLOAD_POOL)
    if is_paused and not was_paused:
        log.warning("Downloads pause, and go on when there is space again: %s", shortage)
    elif was_paused and not is_paused:
        log.info("Downloads go on")
    return is_paused


def startable(batches: Iterable[Batch], running: Iterable[Batch], devices: int) -> Iterator[Batch]:
    """The largest batches for which there is a thread; audio first while the engines have nothing to do.

    Only then: episodes are complete when their other files are there too. Without devices, a batch of each engine stage
    runs on the CPU.
    """
    batches, running = list(batches), list(running)
    engines_wait = not any(one.stage in EPISODE_GRAPH.engine_stages for one in (*batches, *running))
    most = Counter({"engines": devices + 1 if devices else len(EPISODE_GRAPH.engine_stages), "downloads": 1, "cpu": 1})
    most.update(dict.fromkeys(EPISODE_GRAPH.engine_stages, max(1, devices)))
    for batch in running:
        most.subtract(_lanes(batch.stage))
    is_late = {stage.name: engines_wait and not downloads_audio(EPISODE_GRAPH, stage) for stage in EPISODE_GRAPH}
    for batch in sorted(batches, key=lambda one: (is_late[one.stage], -len(one.keys))):
        if all(most[lane] > 0 for lane in _lanes(batch.stage)):
            most.subtract(_lanes(batch.stage))
            yield batch


def _lanes(stage: str) -> tuple[str, ...]:
    """What a batch of the stage occupies one of."""
    if stage in EPISODE_GRAPH.engine_stages:
        return ("engines", stage)
    return ("downloads",) if EPISODE_GRAPH[stage].pool == DOWNLOAD_POOL else ("cpu",)


def _in_thread(function: Callable[..., None], *arguments: object) -> Future[None]:
    """Call it in a thread that does not keep the process alive."""
    future: Future[None] = Future()

    def call() -> None:
        try:
            function(*arguments)
            future.set_result(None)
        except BaseException as error:  # noqa: BLE001 - raised in the main thread
            future.set_exception(error)

    Thread(target=call, name=str(arguments[1]), daemon=True).start()
    return future
