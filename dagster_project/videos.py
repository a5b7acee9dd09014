"""Requested videos: what became of each, and which runs are due. The ledger has the requests, Dagster the runs.

A video is made in one run of its stages. A run that fails is followed by another one a minute later, twice at most,
unless the error is permanent; it begins at the first stage that has not landed. An attempt that has found no device fit
for use does not count. The process that starts a run claims the attempt in the ledger first. Talking heads start as
there are devices; the others wait, and their status says where.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import dagster as dg

from assets.stages import VIDEO_GRAPH
from dagster_project.attempts import (
    RETRY_AFTER,
    attempt_tags,
    end_runs,
    is_due,
    last_attempt,
    runs_of,
    state_of_runs,
)
from dagster_project.in_process import materialize
from dagster_project.settings import Settings
from partitions.definitions import VIDEOS, add_keys
from pipeline.lake_state import newest_commits
from pipeline.run_process import fail_orphaned_runs
from resources.lake.lake import Lake
from resources.lake.tables.videos import CLONED_SPEECH
from resources.studio.head_devices import HeadDevices, aside
from resources.studio.request_limits import REMEMBERED
from resources.studio.video_ledger import VideoLedger, VideoLimits, VideoRequest
from speech.errors import DeviceBusy

log = logging.getLogger("podlake")

VIDEO_TAG = "podlake/video"
LAST_STAGE = "talking_head_video"
RUN_LIMIT_MORE = timedelta(minutes=30)
"""A run may take so much longer than its film: waiting, speech, an audiogram."""
SENSOR_SECONDS = 5

State = Literal["pending", "processing", "completed", "failed", "cancelled"]
OPEN: frozenset[State] = frozenset({"pending", "processing"})


@dataclass(frozen=True)
class VideoStatus:
    """What became of a request."""

    request: VideoRequest
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
    device: str | None = None
    """The device that it has now."""
    waits_for: str | None = None
    """Why a pending one is not started: the devices that are set aside."""
    run_id: str | None = None
    started_at: datetime | None = None
    """When the first attempt began."""
    ended_at: datetime | None = None


def video_limits(settings: Settings) -> VideoLimits:
    return VideoLimits(at_once=settings.videos_at_once, per_day=settings.videos_per_day)


def statuses(instance: dg.DagsterInstance, lake: Lake, requests: Sequence[VideoRequest]) -> list[VideoStatus]:
    """The status of each request, in their order. It is derived: Dagster's runs, and what has landed in the lake."""
    keys = [one.video_id for one in requests]
    landed = newest_commits(lake, VIDEO_GRAPH.names, keys)
    runs = runs_of(instance, VIDEO_TAG, keys)
    return [_status(lake, landed, one, runs.get(one.video_id, [])) for one in requests]


def statuses_in_queue(
    instance: dg.DagsterInstance,
    lake: Lake,
    ledger: VideoLedger,
    heads: HeadDevices,
    requests: Sequence[VideoRequest],
) -> list[VideoStatus]:
    """The same, with the device of each, the place of each pending one, and what it waits for."""
    found = statuses(instance, lake, requests)
    if not any(one.state in OPEN for one in found):
        return found
    states = heads.states()
    held = {state.video_id: state.device for state in states}
    everyone = unfinished(instance, lake, ledger, datetime.now(UTC))
    waiting = sorted((one for one in everyone if one.state == "pending"), key=_order)
    places = {one.request.video_id: place for place, one in enumerate(waiting, start=1)}
    set_aside = aside(states)
    return [
        replace(
            one, position=places.get(one.request.video_id),
            device=held.get(one.request.video_id) if one.state == "processing" else None,
            waits_for=set_aside or None if one.state == "pending" and one.request.kind == "talking_head" else None,
        )
        for one in found
    ]  # fmt: skip


