"""Automation: episodes flow through the stages by themselves. All that asks for work is off until it is switched on.

* `flow`, a sensor: whatever can be worked on at a stage is requested, in full batches while more is on its way;
* `poll_feeds`, hourly: every feed, the ones that have waited longest first;
* `nightly`: what is missing, due for another try, or made by another engine, within a budget of audio hours;
* `seal`, hourly: sealed files, once there are enough open ones to be worth it;
* `dead_runs`, a sensor that is on: a killed run gives its pool slots back, and is tried again.

Why a sensor over the tables and not automation conditions: docs/automation.md.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import dagster as dg
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PRIORITY_TAG,
)

from dagster_project.backfills import run_tags
from dagster_project.nightly import request_night
from dagster_project.settings import Settings
from dagster_project.stages import EPISODE_STAGES, STAGES, batch_size
from partitions.definitions import EPISODES, FEEDS
from partitions.window import Window
from pipeline.batches import batched
from pipeline.in_flight import InFlight, in_flight
from pipeline.live_window import admit
from pipeline.run_process import fail_orphaned_runs
from pipeline.stage import Stage
from pipeline.todo import is_due, left_to_do
from resources.lake.catalogue import Catalogue
from resources.lake.compaction import backlog
from resources.lake.lake import Lake
from resources.lake.tries import Tries

FLOW_SECONDS = 30
DEAD_RUNS_SECONDS = 30
WORTH_SEALING = 2_000
"""Open landings of a table from which on readers notice them: DuckDB takes 0.13 s to open a thousand."""


def automation(settings: Settings) -> dict[str, Any]:
    """Sensors, schedules and jobs, as arguments of `dagster.Definitions`."""

    @dg.sensor(
        asset_selection=dg.AssetSelection.assets(*(stage.name for stage in EPISODE_STAGES)),
        minimum_interval_seconds=FLOW_SECONDS,
    )
    def flow(
        context: dg.SensorEvaluationContext, catalogue: dg.ResourceParam[Catalogue], window: dg.ResourceParam[Window]
    ) -> dg.SensorResult:
        """Requests what can be worked on, stage by stage, in batches."""
        tries = Tries.listed(catalogue.lake)
        cursor = admit_what_is_new(context.instance, catalogue, window, tries, context.cursor)
        requests = list(next_runs(context.instance, tries, settings))
        nothing = None if requests else "Nothing is left to do, or it is under way."
        return dg.SensorResult(requests, skip_reason=nothing, cursor=cursor)

    @dg.sensor(minimum_interval_seconds=DEAD_RUNS_SECONDS, default_status=dg.DefaultSensorStatus.RUNNING)
    def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        """Fails the runs whose process on this machine is gone: Dagster would wait for them until their time is up."""
        buried = fail_orphaned_runs(context.instance)
        return dg.SkipReason(f"Its process was gone: {', '.join(buried)}" if buried else "Every run has its process.")

    @dg.schedule(cron_schedule="5 * * * *", target=["episodes"])
    def poll_feeds(context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]) -> list[dg.RunRequest]:
        """Polls every feed, but for those that failed and are not due for another try."""
        return polls(context.instance, lake, settings, f"{context.scheduled_execution_time:%Y%m%dT%H%M}")

    @dg.op
    def request_left_over(
        context: dg.OpExecutionContext, lake: dg.ResourceParam[Lake], engines: dg.ResourceParam[Any]
    ) -> None:
        context.log.info(request_night(context.instance, settings, lake, engines))

    @dg.job(tags=run_tags(settings), description="Requests a backfill of what the day has left over.")
    def night() -> None:
        request_left_over()

    @dg.schedule(cron_schedule="35 * * * *", target=["sealed_tables"])
    def seal(lake: dg.ResourceParam[Lake]) -> dg.RunRequest | dg.SkipReason:
        """Seals landed episodes, which then leave the window, once it is worth it."""
        waiting = backlog(lake)
        if waiting < WORTH_SEALING:
            return dg.SkipReason(f"{waiting} open landings; sealing is worth it from {WORTH_SEALING} on.")
        return dg.RunRequest(tags=run_tags(settings))

    nightly = dg.ScheduleDefinition("nightly", job=night, cron_schedule="15 2 * * *")
    return {"sensors": [flow, dead_runs], "schedules": [poll_feeds, nightly, seal], "jobs": [night]}


def admit_what_is_new(
    instance: dg.DagsterInstance, catalogue: Catalogue, window: Window, tries: Tries, cursor: str | None
) -> str | None:
    """Fill the window's room where there may be somebody to fill it: since the last time, a poll or an archiving.

    The cursor says what was seen then. While polls are under way, the room is theirs.
    """
    order = instance.get_dynamic_partitions(EPISODES.name or "")
    last_poll = max(tries.tried["episodes"].values(), default=0)
    seen = f"{len(order)}:{last_poll}"
    if seen == cursor or in_flight(instance, order).runs.get("episodes"):
        return cursor
    return f"{len(order) + len(admit(instance, catalogue, window))}:{last_poll}"


def next_runs(instance: dg.DagsterInstance, tries: Tries, settings: Settings) -> Iterator[dg.RunRequest]:
    """What can be worked on and is not in flight, at most `runs_ahead` runs of a stage at once.

    What is in flight is looked up, so there is no run key: a batch that failed is requested again when it is due.
    """
    order = instance.get_dynamic_partitions(EPISODES.name or "")
    flying = in_flight(instance, order)
    pinned = flying.anywhere()
    for priority, stage in enumerate(EPISODE_STAGES):
        free = settings.runs_ahead - flying.runs.get(stage.name, 0)
        at_work = flying.keys.get(stage.name, set())
        keys = left_to_do(tries, stage, [key for key in order if key not in at_work]) if free > 0 else []
        size = batch_size(settings, stage)
        count = min(len(keys), free * size)
        if _more_is_coming(flying, stage):
            count -= count % size
        batches = batched(instance, EPISODES, keys[:count], size, pinned=pinned)
        for batch in batches[:free]:
            pinned |= set(batch)
            yield _request(settings, stage, batch, tags={PRIORITY_TAG: str(priority)})


def polls(instance: dg.DagsterInstance, lake: Lake, settings: Settings, tick: str) -> list[dg.RunRequest]:
    """Runs that poll all feeds, those first that were polled longest ago."""
    stage, tries = STAGES["episodes"], Tries.listed(lake)
    order = instance.get_dynamic_partitions(FEEDS.name or "")
    polled, failed = tries.tried[stage.name], tries.failed[stage.name]
    flying = in_flight(instance, order).anywhere()
    due = [key for key in order if key not in flying and (key not in failed or is_due(tries, stage.name, key))]
    batches = batched(instance, FEEDS, due, settings.batch_feeds, pinned=flying)
    batches.sort(key=lambda batch: min(polled.get(key, 0) for key in batch))
    return [_request(settings, stage, batch, run_key=f"{tick}:{batch[0]}") for batch in batches]


def _more_is_coming(flying: InFlight, stage: Stage) -> bool:
    """Whether a run of the stage, or of one that it is made from, is under way: then a short batch waits to be filled."""
    return any(flying.runs.get(name) for name in (stage.name, *stage.inputs))


def _request(
    settings: Settings,
    stage: Stage,
    keys: Sequence[str],
    *,
    run_key: str | None = None,
    tags: Mapping[str, str] = MappingProxyType({}),
) -> dg.RunRequest:
    span = {ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[-1]}
    return dg.RunRequest(
        run_key, asset_selection=[dg.AssetKey(stage.name)], tags={**run_tags(settings), **span, **tags}
    )
