"""Numbers about the whole lake, for the API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from pipeline.progress import EPISODE_STAGES, progress
from podlake.api import FailureCount, LanguageHours, StageCount, Statistics, WorkerCount
from resources.lake.lake import Lake
from resources.lake.warehouse import ask, connect

Value = TypeVar("Value")

_RECENT = """
select stage, count(*), coalesce(sum(audio_ms), 0) / 3.6e6 from stage_runs
where outcome = 'landed' and finished_at >= $since group by stage
"""
_LANGUAGES = """
select coalesce(quality.language_detected, episode.language), count(*), coalesce(sum(quality.duration_ms), 0) / 3.6e6
from quality join lake.episodes as episode using (episode_id) group by 1 order by 3 desc, 1
"""
_FAILURES = "select stage, error_class, count(*), bool_or(retryable) from failures group by all order by 3 desc, 1, 2"
_WORKERS = """
select worker, count(*), coalesce(sum(audio_ms), 0) / 3.6e6, coalesce(sum(engine_ms), 0) / 3.6e6 from stage_runs
where outcome = 'landed' and finished_at >= $since and engine is not null group by worker order by 3 desc, 1
"""


def statistics(lake: Lake) -> Statistics:
    """Read them from the lake."""
    now = datetime.now(UTC)
    since = {"since": now - timedelta(hours=24)}
    stands = progress(lake, EPISODE_STAGES)
    with connect(lake.home) as connection:
        known = {key for (key,) in ask(connection, "select episode_id from lake.episodes")}
        ((n_feeds,),) = ask(connection, "select count(*) from lake.subscriptions")
        recent = {stage: (count, hours) for stage, count, hours in ask(connection, _RECENT, since)}
        languages = tuple(LanguageHours(*row) for row in ask(connection, _LANGUAGES))
        failures = tuple(FailureCount(*row) for row in ask(connection, _FAILURES))
        workers = tuple(WorkerCount(*row) for row in ask(connection, _WORKERS, since))
    stages = tuple(
        StageCount(
            stage, len(stands.landed[stage]), len(stands.failed[stage]),
            len(known - stands.landed[stage] - stands.failed[stage]), *recent.get(stage, (0, 0.0)),
        )
        for stage in EPISODE_STAGES
    )  # fmt: skip
    done = stands.complete()
    failed = frozenset().union(*stands.failed.values())
    return Statistics(now, n_feeds, len(known), len(done & known), len(known - done - failed), stages, languages,
                      failures, workers)  # fmt: skip


@dataclass
class Kept(Generic[Value]):
    """A value that is costly to make: made once for all who ask, and again after some seconds."""

    seconds: float
    _made_s: float = float("-inf")
    _value: Value | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self, make: Callable[[], Awaitable[Value]]) -> Value:
        async with self._lock:
            if self._value is None or time.monotonic() - self._made_s > self.seconds:
                self._value = await make()
                self._made_s = time.monotonic()
            return self._value
