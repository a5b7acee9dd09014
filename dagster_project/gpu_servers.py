"""The sensor `gpu_servers`: shelves GPU servers of the cloud that have no work. Runs wake them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import dagster as dg

from assets.stages import STAGES
from dagster_project import lessons, podcasts, videos
from dagster_project.settings import Settings
from pipeline.dagster_internals import UNFINISHED
from resources.gpu_server.on_demand import GpuServer
from resources.gpu_server.servers import GpuServers
from resources.lake.lake import Lake
from resources.studio.head_devices import HeadDevices
from resources.studio.ledger import Ledger
from resources.studio.lessons import LessonLedger
from resources.studio.video_ledger import VideoLedger

SENSOR_SECONDS = 60
_OTHER_KINDS = frozenset({"feed", "episode"})
"""Stages of these partitions run on machines of their own."""


def has_runs(instance: dg.DagsterInstance) -> bool:
    """Whether a run is queued or under way whose stages may use a service on a GPU server."""
    wanted = {dg.AssetKey(name) for name, stage in STAGES.items() if stage.partition_kind not in _OTHER_KINDS}
    runs = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
    return any(wanted & set(run.asset_selection or ()) for run in runs)


def waits_for_run(instance: dg.DagsterInstance, lake: Lake, ledger: Ledger, lesson_ledger: LessonLedger) -> bool:
    """Whether a podcast or lesson has no run yet, or waits for its next attempt."""
    asked = podcasts.unfinished(lake, ledger, datetime.now(UTC))
    wanted = [one for one in lesson_ledger.lessons(most=None) if not one.cancelled_at]
    return any(one.state == "pending" for one in podcasts.statuses(instance, lake, asked)) or any(
        one.state == "pending" for one in lessons.statuses(instance, lake, lesson_ledger, wanted)
    )


def waits_for_device(
    instance: dg.DagsterInstance, lake: Lake, ledger: VideoLedger, heads: HeadDevices, server: GpuServer
) -> bool:
    """Whether a talking head waits that a device of this server may film. One that a person has to mend films none."""
    on_server = [device.name for device in heads.devices if server.serves(device.urls)]
    if not any(state.set_aside_at is None or state.until is not None for state in heads.leases.states(on_server)):
        return False
    waiting = videos.unfinished(instance, lake, ledger, datetime.now(UTC))
    return any(one.state == "pending" and one.request.kind == "talking_head" for one in waiting)


def gpu_server_sensor(settings: Settings) -> dg.SensorDefinition:
    """It is on if there is a GPU server."""
    is_on = bool(settings.gpu_servers)

    @dg.sensor(
        name="gpu_servers",
        description="Shelves GPU servers of the cloud that have had no work for PODLAKE_GPU_SERVER_IDLE_MIN minutes.",
        minimum_interval_seconds=SENSOR_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if is_on else dg.DefaultSensorStatus.STOPPED,
    )
    def shelve_idle(
        context: dg.SensorEvaluationContext,
        gpu_servers: dg.ResourceParam[GpuServers],
        lake: dg.ResourceParam[Lake],
        ledger: dg.ResourceParam[Ledger],
        lesson_ledger: dg.ResourceParam[LessonLedger],
        video_ledger: dg.ResourceParam[VideoLedger],
        head_devices: dg.ResourceParam[HeadDevices],
    ) -> dg.SkipReason:
        if not is_on:
            return dg.SkipReason("Set PODLAKE_GPU_SERVERS.")
        instance = context.instance

        def has_work(server: GpuServer) -> bool:
            return (
                head_devices.has_work_on(server)
                or has_runs(instance)
                or waits_for_device(instance, lake, video_ledger, head_devices, server)
                or waits_for_run(instance, lake, ledger, lesson_ledger)
            )

        found = {server.name: server.shelve_if_idle(partial(has_work, server)) for server in gpu_servers.servers}
        return dg.SkipReason(" ".join(f"{name}: {what}" for name, what in found.items()))

    return shelve_idle
