"""Months of work on many devices in virtual time, decided by the real rules: `python -m bench.simulate`.

Real: the stage graph, planner, batch sizes, live window, failure policies, and the decision when to compact.
Simulated: runs, their durations and failures, polls, and Dagster's queue. It checks the bars and exits with 1 if
one is missed. Ticks are further apart than in production, so waiting times are pessimistic.
"""

from __future__ import annotations

import heapq
import sys
import time
from collections import Counter, defaultdict
from datetime import datetime, timedelta

import numpy as np

from assets.stages import EPISODE_GRAPH as STAGES
from bench.simulation.cluster import SLOTS, Pool, Run, pool_of, work_s
from bench.simulation.episodes import DAY_S, START, Episodes, Scenario, number_of
from bench.simulation.report import Report, missed
from partitions.window import Window, admitted, leaving, sealable
from pipeline.planner import Batch, batches_of
from pipeline.readiness import EngineVersions, Episode, FailedTry, InFlight, PlanSettings, Readiness, readiness
from resources.lake.commits import Commit, engine_version, inputs_version
from resources.lake.graph import StageSpec
from speech import errors

HOUR_S = 3600.0
UPGRADED = "diarization"
STALLED_AFTER_TICKS = 3
SEAL_FROM, SEAL_AFTER = 2_000, timedelta(hours=1)


