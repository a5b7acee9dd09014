"""The slots of a simulated cluster, and how long runs take in them."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from assets.stages import EPISODE_GRAPH as STAGES
from pipeline.planner import Batch

RUN_START_S, ENGINE_LOAD_S = 5.0, 25.0
SECONDS_PER_HOUR_OF_AUDIO = {"audio": 2.0, "hashes": 1.0, "diarization": 60.0, "transcript": 90.0, "turns": 0.1}
"""Of one run's time; the other stages take 0.02 s per episode."""
SLOTS = {"downloads": 16, "cpu": 32}


@dataclass(frozen=True)
class Run:
    """One batch at work."""

    batch: Batch
    work_s: float


class Pool:
    """Slots that runs wait for, the highest priority first. A device remembers which engine is loaded."""

    def __init__(self, slots: int) -> None:
        self.idle: list[str | None] = [None] * slots
        self.queue: list[tuple[int, int, Run]] = []
        self.engine_s = 0.0
        self._count = 0

    def add(self, run: Run) -> None:
        self._count += 1
        heapq.heappush(self.queue, (-run.batch.priority, self._count, run))

    def start(self) -> Iterator[tuple[Run, float]]:
        """The runs that start now, with the time that they take."""
        while self.idle and self.queue:
            run = heapq.heappop(self.queue)[-1]
            warm = run.batch.stage in self.idle
            self.idle.remove(run.batch.stage if warm else self.idle[0])
            loads = STAGES[run.batch.stage].engine_slot and not warm
            yield run, RUN_START_S + run.work_s + (ENGINE_LOAD_S if loads else 0.0)


def pool_of(stage: str) -> str:
    pool = STAGES[stage].pool
    return pool if pool in ("gpu", "downloads") else "cpu"


def work_s(stage: str, hours_of_audio: float, n_episodes: int) -> float:
    """How long a run of the stage works."""
    rate = SECONDS_PER_HOUR_OF_AUDIO.get(stage)
    return hours_of_audio * rate if rate else 0.02 * n_episodes
