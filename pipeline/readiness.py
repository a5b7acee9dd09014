"""What each key needs at each stage: nothing, a run now, or to wait. Pure; reads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from resources.lake.commits import UNKNOWN, Commit, inputs_version
from resources.lake.graph import StageGraph, StageSpec


class Reason(StrEnum):
    """Why a stage runs for a key."""

    MISSING = "missing"
    RETRY = "retry after a failure"
    INPUTS = "made from other inputs"
    ENGINE = "made by another engine"


@dataclass(frozen=True)
class Episode:
    """What the planner knows about a key from the catalogue."""

    hours: float = 1.0
    """Hours of audio; an episode of unknown length counts as one hour."""
    bytes: int = 60_000_000
    """Size of its audio; one hour at 128 kbit/s if unknown."""
    language: str | None = None


@dataclass(frozen=True)
class FailedTry:
    """The last failure of a key at a stage."""

    at: datetime
    next_retry_at: datetime | None
    """None: it is not retried automatically."""


@dataclass(frozen=True)
class InFlight:
    """What Dagster has been asked to do and has not finished."""

    keys: Mapping[str, Set[str]] = field(default_factory=dict)
    """Stage → keys of its unfinished runs and active backfills."""
    runs: Mapping[str, int] = field(default_factory=dict)
    """Stage → number of its unfinished runs."""
    targets: Set[str] = frozenset()
    """All keys of active backfills: Dagster stops a backfill if one of its keys disappears."""

    def all_keys(self) -> set[str]:
        """Keys that must stay partitions and keep their position."""
        return set(self.targets).union(*self.keys.values())


@dataclass(frozen=True)
class EngineVersions:
    """The versions that landings of an engine stage carry if they are made now. None: no engine for the language."""

    default: str | None
    by_language: Mapping[str, str | None] = field(default_factory=dict)

    def has_made(self, commit: Commit, episode: Episode) -> bool:
        version = self.by_language.get(episode.language or "", self.default)
        return version is None or commit.engine_version in (version, UNKNOWN)


@dataclass(frozen=True)
class PlanSettings:
    """The limits of a plan."""

    batch_sizes: Mapping[str, int]
    """Stage → keys in one run."""
    runs_ahead: int = 2
    """Unfinished runs of one stage at most."""
    ahead_episodes: int = 256
    """Episodes downloaded at most before an engine takes some."""
    ahead_bytes: float = 20e9
    engines: Mapping[str, EngineVersions] = field(default_factory=dict)
    """Stage → its configured engine. A stage that is absent is never outdated because of its engine."""
    redo_hours: float = 0.0
    """Hours of audio that may be repeated only because the engine has changed."""
    retry_before: datetime | None = None
    """Every failure older than this is retried, whether it is due or not."""
    patience: timedelta = timedelta(seconds=30)
    """How long a short batch waits for more keys."""
    only: Set[str] | None = None
    """Plan these keys alone; the others of the catalogue only say which keys are neighbours."""
    attempted: Mapping[str, Set[str]] = field(default_factory=dict)
    """Stage → keys that are not run again, whatever came of them."""


Commits = Mapping[str, Mapping[str, Commit]]
"""Stage → key → its newest commit."""
Failures = Mapping[str, Mapping[str, FailedTry]]
"""Stage → key → its last failure."""


@dataclass(frozen=True)
class Readiness:
    """What can be done for each key at each stage."""

    ready: Mapping[str, Mapping[str, Reason]]
    """Stage → keys that can run now."""
    pending: Mapping[str, Set[str]]
    """Stage → keys that run, can run, or wait for an input that is pending."""
    finished: Set[str]
    """Keys without pending work and without a scheduled retry: complete, or failed for the last time."""


def readiness(
    graph: StageGraph,
    catalogue: Mapping[str, Episode],
    commits: Commits,
    failures: Failures,
    in_flight: InFlight,
    settings: PlanSettings,
    now: datetime,
) -> Readiness:
    """What can be done for each key of the catalogue. A stage waits while one of its inputs is pending."""
    if settings.only is not None:
        catalogue = {key: episode for key, episode in catalogue.items() if key in settings.only}
    ready: dict[str, Mapping[str, Reason]] = {}
    pending: dict[str, Set[str]] = {}
    unfinished: set[str] = set()
    redo = _RedoBudget(settings.redo_hours)
    for stage in graph:
        view = _StageView.of(stage, commits, failures, settings, now)
        flying = in_flight.keys.get(stage.name, frozenset())
        held = frozenset().union(*(pending[name] for name in stage.inputs))
        reasons = view.reasons(catalogue, redo)
        attempted = settings.attempted.get(stage.name, frozenset())
        ready[stage.name] = {
            key: reason
            for key, reason in reasons.items()
            if key not in flying and key not in held and key not in attempted and view.has_inputs(key)
        }
        # A key whose run is unfinished but whose landing is there already holds nothing back.
        pending[stage.name] = held | ready[stage.name].keys() | (flying & reasons.keys())
        unfinished |= pending[stage.name] | flying | view.scheduled(catalogue)
    return Readiness(ready, pending, catalogue.keys() - unfinished)


class _RedoBudget:
    """Hours of audio that may be repeated because of a new engine. The first episode is allowed if there are any."""

    def __init__(self, hours: float) -> None:
        self._left_hours = hours
        self._keys: set[str] = set()

    def allows(self, key: str, episode: Episode) -> bool:
        if key not in self._keys:
            if self._left_hours <= 0:
                return False
            self._left_hours -= episode.hours
            self._keys.add(key)
        return True


@dataclass(frozen=True)
class _StageView:
    """One stage with its commits, failures and inputs."""

    stage: StageSpec
    landed: Mapping[str, Commit]
    failed: Mapping[str, FailedTry]
    """The failures that count: newer than the commits of the stage and of its inputs."""
    inputs: tuple[tuple[str, Mapping[str, Commit]], ...]
    settings: PlanSettings
    now: datetime

    @classmethod
    def of(
        cls, stage: StageSpec, commits: Commits, failures: Failures, settings: PlanSettings, now: datetime
    ) -> _StageView:
        landed = commits.get(stage.name, {})
        inputs = tuple((name, commits.get(name, {})) for name in stage.inputs)
        later = (landed, *(found for _, found in inputs))
        failed = {
            key: failure
            for key, failure in failures.get(stage.name, {}).items()
            if all(key not in found or found[key].landed_at < failure.at for found in later)
        }
        return cls(stage, landed, failed, inputs, settings, now)

    def reasons(self, catalogue: Mapping[str, Episode], redo: _RedoBudget) -> dict[str, Reason]:
        """The keys that need a run of the stage, whether or not their inputs have landed."""
        found: dict[str, Reason] = {}
        engine = self.settings.engines.get(self.stage.name)
        for key, episode in catalogue.items():
            commit = self.landed.get(key)
            if key in self.failed:
                if self._is_due(self.failed[key]):
                    found[key] = Reason.RETRY
            elif commit is None:
                found[key] = Reason.MISSING
            elif self.inputs and not self._is_made_from_inputs(commit):
                found[key] = Reason.INPUTS
            elif engine and not engine.has_made(commit, episode) and redo.allows(key, episode):
                found[key] = Reason.ENGINE
        return found

    def has_inputs(self, key: str) -> bool:
        return all(key in landed for _, landed in self.inputs)

    def scheduled(self, catalogue: Mapping[str, Episode]) -> Set[str]:
        """Keys whose retry is due later."""
        return {key for key, failure in self.failed.items() if failure.next_retry_at is not None and key in catalogue}

    def _is_due(self, failure: FailedTry) -> bool:
        before = self.settings.retry_before
        if before is not None and failure.at < before:
            return True
        return failure.next_retry_at is not None and failure.next_retry_at <= self.now

    def _is_made_from_inputs(self, commit: Commit) -> bool:
        """Whether the inputs still have the versions that the landing was made from."""
        if commit.inputs_version == UNKNOWN:
            return True
        versions = []
        for name, landed in self.inputs:
            current = landed.get(commit.key)
            if current is None:  # the input has been removed: there is nothing newer
                return True
            versions.append((name, current.data_version))
        return _inputs_version(*versions) == commit.inputs_version


@lru_cache(maxsize=100_000)
def _inputs_version(*inputs: tuple[str, str]) -> str:
    return inputs_version(dict(inputs))
