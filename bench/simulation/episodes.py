"""What is simulated: the episodes of all feeds, when they are published, and which of them fail at which stage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from assets.stages import EPISODE_GRAPH as STAGES
from bench.simulation.cluster import pool_of
from partitions.window import Waiting
from pipeline.readiness import Episode
from resources.lake.graph import StageSpec
from speech import errors

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY_S = 86_400.0
TRANSIENT = {"downloads": errors.NetworkError, "gpu": errors.EngineCrashed, "cpu": errors.StorageError}


@dataclass(frozen=True)
class Scenario:
    """What is simulated."""

    episodes: int = 1_000_000
    feeds: int = 5_000
    devices: int = 64
    days: int = 90
    upgrade_day: float = 15.0
    window: int = 10_000
    new_share: float = 0.1
    """Of the episodes; they are published while the simulation runs, the others before."""
    permanent: float = 0.03
    transient: float = 0.05
    tick_s: float = 900.0
    seed: int = 1


@dataclass(frozen=True)
class Episodes:
    """By time of publication: the back catalogue first, then those that are published while the simulation runs."""

    keys: list[str]
    feeds: np.ndarray[Any, Any]
    published_s: np.ndarray[Any, Any]
    """After the start; of the back catalogue, negative."""
    hours: np.ndarray[Any, Any]
    n_old: int
    bad: dict[str, str]
    """Episode → the stage at which it always fails."""
    shaky: dict[str, tuple[str, int]]
    """Episode → the stage at which it fails at first, and how often."""

    @classmethod
    def drawn(cls, scenario: Scenario) -> Episodes:
        s, rng = scenario, np.random.default_rng(scenario.seed)
        n_new = int(s.episodes * s.new_share)
        old = -np.sort(rng.exponential(700, s.episodes - n_new))[::-1] * DAY_S
        new = np.sort(rng.uniform(0, (s.days - 4) * DAY_S, n_new))
        feeds = rng.integers(0, s.feeds, s.episodes)
        keys = [f"f{feed:04d}-{n:07d}" for n, feed in enumerate(feeds)]
        hours = rng.lognormal(-0.4, 0.6, s.episodes)
        drawn, position = rng.random(s.episodes), rng.integers(0, len(STAGES.names), s.episodes)
        stage = np.array(STAGES.names)[position]
        bad = {keys[n]: str(stage[n]) for n in np.flatnonzero(drawn < s.permanent)}
        shaky = np.flatnonzero((drawn >= s.permanent) & (drawn < s.permanent + s.transient))
        fails = {keys[n]: (str(stage[n]), int(rng.integers(1, 3))) for n in shaky}
        return cls(keys, feeds, np.concatenate([old, new]), hours, s.episodes - n_new, bad, fails)

    def waiting(self, n: int) -> Waiting:
        published_at = START + timedelta(seconds=float(self.published_s[n]))
        return Waiting(self.keys[n], str(self.feeds[n]), "en", published_at, int(self.hours[n] * 3.6e6))

    def episode(self, n: int) -> Episode:
        hours = float(self.hours[n])
        return Episode(hours=hours, bytes=int(hours * 60e6))

    def waited_s(self, n: int, until_s: float) -> float:
        """Since it was published, or since the start."""
        return until_s - max(0.0, float(self.published_s[n]))

    def error(self, stage: StageSpec, key: str, tries: int) -> type[errors.PodlakeError] | None:
        """Why the episode fails at the stage, where it has failed so many times before; None: it does not."""
        if self.bad.get(key) == stage.name:
            return errors.Undecodable
        shaky_at, times = self.shaky.get(key, ("", 0))
        return TRANSIENT[pool_of(stage.name)] if shaky_at == stage.name and tries < times else None


def number_of(key: str) -> int:
    return int(key.rpartition("-")[2])