def unfinished(instance: dg.DagsterInstance, lake: Lake, ledger: VideoLedger, now: datetime) -> list[VideoStatus]:
    """The requests of all users that are not completed or cancelled. Those that have failed are among them."""
    requests = ledger.requests(since=now - REMEMBERED, most=None)
    finished = newest_commits(lake, (LAST_STAGE,), [one.video_id for one in requests])[LAST_STAGE]
    wanted = [one for one in requests if not one.cancelled_at and one.video_id not in finished]
    return statuses(instance, lake, wanted)


def open_videos(instance: dg.DagsterInstance, lake: Lake, requests: Sequence[VideoRequest]) -> Collection[str]:
    """The videos that are pending or processing, for `VideoLedger.admit`."""
    return [one.request.video_id for one in statuses(instance, lake, requests) if one.state in OPEN]


def due_videos(
    instance: dg.DagsterInstance, lake: Lake, ledger: VideoLedger, heads: HeadDevices, *,
    retry_after: timedelta = RETRY_AFTER, most: int | None = None,
) -> list[VideoStatus]:  # fmt: skip
    """The pending videos whose next attempt is due now, the earliest request first, each claimed for the caller.

    No more talking heads than devices are under way. The caller starts their runs at once: a claim expires.
    """
    now = datetime.now(UTC)
    everyone = unfinished(instance, lake, ledger, now)
    under_way = sum(one.request.kind == "talking_head" and _is_under_way(one) for one in everyone)
    places = sum(state.set_aside_at is None for state in heads.states()) - under_way
    found: list[VideoStatus] = []
    at = now + RETRY_AFTER - retry_after
    for one in sorted((one for one in everyone if is_due(one.state, one.run_id, one.retry_at, at)), key=_order):
        needs_device = one.request.kind == "talking_head"
        if (needs_device and places <= 0) or (most is not None and len(found) >= most):
            continue
        if ledger.claim(one.request.video_id, one.attempt + 1, now) and _is_as_seen(instance, lake, ledger, one):
            places -= needs_device
            found.append(one)
    return found


def video_run_tags(status: VideoStatus, limit: timedelta) -> dict[str, str]:
    """The tags of the run that makes the video's next attempt. Dagster itself does not repeat it."""
    return attempt_tags(VIDEO_TAG, status.request.video_id, status.attempt + 1, limit, is_waited_for=True)


def stages_to_run(lake: Lake, heads: HeadDevices, video_id: str) -> list[str]:
    """The stages that have not landed; and the speech again, if its device is set aside: another one films it then."""
    landed = newest_commits(lake, VIDEO_GRAPH.names, [video_id])
    missing = [name for name in VIDEO_GRAPH.names if video_id not in landed[name]]
    unfit = {state.device for state in heads.states() if state.set_aside_at is not None}
    if missing == [LAST_STAGE] and any(
        row.device in unfit or (row.device and row.device not in heads.names)
        for row in lake.rows(CLONED_SPEECH, video_id)
    ):
        return ["cloned_speech", LAST_STAGE]
    return missing


def run_due_videos(
    instance: dg.DagsterInstance, lake: Lake, ledger: VideoLedger, heads: HeadDevices, *,
    retry_after: timedelta = RETRY_AFTER,
) -> list[str]:  # fmt: skip
    """Make what is due in this process, one video after the other. Several processes share the work. Returns their keys."""
    fail_orphaned_runs(instance)
    made: list[str] = []
    while found := due_videos(instance, lake, ledger, heads, retry_after=retry_after, most=1):
        (status,) = found
        video_id = status.request.video_id
        add_keys(instance, VIDEOS, [video_id])
        log.info("%s: attempt %d", video_id, status.attempt + 1)
        tags = video_run_tags(status, _run_limit(heads))
        materialize(instance, stages_to_run(lake, heads, video_id), tags)
        made.append(video_id)
    return list(dict.fromkeys(made))


