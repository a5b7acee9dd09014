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
from dagster_project.attempts import (
    attempt_tags,
    end_runs,
    is_due,
    runs_of,
    state_of_runs,
)
from dagster_project.in_process import materialize
from dagster_project.settings import Settings
from partitions.definitions import PODCASTS, add_keys
from pipeline.after_batch import finish_ended
from pipeline.lake_state import newest_commits
from pipeline.run_process import fail_orphaned_runs
from resources.lake.lake import Lake
from resources.studio.feed import LAST_STAGE
from resources.studio.ledger import Ledger, Limits, Request
from resources.studio.request_limits import REMEMBERED

log = logging.getLogger("podlake")

PODCAST_STAGES = tuple(STAGES[name] for name in PODCAST_GRAPH.names)
PODCAST_TAG = "podlake/podcast"
RUN_LIMIT = timedelta(minutes=30)
SENSOR_SECONDS = 5

State = Literal["pending", "processing", "completed", "failed", "cancelled"]
OPEN: frozenset[State] = frozenset({"pending", "processing"})


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
    finished = _finished(lake, requests)
    runs = runs_of(instance, PODCAST_TAG, [one.podcast_id for one in requests if one.podcast_id not in finished])
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
    requests = ledger.requests(since=now - REMEMBERED, most=None)
    finished = _finished(lake, requests)
    return [one for one in requests if not one.cancelled_at and one.podcast_id not in finished]


def run_tags(status: Status) -> dict[str, str]:
    """The tags of the run that makes the podcast's next attempt. Dagster itself does not repeat it."""
    return attempt_tags(PODCAST_TAG, status.request.podcast_id, status.attempt + 1, RUN_LIMIT, is_waited_for=True)


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
        runs = runs_of(instance, PODCAST_TAG, [podcast_id]).get(podcast_id, [])
        end_runs(instance, runs, "The podcast was cancelled.")
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


def _finished(lake: Lake, requests: Sequence[Request]) -> Collection[str]:
    """The podcasts that have landed at the last stage; others that are not asked for are among them."""
    return newest_commits(lake, (LAST_STAGE,), [one.podcast_id for one in requests])[LAST_STAGE]


def _status(lake: Lake, request: Request, runs: Sequence[dg.RunRecord], is_finished: bool) -> Status:
    if is_finished:
        return Status(request, "completed")
    key, is_cancelled = request.podcast_id, request.cancelled_at is not None
    found = state_of_runs(lake, PODCAST_GRAPH.names, key, runs, is_cancelled=is_cancelled)
    stage = _next_stage(lake, key) if found.state == "processing" else found.stage
    return Status(request, found.state, found.attempt, stage, found.error, found.retry_at, run_id=found.run_id)


def _ready(instance: dg.DagsterInstance, lake: Lake, ledger: Ledger, now: datetime) -> list[Status]:
    """What is due now, the earliest request first. It is not claimed."""
    waiting = statuses(instance, lake, unfinished(lake, ledger, now))
    return sorted((one for one in waiting if is_due(one.state, one.run_id, one.retry_at, now)), key=_order)


def _claim_now(instance: dg.DagsterInstance, lake: Lake, ledger: Ledger, status: Status) -> bool:
    """Claim the attempt, unless another process has begun it, or the user has cancelled, since the status was read."""
    podcast_id, now = status.request.podcast_id, datetime.now(UTC)
    request = ledger.request(podcast_id)
    if request is None or not ledger.claim(podcast_id, status.attempt + 1, now):
        return False
    (current,) = statuses(instance, lake, [request])
    return is_due(current.state, current.run_id, current.retry_at, now) and current.attempt == status.attempt


def _order(status: Status) -> tuple[datetime, str]:
    return status.request.admitted_at, status.request.podcast_id


def _next_stage(lake: Lake, podcast_id: str) -> str | None:
    landed = newest_commits(lake, PODCAST_GRAPH.names, [podcast_id])
    return next((name for name in PODCAST_GRAPH.names if podcast_id not in landed[name]), None)
