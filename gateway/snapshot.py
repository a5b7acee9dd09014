"""What the dashboard and Prometheus show: the whole pipeline at one moment."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from assets.stages import PODCAST_GRAPH
from dagster_project.instance import open_instance
from gateway.gpus import Gpu, gpus
from gateway.statistics import statistics
from gateway.videos import VideoNumbers
from partitions.definitions import EPISODES
from podlake.api import Statistics
from resources.alerts.ledger import AlertLedger
from resources.lake.warehouse import ask, connect
from resources.studio.feed import LAST_STAGE
from resources.workers.jobs import JobQueue, RunningJob
from speech.engines import hosts

if TYPE_CHECKING:
    from gateway.service import Service

CHART_HOURS = 24
SEEN_WITHIN = timedelta(minutes=2)
_MOST_FAILURES = 20
_ACTIVE = {
    "queued": dg.DagsterRunStatus.QUEUED,
    "starting": dg.DagsterRunStatus.STARTING,
    "started": dg.DagsterRunStatus.STARTED,
}

_HOURS = """
select date_trunc('hour', finished_at), count(distinct episode_id), coalesce(sum(audio_ms), 0) / 3.6e6 from stage_runs
where outcome = 'landed' and stage = 'transcript' and finished_at >= $since group by 1 order by 1
"""
_ENGINES = """
select stage, engine, coalesce(model, ''), coalesce(device, ''), count(*),
    sum(audio_ms) / nullif(sum(engine_ms), 0), avg(engine_utilization)
from stage_runs where outcome = 'landed' and engine is not null and reused_from is null and finished_at >= $since
group by all order by 1, 5 desc
"""
_DURATIONS = """
select stage, count(*), coalesce(sum(download_ms), 0) / 1e3, coalesce(sum(decode_ms), 0) / 1e3,
    coalesce(sum(engine_ms), 0) / 1e3, coalesce(sum(write_ms), 0) / 1e3
