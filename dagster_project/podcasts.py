"""Podcasts from scripts: what became of each request, and which runs are due. The ledger has the requests, Dagster the runs.

A podcast is made in one run of all its stages. A run that fails is followed by another one a minute later, twice at most,
unless the error is permanent. The process that starts a run claims the attempt in the ledger first, so that a sensor and a command
at once start one run.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, Literal

import dagster as dg

from assets.stages import PODCAST_GRAPH, STAGES
from dagster_project.in_process import materialize
from dagster_project.settings import Settings
from partitions.definitions import PODCASTS, add_keys
from pipeline.after_batch import finish_ended
from pipeline.dagster_internals import UNFINISHED
from pipeline.run_keys import key_tags
from pipeline.run_process import fail_orphaned_runs
from resources.lake.commits import open_commits
from resources.lake.lake import Lake
from resources.lake.tables.pipeline import FailureRow
from resources.studio.feed import LAST_STAGE
from resources.studio.ledger import REMEMBERED, Ledger, Limits, Request

log = logging.getLogger("podlake")

PODCAST_STAGES = tuple(STAGES[name] for name in PODCAST_GRAPH.names)
PODCAST_TAG = "podlake/podcast"
ATTEMPT_TAG = "podlake/attempt"
MAX_RETRIES_TAG = "dagster/max_retries"
RUN_LIMIT = timedelta(minutes=30)
ATTEMPTS = 3
RETRY_AFTER = timedelta(minutes=1)
SENSOR_SECONDS = 5

State = Literal["pending", "processing", "completed", "failed", "cancelled"]
OPEN: frozenset[State] = frozenset({"pending", "processing"})
_ASKED_AT_ONCE = 200
_WAITING = (dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.MANAGED)


@dataclass(frozen=True)
class Status:
    """What became of a request."""

    request: Request
    state: State
    attempt: int = 0
    """Of the run that is under way, or was the last one; 0: none has been started."""
    stage: str | None = None
    """The stage that is under way, or has failed."""
    error: str | None = None
    retry_at: datetime | None = None
    """When the next attempt begins, after one that has failed."""
    position: int | None = None
    """Place among the pending ones of all users, from 1: `statuses_in_queue` tells it."""
    run_id: str | None = None


def limits(settings: Settings) -> Limits:
    return Limits(at_once=settings.podcasts_at_once, per_day=settings.podcasts_per_day)


def statuses(instance: dg.DagsterInstance, lake: Lake, requests: Sequence[Request]) -> list[Status]:
    """The status of each request, in their order. It is derived: Dagster's runs, and what has landed in the lake."""
    finished = open_commits(lake.home, LAST_STAGE)
    runs = _runs_of(instance, [one.podcast_id for one in requests if one.podcast_id not in finished])
    return [_status(lake, one, runs.get(one.podcast_id, []), one.podcast_id in finished) for one in requests]


def statuses_in_queue(
    instance: dg.DagsterInstance, lake: Lake, requests: Sequence[Request], among: Sequence[Request]
) -> list[Status]:
    """The same, with the place of each pending one among these requests, which are those of all users."""
    found = statuses(instance, lake, requests)
    if not any(one.state == "pending" for one in found):
        return found
    waiting = sorted((one for one in statuses(instance, lake, among) if one.state == "pending"), key=_order)
    places = {one.request.podcast_id: place for place, one in enumerate(waiting, start=1)}
    return [replace(one, position=places.get(one.request.podcast_id)) for one in found]


def open_requests(instance: dg.DagsterInstance, lake: Lake, requests: Sequence[Request]) -> Collection[str]:
    """The podcasts that are pending or processing, for `Ledger.admit`."""
    return [one.request.podcast_id for one in statuses(instance, lake, requests) if one.state in OPEN]


