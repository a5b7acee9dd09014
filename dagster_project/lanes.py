"""Many episodes through every stage, in two lanes side by side: one for the engines, one for everything else.

While the engines work on a batch, the other lane downloads and hashes what comes next, and builds turns of what is
transcribed. A lane is a process (`engine_lane`); they share nothing but the tables, from which each tells what is left
for it. With few episodes one process is enough, and has all stages.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import dagster as dg

from assets.audio.audio import acquisition, audio
from dagster_project.in_process import materialize_range
from dagster_project.settings import Settings
from dagster_project.stages import EPISODE_STAGES, STAGES, batch_size
from partitions.definitions import EPISODES, move_to_end
from pipeline.batches import plan
from pipeline.in_flight import in_flight
from pipeline.stage import Stage
from pipeline.todo import left_to_do
from resources.lake.lake import Lake
from resources.lake.tries import Tries

log = logging.getLogger("podlake")

ENGINES = tuple(stage for stage in EPISODE_STAGES if stage.pool == "gpu")
CPU_STAGES = tuple(stage for stage in EPISODE_STAGES if stage not in ENGINES)
NO_BATCH_WAIT = (audio, *ENGINES)
"""What an engine would wait for. Every other stage waits for a full batch while more may come to it: a run costs the
same second of a core for one episode as for a hundred, and would take it from the engines …"""

PATIENCE_S = 30.0
"""… but no longer than this after the lane's last run: an engine may take hours for a full batch, and people look."""

TWO_PROCESS_MIN = 24
"""Episodes that one process fetches before another would have loaded."""

POLL_S = 0.5
"""How often a lane that has nothing to do looks again."""


@dataclass(frozen=True)
class Work:
    """What is to be done, each episode at most once at each stage."""

    instance: dg.DagsterInstance
    settings: Settings
    lake: Lake
    keys: Sequence[str]
    failed_too: bool
    _bytes: dict[str, int] = field(default_factory=dict)

    @cached_property
    def _before(self) -> Tries:
        return Tries.listed(self.lake)

    def is_many(self) -> bool:
        """Whether there is so much to fetch that a second process is worth its start."""
        return len(left_to_do(self._before, audio, self.keys, failed_too=self.failed_too)) > TWO_PROCESS_MIN

    def left(self, given: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
        """Stage → what can be worked on by now, and has not been given to it before.

        Whatever a stage of the same episode before it is still to do is waited for.
        """
        before, now = self._before.tried, Tries.listed(self.lake)
        found: dict[str, list[str]] = {}
        to_come: dict[str, set[str]] = {}
        for stage in EPISODE_STAGES:
            name = stage.name
            earlier = {key for upstream in stage.inputs for key in to_come[upstream]}
            found[name] = [
                key
                for key in left_to_do(now, stage, self.keys, failed_too=self.failed_too)
                if key not in earlier and key not in given[name] and now.tried[name].get(key) == before[name].get(key)
            ]
            to_come[name] = earlier.union(found[name])
        return found

    def download_budget(self, left: Mapping[str, Sequence[str]]) -> int:
        """How many more may be fetched before an engine has to take some."""
        waiting = {key for stage in ENGINES for key in left[stage.name]}
        for key in waiting - self._bytes.keys():
            self._bytes[key] = acquisition(self.lake, key)["bytes"]
        is_full = sum(self._bytes[key] for key in waiting) >= self.settings.ahead_gb * 1e9
        return 0 if is_full else max(0, self.settings.ahead_episodes - len(waiting))


def work_off(work: Work, stages: Callable[[], tuple[Stage, ...]]) -> None:
    """Batch by batch, the largest first, until nothing is left of any stage; `stages` says which are ours by now."""
    given: dict[str, set[str]] = {stage.name: set() for stage in EPISODE_STAGES}
    idle_since_s = time.monotonic()
    while any((left := work.left(given)).values()):
        ours = stages()
        if audio in ours:
            left[audio.name] = left[audio.name][: work.download_budget(left)]
        batch = next_batch(work, ours, left, idle_s=time.monotonic() - idle_since_s)
        if batch.keys:
            move_to_end(work.instance, EPISODES, batch.moved)
            materialize_range(work.instance, batch.stage.name, batch.keys)
            given[batch.stage.name].update(batch.keys)
            idle_since_s = time.monotonic()
        else:
            time.sleep(POLL_S)


@dataclass(frozen=True)
class Batch:
    """Keys for one run."""

    stage: Stage
    keys: Sequence[str]
    moved: Sequence[str]
    """Keys that have to be put at the end of the order for it."""


def next_batch(work: Work, ours: tuple[Stage, ...], left: Mapping[str, Sequence[str]], idle_s: float = 0.0) -> Batch:
    """The largest batch, which may have no keys, for a lane that has done nothing for `idle_s`.

    Keys are put together only where all stages are ours: otherwise another lane may be at work on a range of them.
    """
    order = work.instance.get_dynamic_partitions(EPISODES.name or "")
    pinned = in_flight(work.instance, order).anywhere() if ours == EPISODE_STAGES else order

    def largest(stage: Stage) -> Batch:
        size = batch_size(work.settings, stage)
        planned = plan(order, left[stage.name], size, pinned=pinned)
        keys = max(planned.batches, key=len, default=[])
        may_grow = len(keys) < size and any(left[name] for name in _all_before(stage))
        waits = may_grow and stage not in NO_BATCH_WAIT and idle_s < PATIENCE_S
        return Batch(stage, [] if waits else keys, planned.moved)

    return max(map(largest, ours), key=lambda batch: len(batch.keys))


def _all_before(stage: Stage) -> set[str]:
    """The stages that it follows, at one remove or more."""
    return set(stage.inputs).union(*(_all_before(STAGES[name]) for name in stage.inputs))
