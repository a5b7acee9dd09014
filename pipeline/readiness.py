"""Decides for each key and stage: no run is needed, it can run now, or it has to wait. Pure functions."""

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
    AUDIO = "its audio was removed"
    RETRY = "retry after a failure"
    INPUTS = "made from other inputs"
    RULE = "made by another rule"
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
    needs_audio: bool = False
    """The audio is no longer kept: it is fetched again."""


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
    devices: int = 1
    """Devices on which engines run at once: the keys of an engine stage are spread over them."""
    runs_ahead: int = 2
    """Unfinished runs of one stage at most."""
    ahead_episodes: int = 256
    """Episodes downloaded at most before an engine takes some."""
    ahead_bytes: float = 20e9
    engines: Mapping[str, EngineVersions] = field(default_factory=dict)
    """Stage → its configured engine. A stage that is absent is never outdated because of its engine."""
    rules: Mapping[str, Set[str]] = field(default_factory=dict)
    """Stage whose rule is configured → the engine versions of landings by this rule. To repeat it takes no engine, and
    so no budget."""
    redo_hours: float = 0.0
    """Hours of audio that may be repeated only because the engine has changed."""
    retry_before: datetime | None = None
    """Every failure older than this is retried, whether it is due or not."""
    patience: timedelta = timedelta(seconds=30)
    """How long a short batch waits for more keys."""
    shortage: str | None = None
    """Why nothing is downloaded now."""
    only: Set[str] | None = None
    """Plan these keys alone; the others of the catalogue only say which keys are neighbours."""
    attempted: Mapping[str, Set[str]] = field(default_factory=dict)
    """Stage → keys that are not run again, whether or not their last run failed."""


Commits = Mapping[str, Mapping[str, Commit]]
"""Stage → key → its newest commit."""
Failures = Mapping[str, Mapping[str, FailedTry]]
"""Stage → key → its last failure."""


@dataclass(frozen=True)
class Readiness:
    """What can be done for each key at each stage, and what that was derived from."""

    graph: StageGraph
    catalogue: Mapping[str, Episode]
    commits: Commits
    in_flight: InFlight
    settings: PlanSettings
    now: datetime
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
    only = settings.only
    considered = catalogue if only is None else {key: one for key, one in catalogue.items() if key in only}
    ready: dict[str, Mapping[str, Reason]] = {}
    pending: dict[str, Set[str]] = {}
    unfinished: set[str] = set()
    budget = _RedoBudget(settings.redo_hours)
    for stage in graph:
        rules = _StageRules.of(stage, graph, commits, failures, settings, now)
        needed = {
            key: reason
            for key, episode in considered.items()
            if (reason := rules.reason(key, episode)) and (reason is not Reason.ENGINE or budget.allows(key, episode))
        }
        running = in_flight.keys.get(stage.name, frozenset())
        waiting = frozenset().union(*(pending[name] for name in stage.inputs + stage.optional_inputs))
        blocked = running | waiting | settings.attempted.get(stage.name, frozenset())
        ready[stage.name] = {
            key: reason for key, reason in needed.items() if key not in blocked and rules.has_inputs(key)
        }
        # A key that has landed while its run is unfinished does not hold up the next stages.
        pending[stage.name] = waiting | ready[stage.name].keys() | (running & needed.keys())
        unfinished |= pending[stage.name] | running | rules.scheduled()
    finished = considered.keys() - unfinished
    return Readiness(graph, catalogue, commits, in_flight, settings, now, ready, pending, finished)


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
class _StageRules:
    """Why a stage has to run for a key, by the commits and failures of the stage and the commits of its inputs."""

    landed: Mapping[str, Commit]
    failed: Mapping[str, FailedTry]
    """The failures that count: those that are newer than the commits of the stage and of its inputs."""
    refetch: Set[str]
    """Keys for which a stage that reads this one did not find the audio that this one had fetched."""
    inputs: tuple[tuple[str, Mapping[str, Commit]], ...]
    optional: tuple[tuple[str, Mapping[str, Commit]], ...]
    engine: EngineVersions | None
    rule: Set[str] | None
    retry_before: datetime | None
    now: datetime

    @classmethod
    def of(
        cls,
        stage: StageSpec,
        graph: StageGraph,
        commits: Commits,
        failures: Failures,
        settings: PlanSettings,
        now: datetime,
    ) -> _StageRules:
        landed = commits.get(stage.name, {})
        inputs = tuple((name, commits.get(name, {})) for name in stage.inputs)
        optional = tuple((name, commits.get(name, {})) for name in stage.optional_inputs)
        failed = {
            key: failure
            for key, failure in failures.get(stage.name, {}).items()
            if all(
                key not in one or one[key].landed_at < failure.at
                for one in (landed, *dict(inputs).values(), *dict(optional).values())
            )
        }
        readers = () if stage.inputs else (one.name for one in graph if stage.name in one.inputs)
        refetch = {
            key
            for name in readers
            for key, failure in failures.get(name, {}).items()
            if failure.needs_audio and key in landed and landed[key].landed_at < failure.at
        }
        engine, rule = settings.engines.get(stage.name), settings.rules.get(stage.name)
        return cls(landed, failed, refetch, inputs, optional, engine, rule, settings.retry_before, now)

    def reason(self, key: str, episode: Episode) -> Reason | None:
        """Why the stage has to run, whether or not its inputs have landed. None: it does not."""
        if failure := self.failed.get(key):
            return Reason.RETRY if self._is_due(failure) else None
        commit = self.landed.get(key)
        if commit is None:
            return Reason.MISSING
        if key in self.refetch:
            return Reason.AUDIO
        if not self._is_made_from_inputs(commit):
            return Reason.INPUTS
        if self.rule and commit.engine_version not in self.rule and commit.engine_version != UNKNOWN:
            return Reason.RULE
        return Reason.ENGINE if self.engine and not self.engine.has_made(commit, episode) else None

    def has_inputs(self, key: str) -> bool:
        return all(key in landed for _, landed in self.inputs)

    def scheduled(self) -> Set[str]:
        """Keys that are retried automatically, now or later."""
        return {key for key, failure in self.failed.items() if failure.next_retry_at}

    def _is_due(self, failure: FailedTry) -> bool:
        if self.retry_before and failure.at < self.retry_before:
            return True
        return failure.next_retry_at is not None and failure.next_retry_at <= self.now

    def _is_made_from_inputs(self, commit: Commit) -> bool:
        """Whether the inputs still have the versions that the landing was made from."""
        if not self.inputs or commit.inputs_version == UNKNOWN:
            return True
        if not self.has_inputs(commit.key):  # an input has been removed: there is nothing newer
            return True
        read = (*self.inputs, *((name, landed) for name, landed in self.optional if commit.key in landed))
        versions = ((name, landed[commit.key].data_version) for name, landed in read)
        return _inputs_version(*versions) == commit.inputs_version


@lru_cache(maxsize=100_000)
def _inputs_version(*inputs: tuple[str, str]) -> str:
    return inputs_version(dict(inputs))