from stage_runs where outcome = 'landed' and finished_at >= $since group by stage order by stage
"""
_FAILURES = """
select stage, error_class, count(*), bool_or(retryable), max(last_at), arg_max(message, last_at)
from failures group by all order by 3 desc, 1, 2
"""
_SPEED = """
with made as (
    select episode_id, min(started_at) as began, max(finished_at) as ended from stage_runs
    where outcome = 'landed' and list_contains($stages, stage)
    group by 1 having max(finished_at) filter (stage = $last) >= $since
)
select sum(epoch(ended - began)) / nullif(sum(duration_ms) / 1e3, 0)
from made join podcast_audio on podcast_id = episode_id
"""
_BYTES = "select coalesce(sum(bytes), 0) from lake.acquisitions"


@dataclass(frozen=True)
class HourOfWork:
    """What was transcribed in an hour, UTC."""

    at: datetime
    episodes: int
    audio_hours: float


@dataclass(frozen=True)
class EngineSpeed:
    """An engine in the last 24 hours."""

    stage: str
    engine: str
    model: str
    device: str
    episodes: int
    rtfx: float | None
    """Audio time ÷ engine time."""
    utilization: float | None


@dataclass(frozen=True)
class StageSeconds:
    """Where the time of a stage went in the last 24 hours, in seconds."""

    stage: str
    episodes: int
    download_s: float
    decode_s: float
    engine_s: float
    write_s: float


@dataclass(frozen=True)
class FailureReason:
    """The failures of a class at a stage, with the newest message."""

    stage: str
    error_class: str
    count: int
    retryable: bool
    last_at: datetime
    message: str


@dataclass(frozen=True)
class ConnectedWorker:
    """A worker that was seen in the last minutes."""

    name: str
    host: str
    version: str
    devices: tuple[str, ...]
    jobs: int


@dataclass(frozen=True)
class Disk:
    """The disk of a folder."""

    folder: str
    free_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class AlertNow:
    """An alert that is raised."""

    name: str
    subject: str
    message: str
    raised_at: datetime


@dataclass(frozen=True)
class PodcastNumbers:
    """Podcasts from scripts, of all users."""

    pending: int
    processing: int
    made_24h: int
    failed_24h: int
    seconds_per_audio_second: float | None
    """Time from the first stage to the last ÷ length of the audio, of those made in the last 24 hours."""


@dataclass(frozen=True)
class Snapshot:
    """The pipeline at a moment."""

    statistics: Statistics
    hours: tuple[HourOfWork, ...]
    engines: tuple[EngineSpeed, ...]
    durations: tuple[StageSeconds, ...]
    failures: tuple[FailureReason, ...]
    audio_bytes: int
    window_episodes: int
    """Episodes that are partitions of Dagster now."""
    runs: dict[str, int]
    jobs: dict[str, int]
    workers: tuple[ConnectedWorker, ...]
    running: tuple[RunningJob, ...]
    """What engines work on: at workers, and in the host processes of this machine."""
    gpus: tuple[Gpu, ...]
    disks: tuple[Disk, ...]
    shortage: str | None
    alerts: tuple[AlertNow, ...]
    podcasts: PodcastNumbers
    videos: VideoNumbers
    lessons: dict[str, int]
    """The newest thousand by state."""


def snapshot(service: Service) -> Snapshot:
    """Takes a moment: the caller keeps it for some seconds."""
    settings, now = service.settings, datetime.now(UTC)
    day = {"since": now - timedelta(hours=CHART_HOURS)}
    with connect(service.lake.home) as connection:
        hours = tuple(HourOfWork(at.replace(tzinfo=UTC), *rest) for at, *rest in ask(connection, _HOURS, day))
        engines = tuple(EngineSpeed(*row) for row in ask(connection, _ENGINES, day))
        durations = tuple(StageSeconds(*row) for row in ask(connection, _DURATIONS, day))
        failures = tuple(FailureReason(*row) for row in ask(connection, _FAILURES))
        [(audio_bytes,)] = ask(connection, _BYTES)
        [(speed,)] = ask(connection, _SPEED, {"stages": list(PODCAST_GRAPH.names), "last": LAST_STAGE, **day})
    with open_instance(settings) as instance:
        window = len(instance.get_dynamic_partitions(EPISODES.name or ""))
        runs = {name: instance.get_runs_count(dg.RunsFilter(statuses=[status])) for name, status in _ACTIVE.items()}
    queue = JobQueue(service.database)
    at_workers = tuple(queue.running())
    here = tuple(
        RunningJob(work["episode"], work["slot"], f"this machine, {one['device']}", work["done_ms"])
        for one in hosts.statuses()
        for work in one["at_work"]
    )
    states = service.studio.overview().states
    ended = service.studio.outbox.outcomes(now - timedelta(hours=24))
    raised = [one for one in AlertLedger(service.database).all() if one.over_at is None]
    return Snapshot(
        statistics=statistics(service.lake),
        hours=hours,
        engines=engines,
        durations=durations,
        failures=failures[:_MOST_FAILURES],
        audio_bytes=int(audio_bytes),
        window_episodes=window,
        runs=runs,
        jobs=queue.counts(),
        workers=tuple(
            ConnectedWorker(
                one.name, one.host, one.version, one.devices, sum(job.worker == one.name for job in at_workers)
            )
            for one in queue.workers(SEEN_WITHIN)
        ),
        running=(*at_workers, *here),
        gpus=gpus(),
        disks=tuple(_disk(str(folder)) for folder in settings.space.folders if folder.exists()),
        shortage=settings.space.shortage(),
        alerts=tuple(AlertNow(one.alert.name, one.alert.subject, one.alert.message, one.raised_at) for one in raised),
        podcasts=PodcastNumbers(
            states.get("pending", 0), states.get("processing", 0), ended.get("completed", 0), ended.get("failed", 0), speed
        ),
        videos=service.videos.numbers(now),
        lessons=service.lessons.numbers(service.studio.instance),
    )  # fmt: skip


def _disk(folder: str) -> Disk:
    usage = shutil.disk_usage(folder)
    return Disk(folder, usage.free, usage.total)