def due(instance: dg.DagsterInstance, lake: Lake, ledger: Ledger, now: datetime | None = None) -> list[Status]:
    """The pending podcasts whose next attempt is due now, the earliest request first, each claimed for the caller.

    The caller starts their runs at once: a claim expires.
    """
    now = now or datetime.now(UTC)
    ready = _ready(instance, lake, ledger, now)
    return [one for one in ready if ledger.claim(one.request.podcast_id, one.attempt + 1, now)]


def unfinished(lake: Lake, ledger: Ledger, now: datetime) -> list[Request]:
    """The requests of all users that are not completed or cancelled. Those that have failed are among them."""
    finished = open_commits(lake.home, LAST_STAGE)
    requests = ledger.requests(since=now - REMEMBERED, most=None)
    return [one for one in requests if not one.cancelled_at and one.podcast_id not in finished]


def run_tags(status: Status) -> dict[str, str]:
    """The tags of the run that makes the podcast's next attempt. Dagster itself does not repeat it."""
    podcast_id = status.request.podcast_id
    return {
        **key_tags([podcast_id]),
        PODCAST_TAG: podcast_id,
        ATTEMPT_TAG: str(status.attempt + 1),
        MAX_RETRIES_TAG: "0",
        dg.MAX_RUNTIME_SECONDS_TAG: str(round(RUN_LIMIT.total_seconds())),
    }


def run_due(instance: dg.DagsterInstance, resources: Mapping[str, Any]) -> list[str]:
    """Make what is due in this process, one podcast after the other. Returns their keys."""
    lake, ledger = resources["lake"], resources["ledger"]
    fail_orphaned_runs(instance)
    finish_ended(instance, lake, PODCAST_STAGES, SimpleNamespace(**resources))
    made = []
    for status in _ready(instance, lake, ledger, datetime.now(UTC)):
        podcast_id = status.request.podcast_id
        if not _claim_now(instance, lake, ledger, status):
            continue
        add_keys(instance, PODCASTS, [podcast_id])
        log.info("%s: attempt %d", podcast_id, status.attempt + 1, extra={"key": podcast_id})
        materialize(instance, PODCAST_GRAPH.names, run_tags(status))
        made.append(podcast_id)
    return made


def cancel(instance: dg.DagsterInstance, lake: Lake, ledger: Ledger, podcast_id: str) -> Status | None:
    """Cancel the request and end its run. A finished podcast stays. Returns what became of it; None: no such request."""
    request = ledger.request(podcast_id)
    if request is None:
        return None
    (status,) = statuses(instance, lake, [request])
    if status.state in OPEN:
        ledger.cancel(podcast_id)
        for run in _runs_of(instance, [podcast_id]).get(podcast_id, []):
            if run.dagster_run.status in UNFINISHED:
                _end(instance, run.dagster_run)
        request = ledger.request(podcast_id) or request
    return statuses(instance, lake, [request])[0]


@dg.sensor(
    minimum_interval_seconds=SENSOR_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    asset_selection=dg.AssetSelection.assets(*PODCAST_GRAPH.names),
)
def requested_podcasts(
    context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake], ledger: dg.ResourceParam[Ledger]
) -> dg.SensorResult | dg.SkipReason:
    """Makes partitions of requested podcasts, and runs that make them. It starts nothing that no user has asked for."""
    ready = due(context.instance, lake, ledger)
    if not ready:
        return dg.SkipReason("No requested podcast is due.")
    requests = [
        dg.RunRequest(
            f"{one.request.podcast_id}:{one.attempt + 1}",
            asset_selection=[dg.AssetKey(name) for name in PODCAST_GRAPH.names],
            tags=run_tags(one),
        )
        for one in ready
    ]
    add_keys(context.instance, PODCASTS, [one.request.podcast_id for one in ready])
    return dg.SensorResult(requests)