def cancel_video(
    instance: dg.DagsterInstance, lake: Lake, ledger: VideoLedger, heads: HeadDevices, video_id: str
) -> VideoStatus | None:
    """Cancel the request, end its run and release its device. A finished video stays. None: no such request.

    The device is free when the video that it makes is over: its server cannot stop.
    """
    request = ledger.request(video_id)
    if request is None:
        return None
    (status,) = statuses(instance, lake, [request])
    if status.state in OPEN:
        ledger.cancel(video_id)
        end_runs(instance, runs_of(instance, VIDEO_TAG, [video_id]).get(video_id, []), "The video was cancelled.")
        heads.leases.release_of(video_id)
        request = ledger.request(video_id) or request
    return statuses(instance, lake, [request])[0]


@dg.sensor(
    minimum_interval_seconds=SENSOR_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    asset_selection=dg.AssetSelection.assets(*VIDEO_GRAPH.names),
)
def requested_videos(
    context: dg.SensorEvaluationContext,
    lake: dg.ResourceParam[Lake],
    video_ledger: dg.ResourceParam[VideoLedger],
    head_devices: dg.ResourceParam[HeadDevices],
) -> dg.SensorResult | dg.SkipReason:
    """Makes partitions of requested videos, and runs that make them. It starts nothing that no user has asked for."""
    ready = due_videos(context.instance, lake, video_ledger, head_devices)
    if not ready:
        return dg.SkipReason("No requested video is due.")
    add_keys(context.instance, VIDEOS, [one.request.video_id for one in ready])
    return dg.SensorResult(
        [
            dg.RunRequest(
                f"{one.request.video_id}:{one.attempt + 1}",
                asset_selection=[dg.AssetKey(name) for name in stages_to_run(lake, head_devices, one.request.video_id)],
                tags=video_run_tags(one, _run_limit(head_devices)),
            )
            for one in ready
        ]
    )


def _run_limit(heads: HeadDevices) -> timedelta:
    return timedelta(seconds=heads.patience.limit_s) + RUN_LIMIT_MORE


def _status(
    lake: Lake, landed: Mapping[str, Collection[str]], request: VideoRequest, runs: Sequence[dg.RunRecord]
) -> VideoStatus:  # fmt: skip
    """From the newest run on."""
    key, is_cancelled = request.video_id, request.cancelled_at is not None
    newest = runs[0] if runs else None
    found = VideoStatus(
        request, "completed", last_attempt(runs), run_id=newest.dagster_run.run_id if newest else None,
        started_at=_time(min((run.start_time for run in runs if run.start_time), default=None)),
        ended_at=_time(newest.end_time if newest else None),
    )  # fmt: skip
    if key in landed[LAST_STAGE]:
        return found
    of_runs = state_of_runs(
        lake, VIDEO_GRAPH.names, key, runs, is_cancelled=is_cancelled, does_not_count=DeviceBusy.error_class
    )  # fmt: skip
    at_work = next((name for name in VIDEO_GRAPH.names if key not in landed[name]), None)
    stage = at_work if of_runs.state == "processing" else of_runs.stage
    return replace(found, state=of_runs.state, stage=stage, error=of_runs.error, retry_at=of_runs.retry_at)


def _is_under_way(status: VideoStatus) -> bool:
    """Whether it has a run that is not over."""
    return status.state == "processing" or (
        status.state == "pending" and status.run_id is not None and status.retry_at is None
    )


def _is_as_seen(instance: dg.DagsterInstance, lake: Lake, ledger: VideoLedger, seen: VideoStatus) -> bool:
    """Whether no other process has begun the attempt, and the user has not cancelled, before it was claimed."""
    request = ledger.request(seen.request.video_id)
    if request is None:
        return False
    (now,) = statuses(instance, lake, [request])
    return (now.state, now.attempt) == ("pending", seen.attempt)


def _order(status: VideoStatus) -> tuple[datetime, str]:
    return status.request.admitted_at, status.request.video_id


def _time(at: float | None) -> datetime | None:
    return None if at is None else datetime.fromtimestamp(at, UTC)


def counted(found: Sequence[VideoStatus]) -> Counter[tuple[str, str]]:
    """Kind and state → requests."""
    return Counter((one.request.kind, one.state) for one in found)
