"""The conditions that raise an alert. Pure functions of what was observed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from resources.alerts.ledger import Alert

ENGINE_WINDOW = timedelta(hours=6)
MIN_ENGINE_TRIES = 5
"""Fewer failures in a row are the episodes' own."""


@dataclass(frozen=True)
class FailingFeed:
    """A feed whose polls fail."""

    feed_id: str
    since: datetime
    message: str


@dataclass(frozen=True)
class EngineTries:
    """What became of the tries of an engine stage within `ENGINE_WINDOW`."""

    tries: int
    landed: int
    last_error: str


@dataclass(frozen=True)
class WrongCheck:
    """A check that failed at its last evaluation."""

    name: str
    n_wrong: int
    example: str


@dataclass(frozen=True)
class LostRun:
    """A run that failed as a whole and is not started again."""

    run_id: str
    what: str
    message: str


@dataclass(frozen=True)
class CostlyServer:
    """A GPU server that runs, and is paid for, without work."""

    name: str
    message: str


@dataclass(frozen=True)
class UnfitDevice:
    """A device for talking heads that is set aside, or was when it was looked at last."""

    name: str
    reason: str
    needs_person: bool
    """False: it is looked at again when a request needs it."""


@dataclass(frozen=True)
class Observations:
    """What the conditions look at."""

    now: datetime
    failing_feeds: Sequence[FailingFeed] = ()
    engines: Mapping[str, EngineTries] = field(default_factory=dict)
    """Stage → its tries."""
    n_ready: int = 0
    """Episodes that could be worked on now, at any stage."""
    ready_since: datetime | None = None
    last_landed_at: datetime | None = None
    shortage: str | None = None
    """Why admission and downloads pause."""
    wrong_checks: Sequence[WrongCheck] = ()
    lost_runs: Sequence[LostRun] = ()
    costly_servers: Sequence[CostlyServer] = ()
    unfit_devices: Sequence[UnfitDevice] = ()


@dataclass(frozen=True)
class Limits:
    """How long something may last before it is an alert."""

    feed: timedelta = timedelta(hours=48)
    idle: timedelta = timedelta(hours=6)


def alerts(seen: Observations, limits: Limits) -> list[Alert]:
    """Everything that a person has to look at now."""
    return [
        *_stalled_feeds(seen, limits),
        *_failing_engines(seen),
        *_idle(seen, limits),
        *([Alert("low_disk", "home", f"Admission and downloads pause: {seen.shortage}")] if seen.shortage else []),
        *(_wrong(check) for check in seen.wrong_checks),
        *(
            Alert("lost_run", run.run_id, f"{run.what} failed and is not tried again: {run.message}")
            for run in seen.lost_runs
        ),
        *(Alert("gpu_server_runs", server.name, server.message) for server in seen.costly_servers),
        *map(_set_aside, seen.unfit_devices),
    ]


def _stalled_feeds(seen: Observations, limits: Limits) -> Iterator[Alert]:
    for feed in seen.failing_feeds:
        if seen.now - feed.since < limits.feed:
            continue
        yield Alert(
            "stalled_feed",
            feed.feed_id,
            f"No poll of {feed.feed_id} has succeeded since {feed.since:%Y-%m-%d %H:%M} UTC: {feed.message} "
            f"Look at it with `podlake status {feed.feed_id}`, correct its URL, or end it: podlake remove {feed.feed_id}",
        )


def _failing_engines(seen: Observations) -> Iterator[Alert]:
    for stage, tries in seen.engines.items():
        if tries.tries >= MIN_ENGINE_TRIES and not tries.landed:
            hours = ENGINE_WINDOW.total_seconds() / 3600
            yield Alert(
                "engine_fails",
                stage,
                f"All {tries.tries} tries of {stage} in the last {hours:.0f} hours failed. The last: {tries.last_error} "
                "`podlake doctor` checks the engines.",
            )


def _idle(seen: Observations, limits: Limits) -> Iterator[Alert]:
    """Work waits, and nothing has landed for long, nor since the work became ready."""
    if not seen.n_ready or seen.shortage:
        return
    last = max((at for at in (seen.last_landed_at, seen.ready_since) if at), default=None)
    if last is None or seen.now - last < limits.idle:
        return
    yield Alert(
        "nothing_lands",
        "pipeline",
        f"{seen.n_ready} episodes wait, and nothing has landed since {last:%Y-%m-%d %H:%M} UTC. Look at the runs in "
        "Dagster's UI, and whether its daemon and the sensor episode_flow run.",
    )


def _set_aside(device: UnfitDevice) -> Alert:
    again = "Then use it again" if device.needs_person else "The next request looks at it again; or do that now"
    return Alert(
        "device_set_aside",
        device.name,
        f"The device {device.name} gets no talking heads: {device.reason} {again}: podlake video device-back {device.name}",
    )


def _wrong(check: WrongCheck) -> Alert:
    return Alert(
        "failed_check",
        check.name,
        f"{check.n_wrong} rows are wrong, for example {check.example}. podlake check lists them.",
    )