def _status(lake: Lake, request: Request, runs: Sequence[dg.RunRecord], is_finished: bool) -> Status:
    if is_finished:
        return Status(request, "completed")
    attempt = max((int(run.dagster_run.tags.get(ATTEMPT_TAG, "1")) for run in runs), default=0)
    run_id = runs[0].dagster_run.run_id if runs else None
    last = runs[0].dagster_run.status if runs else None
    if request.cancelled_at or last is dg.DagsterRunStatus.CANCELED:
        return Status(request, "cancelled", attempt, run_id=run_id)
    if last is None or last in _WAITING:
        return Status(request, "pending", attempt, run_id=run_id)
    if last in UNFINISHED:
        return Status(request, "processing", attempt, _next_stage(lake, request.podcast_id), run_id=run_id)
    return _after_failure(lake, request, attempt, runs[0])


def _after_failure(lake: Lake, request: Request, attempt: int, record: dg.RunRecord) -> Status:
    """Pending until the next attempt, if there is one."""
    run_id = record.dagster_run.run_id
    failure = _failure(lake, request.podcast_id)
    stage, error = (failure.stage, failure.message) if failure else (None, "The run ended before it was finished.")
    is_permanent = failure is not None and not failure.retryable
    if attempt >= ATTEMPTS or is_permanent:
        return Status(request, "failed", attempt, stage, error, run_id=run_id)
    ended = datetime.fromtimestamp(record.end_time or record.update_timestamp.timestamp(), UTC)
    return Status(request, "pending", attempt, stage, error, ended + RETRY_AFTER, run_id=run_id)


def _ready(instance: dg.DagsterInstance, lake: Lake, ledger: Ledger, now: datetime) -> list[Status]:
    """What is due now, the earliest request first. It is not claimed."""
    waiting = statuses(instance, lake, unfinished(lake, ledger, now))
    return sorted((one for one in waiting if _is_due(one, now)), key=_order)


def _claim_now(instance: dg.DagsterInstance, lake: Lake, ledger: Ledger, status: Status) -> bool:
    """Claim the attempt, unless another process has begun it, or the user has cancelled, since the status was read."""
    podcast_id, now = status.request.podcast_id, datetime.now(UTC)
    request = ledger.request(podcast_id)
    if request is None or not ledger.claim(podcast_id, status.attempt + 1, now):
        return False
    (current,) = statuses(instance, lake, [request])
    return _is_due(current, now) and current.attempt == status.attempt


def _order(status: Status) -> tuple[datetime, str]:
    return status.request.admitted_at, status.request.podcast_id


def _is_due(status: Status, now: datetime) -> bool:
    """Without a run, or a minute after one that failed. A run that is queued has neither."""
    if status.state != "pending":
        return False
    return status.run_id is None or (status.retry_at is not None and status.retry_at <= now)


def _runs_of(instance: dg.DagsterInstance, podcast_ids: Sequence[str]) -> dict[str, list[dg.RunRecord]]:
    """Podcast → its runs that a request caused, the newest first."""
    found: dict[str, list[dg.RunRecord]] = {}
    for start in range(0, len(podcast_ids), _ASKED_AT_ONCE):
        chosen = dg.RunsFilter(tags={PODCAST_TAG: list(podcast_ids[start : start + _ASKED_AT_ONCE])})
        for record in instance.get_run_records(chosen):
            found.setdefault(record.dagster_run.tags[PODCAST_TAG], []).append(record)
    return found


def _failure(lake: Lake, podcast_id: str) -> FailureRow | None:
    """The failure of the stages that a finished podcast needs."""
    for stage in PODCAST_GRAPH.names:
        if found := lake.failures(stage, [podcast_id]).get(podcast_id):
            return found
    return None


def _next_stage(lake: Lake, podcast_id: str) -> str | None:
    return next((name for name in PODCAST_GRAPH.names if podcast_id not in open_commits(lake.home, name)), None)


def _end(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """End the run: by its launcher where one has started it, else by its record."""
    try:
        if instance.run_launcher.terminate(run.run_id):
            return
    except Exception:
        log.exception("the run %s could not be ended; it is recorded as cancelled", run.run_id)
    current = instance.get_run_by_id(run.run_id)
    if current and not current.is_finished:
        instance.report_run_canceled(current, "The podcast was cancelled.")
