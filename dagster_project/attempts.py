"""The attempts at what a user has requested: one run each, at most three, a minute after the one before has failed.

Podcasts, lessons and videos share this. A tag on the runs names the request, so that its state derives from Dagster's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import dagster as dg

from pipeline.dagster_internals import PRIORITY_TAG, UNFINISHED
from pipeline.run_keys import key_tags
from resources.lake.lake import Lake
from resources.lake.tables.pipeline import FailureRow

log = logging.getLogger("podlake")

ATTEMPT_TAG = "podlake/attempt"
MAX_RETRIES_TAG = "dagster/max_retries"
ATTEMPTS = 3
RETRY_AFTER = timedelta(minutes=1)
WAITED_FOR = 100
"""Priority in the run queue; batches of stages have the number of their stage."""
NOT_STARTED = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.MANAGED)
_ASKED_AT_ONCE = 200


def attempt_tags(tag: str, key: str, attempt: int, limit: timedelta, *, is_waited_for: bool = False) -> dict[str, str]:
    """The tags of the run that makes an attempt. Dagster itself does not repeat it.

    `is_waited_for`: a user waits for the run, so it leaves the queue before batches and lessons, which take hours.
    """
    return {
        **key_tags([key]),
        tag: key,
        ATTEMPT_TAG: str(attempt),
        MAX_RETRIES_TAG: "0",
        PRIORITY_TAG: str(WAITED_FOR if is_waited_for else 0),
        dg.MAX_RUNTIME_SECONDS_TAG: str(round(limit.total_seconds())),
    }


def runs_of(instance: dg.DagsterInstance, tag: str, keys: Sequence[str]) -> dict[str, list[dg.RunRecord]]:
    """Key → the runs that its request caused, the newest first."""
    found: dict[str, list[dg.RunRecord]] = {}
    for start in range(0, len(keys), _ASKED_AT_ONCE):
        chosen = dg.RunsFilter(tags={tag: list(keys[start : start + _ASKED_AT_ONCE])})
        for record in instance.get_run_records(chosen):
            found.setdefault(record.dagster_run.tags[tag], []).append(record)
    return found


def last_attempt(runs: Iterable[dg.RunRecord]) -> int:
    """The number of the newest attempt; 0: none has been started."""
    return max((int(run.dagster_run.tags.get(ATTEMPT_TAG, "1")) for run in runs), default=0)


@dataclass(frozen=True)
class RunsState:
    """What the runs of a request say that has not landed as a whole."""

    state: Literal["pending", "processing", "failed", "cancelled"]
    attempt: int
    """Of the run that is under way, or was the last one; 0: none has been started."""
    run_id: str | None
    stage: str | None = None
    """The one that has failed."""
    error: str | None = None
    retry_at: datetime | None = None
    """When the next attempt begins, after one that has failed."""


def state_of_runs(
    lake: Lake, stages: Iterable[str], key: str, runs: Sequence[dg.RunRecord], *,
    is_cancelled: bool, does_not_count: str | None = None,
) -> RunsState:  # fmt: skip
    """How far the attempts are, by the newest run; `runs` are those of the request, the newest first.

    An attempt that has failed with the error class `does_not_count` is followed by another one, whatever its number.
    """
    attempt, newest = last_attempt(runs), runs[0] if runs else None
    last, run_id = (newest.dagster_run.status, newest.dagster_run.run_id) if newest else (None, None)
    if is_cancelled or last is dg.DagsterRunStatus.CANCELED:
        return RunsState("cancelled", attempt, run_id)
    if newest is None or last in NOT_STARTED:
        return RunsState("pending", attempt, run_id)
    if last in UNFINISHED:
        return RunsState("processing", attempt, run_id)
    failure = failure_of(lake, stages, key, newest)
    stage, error = (failure.stage, failure.message) if failure else (None, "The run ended before it was finished.")
    is_last = attempt >= ATTEMPTS and not (failure and failure.error_class == does_not_count)
    if is_last or (failure and not failure.retryable):
        return RunsState("failed", attempt, run_id, stage, error)
    return RunsState("pending", attempt, run_id, stage, error, next_attempt_at(newest))


def failure_of(lake: Lake, stages: Iterable[str], key: str, run: dg.RunRecord) -> FailureRow | None:
    """The failure that the run has left; an older one is not the reason why it ended."""
    for stage in stages:
        found = lake.failures(stage, [key]).get(key)
        if found and found.run_id == run.dagster_run.run_id:
            return found
    return None


def next_attempt_at(run: dg.RunRecord) -> datetime:
    """A while after the end of a run that has failed."""
    ended = run.end_time or run.update_timestamp.timestamp()
    return datetime.fromtimestamp(ended, UTC) + RETRY_AFTER


def is_due(state: str, run_id: str | None, retry_at: datetime | None, now: datetime) -> bool:
    """Pending without a run, or a while after one that failed. A run that is queued has neither."""
    return state == "pending" and (run_id is None or (retry_at is not None and retry_at <= now))


def end_runs(instance: dg.DagsterInstance, runs: Iterable[dg.RunRecord], why: str) -> None:
    """End those that are not over: by the launcher where it has started them, else by their record."""
    for record in runs:
        run = record.dagster_run
        if run.status not in UNFINISHED:
            continue
        try:
            if instance.run_launcher.terminate(run.run_id):
                continue
        except Exception:
            log.exception("the run %s could not be ended; it is recorded as cancelled", run.run_id)
        current = instance.get_run_by_id(run.run_id)
        if current and not current.is_finished:
            instance.report_run_canceled(current, why)
