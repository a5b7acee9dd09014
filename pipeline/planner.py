"""The planner: decides from commits, failures and runs in flight which batches run next. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from pipeline.batches import cut, grouped
from pipeline.readiness import (
    Commits,
    Episode,
    Failures,
    InFlight,
    PlanSettings,
    Readiness,
    Reason,
    readiness,
)
from resources.lake.graph import StageGraph, StageSpec

DOWNLOAD_POOL = "downloads"
SMALLEST_SHARE = 4
"""A run costs as much as some seconds of an engine: fewer keys are not spread over devices."""


@dataclass(frozen=True)
class Batch:
    """The keys of one run."""

    stage: str
    keys: tuple[str, ...]
    reason: str
    priority: int = 0
    """Later stages first: they complete episodes."""
    is_scattered: bool = False
    """The keys are no neighbours in the order of partitions. They move to its end before the run is requested."""
    redo_hours: float = 0.0
    """Hours of audio that are repeated only because the engine has changed."""


def plan(
    graph: StageGraph,
    catalogue: Mapping[str, Episode],
    commits: Commits,
    failures: Failures,
    in_flight: InFlight,
    settings: PlanSettings,
    now: datetime,
) -> tuple[Batch, ...]:
    """The batches to request now, stage by stage. `catalogue` lists the keys in the order of their partitions.

    All stages of `graph` belong to one kind of partition.
    """
    return batches_of(readiness(graph, catalogue, commits, failures, in_flight, settings, now))


def batches_of(found: Readiness) -> tuple[Batch, ...]:
    """The batches of what is ready, within the limits of the settings."""
    settings, in_flight = found.settings, found.in_flight
    order, pinned = list(found.catalogue), in_flight.all_keys()
    batches: list[Batch] = []
    for priority, stage in enumerate(found.graph):
        reasons = found.ready[stage.name]
        size = _size(stage, len(reasons), settings)
        free_runs = max(0, settings.runs_ahead - in_flight.runs.get(stage.name, 0))
        keys = _by_urgency(found, reasons)[: free_runs * size]
        if downloads_audio(found.graph, stage):
            keys = keys[: download_budget(found)]
        rest = keys[len(keys) - len(keys) % size :]
        if rest and _waits_for_more(found, stage, rest):
            keys = keys[: -len(rest)]
        together, scattered = grouped(order, keys, size, pinned=pinned)
        if scattered:
            moved = frozenset(scattered)
            order = [*(key for key in order if key not in moved), *scattered]
        chosen = [*((batch, False) for batch in together), *((batch, True) for batch in cut(scattered, size))]
        # The batch of the first key is always requested: it would never run while other batches are full.
        chosen.sort(key=lambda one: (keys[0] not in one[0], -len(one[0])))
        for batch, is_scattered in chosen[:free_runs]:
            pinned.update(batch)
            hours = sum(found.catalogue[key].hours for key in batch if reasons[key] is Reason.ENGINE)
            batches.append(Batch(stage.name, tuple(batch), _text(batch, reasons), priority, is_scattered, hours))
    return tuple(batches)


def _size(stage: StageSpec, n_ready: int, settings: PlanSettings) -> int:
    """Keys in one run: few enough that every device has a share, unless that is too small for a run."""
    size = settings.batch_sizes[stage.name]
    share = -(-n_ready // settings.devices) if stage.engine_slot else size
    return min(size, max(share, SMALLEST_SHARE))


def _by_urgency(found: Readiness, reasons: Mapping[str, Reason]) -> list[str]:
    """Complete episodes that are made again only because the engine has changed come last."""
    terminal = [found.commits.get(name, {}) for name in found.graph.terminal]
    return sorted(reasons, key=lambda key: reasons[key] is Reason.ENGINE and all(key in landed for landed in terminal))


def download_budget(found: Readiness) -> int:
    """How many more episodes may be downloaded before an engine takes some.

    The limit is at least what all runs of an engine stage take, so that engines do not wait. Episodes that are only
    made again by another engine do not count: their audio is there already.
    """
    graph, settings = found.graph, found.settings
    if settings.shortage:
        return 0
    if not graph.engine_stages:
        return len(found.catalogue)
    engines = [found.ready[name] for name in graph.engine_stages]
    waiting = {key for ready in engines for key, reason in ready.items() if reason is not Reason.ENGINE}
    if sum(found.catalogue[key].bytes for key in waiting) >= settings.ahead_bytes:
        return 0
    for stage in graph:
        if downloads_audio(graph, stage):
            waiting |= found.in_flight.keys.get(stage.name, frozenset())
    taken = settings.runs_ahead * max(settings.batch_sizes[name] for name in graph.engine_stages)
    return max(0, max(settings.ahead_episodes, taken) - len(waiting))


def downloads_audio(graph: StageGraph, stage: StageSpec) -> bool:
    """Other downloads are small, and no engine waits for them."""
    return stage.pool == DOWNLOAD_POOL and any(stage.name in graph[name].inputs for name in graph.engine_stages)


def within_hours(found: Readiness, hours: float) -> dict[str, float]:
    """The first keys of the catalogue that are ready somewhere and fit into the hours of audio; the first always fits."""
    wanted = set().union(*found.ready.values())
    chosen: dict[str, float] = {}
    total_hours = 0.0
    for key in (key for key in found.catalogue if key in wanted):
        total_hours += found.catalogue[key].hours
        if chosen and total_hours > hours:
            break
        chosen[key] = found.catalogue[key].hours
    return chosen


def _waits_for_more(found: Readiness, stage: StageSpec, keys: Collection[str]) -> bool:
    """Whether a short batch waits, because more keys will come and none of these has waited long.

    A run costs one CPU-second, for one episode or a hundred. An idle engine does not wait.
    """
    if not any(found.pending[name] for name in found.graph.awaited(stage.name)):
        return False
    if stage.engine_slot and not found.in_flight.runs.get(stage.name):
        return False
    return found.now - min(_ready_since(found, stage, key) for key in keys) < found.settings.patience


def _ready_since(found: Readiness, stage: StageSpec, key: str) -> datetime:
    landed = [found.commits.get(name, {}) for name in stage.inputs + stage.optional_inputs]
    return max(commits[key].landed_at for commits in landed if key in commits)


def _text(keys: Collection[str], ready: Mapping[str, Reason]) -> str:
    counts = Counter(ready[key] for key in keys)
    return ", ".join(f"{counts[reason]} {reason}" for reason in Reason if counts[reason])
