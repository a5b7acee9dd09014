"""The sensor `gpu_servers`: shelves GPU servers of the cloud that have no work. Runs wake them."""

from __future__ import annotations

import dagster as dg

from assets.stages import STAGES
from dagster_project.settings import Settings
from pipeline.dagster_internals import UNFINISHED
from resources.gpu_server.servers import GpuServers

SENSOR_SECONDS = 60
_OTHER_KINDS = frozenset({"feed", "episode"})
"""Stages of these partitions run on machines of their own."""


def has_work(instance: dg.DagsterInstance) -> bool:
    """Whether a run is queued or under way whose stages may use a service on a GPU server."""
    wanted = {dg.AssetKey(name) for name, stage in STAGES.items() if stage.partition_kind not in _OTHER_KINDS}
    runs = instance.get_runs(dg.RunsFilter(statuses=list(UNFINISHED)))
    return any(wanted & set(run.asset_selection or ()) for run in runs)


def gpu_server_sensor(settings: Settings) -> dg.SensorDefinition:
    """It is on if there is a GPU server."""
    is_on = bool(settings.gpu_servers)

    @dg.sensor(
        name="gpu_servers",
        description="Shelves GPU servers of the cloud that have had no work for PODLAKE_GPU_SERVER_IDLE_MIN minutes.",
        minimum_interval_seconds=SENSOR_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if is_on else dg.DefaultSensorStatus.STOPPED,
    )
    def shelve_idle(context: dg.SensorEvaluationContext, gpu_servers: dg.ResourceParam[GpuServers]) -> dg.SkipReason:
        if not is_on:
            return dg.SkipReason("Set PODLAKE_GPU_SERVERS.")
        found = {
            server.name: server.shelve_if_idle(lambda: has_work(context.instance)) for server in gpu_servers.servers
        }
        return dg.SkipReason(" ".join(f"{name}: {what}" for name, what in found.items()))

    return shelve_idle
