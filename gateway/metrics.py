"""`/metrics` for Prometheus: the pipeline from the snapshot, and the latency of this application's routes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.auth import Principal, Role, require
from gateway.service import Here
from gateway.snapshot import Snapshot

router = APIRouter(include_in_schema=False)
_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Latency:
    """Measures each request of the application, by method, route and status."""

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._seconds = Histogram(
            "podlake_http_request_seconds",
            "Time to the end of an answer.",
            ["method", "route", "status"],
            registry=registry,
            buckets=_BUCKETS_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s, status = time.perf_counter(), 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            # A path that no route has would make a series for each attack.
            route = getattr(scope.get("route"), "path", "other")
            method = scope["method"] if scope["method"] in ("GET", "POST", "PUT", "DELETE") else "other"
            self._seconds.labels(method, route, str(status)).observe(time.perf_counter() - started_s)


@router.get("/metrics")
async def metrics(
    request: Request, service: Here, _: Annotated[Principal, require(Role.VIEWER, "metrics")]
) -> Response:
    """Prometheus' text format."""
    seen = await service.snapshot()
    registry = CollectorRegistry()
    registry.register(_Pipeline(seen))
    own: CollectorRegistry = request.app.state.registry
    return Response(generate_latest(registry) + generate_latest(own), media_type=CONTENT_TYPE_LATEST)


class _Pipeline:
    """A snapshot as metrics."""

    def __init__(self, seen: Snapshot) -> None:
        self._seen = seen

    def collect(self) -> Iterator[Metric]:
        seen, stats = self._seen, self._seen.statistics
        yield _gauge("podlake_feeds", "Subscriptions.", value=stats.feeds)
        yield _gauge("podlake_episodes", "Episodes by state.", ["state"],
                     {("known",): stats.episodes, ("done",): stats.done, ("queue",): stats.queue})  # fmt: skip
        yield _gauge("podlake_window_episodes", "Partitions of the live window.", value=seen.window_episodes)
        yield _gauge("podlake_stage_episodes", "Episodes of a stage by state.", ["stage", "state"],
                     {(one.stage, state): value for one in stats.stages
                      for state, value in (("landed", one.landed), ("failed", one.failed), ("waiting", one.waiting))})  # fmt: skip
        yield _gauge("podlake_landed_24h", "Landings of the last 24 hours.", ["stage"],
                     {(one.stage,): one.landed_24h for one in stats.stages})  # fmt: skip
        yield _gauge("podlake_audio_hours_24h", "Hours of audio that landed in the last 24 hours.", ["stage"],
                     {(one.stage,): one.audio_hours_24h for one in stats.stages})  # fmt: skip
        yield _gauge("podlake_failures", "Failures that nothing has mended.", ["stage", "class", "retryable"],
                     {(one.stage, one.error_class, str(one.retryable).lower()): one.count for one in stats.failures})  # fmt: skip
        yield _gauge("podlake_engine_rtfx", "Audio time ÷ engine time in 24 hours.", ["stage", "engine", "model", "device"],
                     {(one.stage, one.engine, one.model, one.device): one.rtfx for one in seen.engines})  # fmt: skip
        yield _gauge("podlake_engine_utilization", "Share of the time in which the engine worked, in 24 hours.",
                     ["stage", "engine", "model", "device"],
                     {(one.stage, one.engine, one.model, one.device): one.utilization for one in seen.engines})  # fmt: skip
        yield _gauge("podlake_stage_seconds_24h", "Time of a stage in the last 24 hours.", ["stage", "part"],
                     {(one.stage, part): value for one in seen.durations
                      for part, value in (("download", one.download_s), ("decode", one.decode_s),
                                          ("engine", one.engine_s), ("write", one.write_s))})  # fmt: skip
        yield _gauge("podlake_audio_bytes", "Bytes of audio that were fetched.", value=seen.audio_bytes)
        yield _gauge("podlake_runs", "Dagster runs that are not over.", ["status"],
                     {(name,): count for name, count in seen.runs.items()})  # fmt: skip
        yield _gauge("podlake_worker_jobs", "Jobs of workers by state.", ["state"],
                     {(name,): count for name, count in seen.jobs.items()})  # fmt: skip
        yield _gauge("podlake_workers", "Connected workers.", value=len(seen.workers))
        yield _gauge("podlake_gpu_memory_used_bytes", "Memory in use on a GPU.", ["gpu", "name"],
                     {(str(one.index), one.name): one.used_bytes for one in seen.gpus})  # fmt: skip
        yield _gauge("podlake_gpu_memory_total_bytes", "Memory of a GPU.", ["gpu", "name"],
                     {(str(one.index), one.name): one.total_bytes for one in seen.gpus})  # fmt: skip
        yield _gauge("podlake_gpu_utilization", "Share of the last second in which a GPU worked.", ["gpu", "name"],
                     {(str(one.index), one.name): one.utilization for one in seen.gpus})  # fmt: skip
        yield _gauge("podlake_disk_free_bytes", "Free bytes of a disk.", ["folder"],
                     {(one.folder,): one.free_bytes for one in seen.disks})  # fmt: skip
        yield _gauge("podlake_videos", "Videos that were requested in the last seven days.", ["kind", "state"],
                     {(kind, state): count for kind, states in seen.videos.videos.items()
                      for state, count in states.items()})  # fmt: skip
        yield _gauge("podlake_head_devices", "Devices for talking heads by what they do.", ["state"],
                     {(state,): count for state, count in seen.videos.devices.items()})  # fmt: skip
        yield _gauge("podlake_lessons", "The newest thousand lessons that are dubbed, by state.", ["state"],
                     {(state,): count for state, count in seen.lessons.items()})  # fmt: skip
        made = seen.podcasts
        yield _gauge("podlake_podcasts", "Requested podcasts that are not finished, by state.", ["state"],
                     {("pending",): made.pending, ("processing",): made.processing})  # fmt: skip
        yield _gauge("podlake_podcasts_24h", "Podcasts that ended in the last 24 hours, by outcome.", ["outcome"],
                     {("completed",): made.made_24h, ("failed",): made.failed_24h})  # fmt: skip
        yield _gauge("podlake_podcast_seconds_per_audio_second", "Time to make podcasts ÷ their length, in 24 hours.", [],
                     {(): made.seconds_per_audio_second})  # fmt: skip
        yield _gauge("podlake_alerts", "Alerts that are raised.", ["alert"],
                     {(name,): sum(one.name == name for one in seen.alerts) for name in {one.name for one in seen.alerts}})  # fmt: skip


def _gauge(
    name: str,
    text: str,
    labels: list[str] | None = None,
    values: dict[tuple[str, ...], float | None] | None = None,
    value: float | None = None,
) -> Metric:
    """A gauge with a value for each set of labels; values that are None are left out."""
    if labels is None:
        return GaugeMetricFamily(name, text, value=value)
    found = GaugeMetricFamily(name, text, labels=labels)
    for own, number in sorted((values or {}).items()):
        if number is not None:
            found.add_metric(own, number)
    return found