class Simulation:
    """The state of the lake, the live window and the cluster at one moment of virtual time."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.episodes = Episodes.drawn(scenario)
        self.window = Window(size=scenario.window)
        self.now_s = 0.0
        self.waiting = list(range(self.episodes.n_old))
        self.next_new = self.episodes.n_old
        self.live: dict[str, Episode] = {}
        self.commits: dict[str, dict[str, Commit]] = {name: {} for name in STAGES.names}
        self.failures: dict[str, dict[str, FailedTry]] = {name: {} for name in STAGES.names}
        self.attempts: Counter[tuple[str, str]] = Counter()
        self.flying: dict[str, set[str]] = {name: set() for name in STAGES.names}
        self.runs: Counter[str] = Counter()
        self.pools = {"gpu": Pool(scenario.devices), **{name: Pool(slots) for name, slots in SLOTS.items()}}
        self.ending: list[tuple[float, int, Run]] = []
        self.generation = 1
        self.archived: dict[str, int] = {}
        """Complete archived episode → generation of its engine."""
        self.given_up: set[str] = set()
        self.old: list[str] = []
        self.open_at: dict[str, datetime] = {}
        self.wait_s: dict[str, float] = {}
        self.report = Report()
        self.plan_s: list[float] = []
        self.sealed: list[int] = []
        self.occupancy: list[int] = []
        self.busy: list[float] = []
        self.batch_keys = 0
        self.idle_ticks = 0

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.now_s)

    def run(self) -> Report:
        started = time.process_time()
        self._first_polls()
        ticks = int(self.scenario.days * DAY_S / self.scenario.tick_s)
        for tick in range(ticks):
            self._until(tick * self.scenario.tick_s)
            if self.generation == 1 and self.now_s >= self.scenario.upgrade_day * DAY_S:
                self.generation = 2
                self.old = list(self.archived)
            self._poll()
            self._tick()
        self._finish(ticks)
        self.report.cpu_s = time.process_time() - started
        return self.report

    def _first_polls(self) -> None:
        """Each feed admits its newest episodes, up to its share of the window."""
        share, inside = self.window.share(self.scenario.feeds), Counter[int]()
        left = []
        for n in reversed(self.waiting):
            feed = int(self.episodes.feeds[n])
            if len(self.live) < self.window.size and list(
                admitted([self.episodes.waiting(n)], share, inside=inside[feed], hours_inside=0.0, now=START)
            ):
                if not inside[feed]:
                    self.wait_s[self.episodes.keys[n]] = -1.0
                inside[feed] += 1
                self._admit(n)
            else:
                left.append(n)
        self.waiting = left[::-1]

    def _poll(self) -> None:
        """An hourly poll finds what was published since; it waits for room like all others, as the newest."""
        if self.now_s % HOUR_S >= self.scenario.tick_s:
            return
        while self.next_new < len(self.episodes.keys) and self.episodes.published_s[self.next_new] <= self.now_s:
            self.waiting.append(self.next_new)
            self.wait_s[self.episodes.keys[self.next_new]] = -1.0
            self.next_new += 1

    def _tick(self) -> None:
        """One tick of the sensor: plan, request, archive, admit; compaction once an hour."""
        settings, in_flight = self._settings(), InFlight(self.flying, self.runs)
        cpu_s = time.process_time()
        found = readiness(STAGES, self.live, self.commits, self.failures, in_flight, settings, self.now)
        batches = batches_of(found)
        self.plan_s.append(time.process_time() - cpu_s)
        for batch in batches:
            self._request(batch)
        self._start()
        finished = set(found.finished)
        gone = set(leaving(list(self.live), finished, self._seal(finished), self.window)) - in_flight.all_keys()
        for key in sorted(gone):  # in the same order each time
            self._archive(key)
        self._fill()
        self._watch_for_stall(found)
        self.occupancy.append(len(self.live))
        left = len(self.waiting) + len(self.old) + len(self.live) - len(finished)
        enough = left >= self.scenario.devices * max(STAGES[name].batch_size for name in STAGES.engine_stages) * 2
        gpu = self.pools["gpu"]
        if enough and self.now_s > 0:
            self.busy.append(gpu.engine_s / (self.scenario.devices * self.scenario.tick_s))
        gpu.engine_s = 0.0

    def _watch_for_stall(self, found: Readiness) -> None:
        """Work stalls when nothing runs for several ticks although something is left and no retry is scheduled."""
        scheduled = any(one.next_retry_at for failed in self.failures.values() for one in failed.values())
        left = bool(self.waiting or self.old or self.live.keys() - found.finished)
        self.idle_ticks = self.idle_ticks + 1 if left and not self.ending and not scheduled else 0
        self.report.stalled_ticks += self.idle_ticks >= STALLED_AFTER_TICKS

    def _settings(self) -> PlanSettings:
        versions = {name: EngineVersions(self._engine(STAGES[name])) for name in STAGES.engine_stages}
        return PlanSettings(
            batch_sizes={stage.name: stage.batch_size for stage in STAGES},
            runs_ahead=2 * self.scenario.devices,
            ahead_bytes=1e12,
            engines=versions,
            redo_hours=1e9,
        )

    def _engine(self, stage: StageSpec) -> str:
        generation = self.generation if stage.name == UPGRADED else 1
        return engine_version(f"{stage.name}-{generation}" if stage.engine_slot else None, stage.version)

    def _request(self, batch: Batch) -> None:
        if batch.is_scattered:
            for key in batch.keys:
                self.live[key] = self.live.pop(key)
        self.flying[batch.stage].update(batch.keys)
        self.runs[batch.stage] += 1
        self.report.runs += 1
        self.batch_keys += len(batch.keys)
        hours = sum(self.live[key].hours for key in batch.keys)
        self.pools[pool_of(batch.stage)].add(Run(batch, work_s(batch.stage, hours, len(batch.keys))))

    def _start(self) -> None:
        for pool in self.pools.values():
            for run, seconds in pool.start():
                heapq.heappush(self.ending, (self.now_s + seconds, id(run), run))

    def _until(self, until_s: float) -> None:
        """Let runs end, and others start in their place, until this moment."""
        while self.ending and self.ending[0][0] <= until_s:
            self.now_s, _, run = heapq.heappop(self.ending)
            stage, pool = STAGES[run.batch.stage], self.pools[pool_of(run.batch.stage)]
            pool.idle.append(stage.name)
            pool.engine_s += run.work_s
            self._land(stage, run.batch)
            self.runs[stage.name] -= 1
            self.flying[stage.name].difference_update(run.batch.keys)
            self._start()
        self.now_s = until_s

    def _land(self, stage: StageSpec, batch: Batch) -> None:
        """Each key of the run lands or fails, at the end of the run."""
        now, time_text = self.now, f"{self.now:%Y%m%dT%H%M%S%f}"
        for key in batch.keys:
            error = self.episodes.error(stage, key, self.attempts[key, stage.name])
            if error is None:
                self.commits[stage.name][key] = self._commit(stage, key, time_text)
                self.failures[stage.name].pop(key, None)
                self.open_at[key] = now
                if stage.name in STAGES.terminal and self.wait_s.get(key) == -1.0:
                    self.wait_s[key] = self.episodes.waited_s(number_of(key), self.now_s)
            else:
                self.attempts[key, stage.name] += 1
                policy = errors.policy_of(error.error_class)
                retry_at = policy.next_retry_at(self.attempts[key, stage.name], now)
                self.failures[stage.name][key] = FailedTry(now, retry_at)

    def _commit(self, stage: StageSpec, key: str, time_text: str, engine: str | None = None) -> Commit:
        read = [name for name in stage.inputs + stage.optional_inputs if key in self.commits[name]]
        inputs = inputs_version({name: self.commits[name][key].data_version for name in read})
        engine = engine or self._engine(stage)
        return Commit(key, stage.name, f"{time_text}-{engine if stage.engine_slot else inputs}-{inputs}-{engine}")

    def _archive(self, key: str) -> None:
        """Out of the window. Its commits stay in the lake; of a complete one the generation says them all."""
        del self.live[key]
        commits = {name: landed.pop(key) for name, landed in self.commits.items() if key in landed}
        if len(commits) < len(STAGES.names):
            self.given_up.add(key)
        else:
            is_new = self.generation == 1 or commits[UPGRADED].engine_version == self._engine(STAGES[UPGRADED])
            self.archived[key] = self.generation if is_new else 1
        for failed in self.failures.values():
            failed.pop(key, None)

    def _fill(self) -> None:
        """Admit what waits, newest first; then complete episodes that another engine has made."""
        while len(self.live) < self.window.size and self.waiting:
            n = self.waiting.pop()
            for _ in admitted(
                [self.episodes.waiting(n)], self.window, inside=len(self.live), hours_inside=0.0, now=self.now
            ):
                self._admit(n)
        while len(self.live) < self.window.size and self.old:
            key = self.old.pop()
            del self.archived[key]
            self._admit(number_of(key))
            for stage in STAGES:
                one = f"{stage.name}-1" if stage.engine_slot else None
                version = engine_version(one, stage.version)
                self.commits[stage.name][key] = self._commit(stage, key, "20260101T000000000000", version)

    def _admit(self, n: int) -> None:
        self.live[self.episodes.keys[n]] = self.episodes.episode(n)

    def _seal(self, finished: set[str]) -> set[str]:
        """What is compacted now, if it is worth it."""
        self.report.open_max = max(self.report.open_max, len(self.open_at))
        if self.now_s % HOUR_S >= self.scenario.tick_s:
            return set()
        keys = sealable(self.open_at, self.live.keys(), finished, before=self.now - SEAL_AFTER)
        if len(keys) < SEAL_FROM:
            return set()
        for key in keys:
            del self.open_at[key]
        self.sealed.append(len(keys))
        return set(keys)

    def _finish(self, ticks: int) -> None:
        report = self.report
        final = readiness(
            STAGES, self.live, self.commits, self.failures, InFlight(self.flying), self._settings(), self.now
        )
        live_done = {key for key in final.finished if all(key in self.commits[name] for name in STAGES.terminal)}
        report.good = len(self.episodes.keys) - len(self.episodes.bad)
        report.complete = len(self.archived) + len(live_done)
        report.outdated = sum(generation < self.generation for generation in self.archived.values())
        report.failed = len(self.given_up) + len(final.finished) - len(live_done)
        report.unfinished = len(self.episodes.keys) - report.complete - report.failed
        report.utilization = float(np.mean(self.busy)) if self.busy else 0.0
        report.busy_days = len(self.busy) * self.scenario.tick_s / DAY_S
        report.window_mean, report.window_max = float(np.mean(self.occupancy)), max(self.occupancy)
        report.mean_batch = self.batch_keys / max(1, report.runs)
        report.ticks, report.plan_mean_ms = ticks, 1000 * float(np.mean(self.plan_s))
        report.plan_max_ms = 1000 * max(self.plan_s)
        report.compactions, report.compacted_mean = len(self.sealed), float(np.mean(self.sealed or [0]))
        report.wait_hours = self._waits()

    def _waits(self) -> dict[str, float]:
        """The longest wait of each feed for a good new episode; what never ended counts up to the end."""
        longest: dict[str, float] = defaultdict(float)
        for key, wait_s in self.wait_s.items():
            if key not in self.episodes.bad:
                waited_s = wait_s if wait_s >= 0 else self.episodes.waited_s(number_of(key), self.now_s)
                longest[key[:5]] = max(longest[key[:5]], waited_s / HOUR_S)
        hours = np.array(list(longest.values()) or [0.0])
        return {"median": float(np.median(hours)), "p99": float(np.quantile(hours, 0.99)), "max": float(hours.max())}


def main() -> None:
    report = Simulation(Scenario()).run()
    for name, value in vars(report).items():
        print(f"{name:16} {value}")
    if bars := missed(report):
        sys.exit("Missed: " + "; ".join(bars))


if __name__ == "__main__":
    main()
