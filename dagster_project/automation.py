"""Sensors and schedules. Those that request work are off until a user switches them on.

* `episode_flow`, a sensor: requests what can run at each stage, and keeps the live window full;
* `poll_feeds`, hourly: polls the feeds that are due, the least recently polled first;
* `nightly`: requests a backfill of what is missing, due for a retry, or outdated, within a budget of audio hours;
* `seal`, hourly: compacts the tables if there are enough finished episodes, podcasts and others, or feeds with voices;
* `clean_videos`, daily: removes uploads and temporary files of videos;
* `check`, daily: runs the checks of the whole lake, which `podlake status` then lists;
* `requested_podcasts`, a sensor that is on: starts the runs of podcasts that users have requested;
* `requested_lessons`, a sensor that is on: starts the runs of lessons, as far as people have opened their gates;
* `requested_videos`, a sensor that is on: starts the runs of videos that users have requested;
* `alerts`, a sensor that is on where a channel is set: tells people what they have to look at;
* `dead_runs`, a sensor that is on: fails runs whose process has exited, so that they are retried.

docs/automation.md explains why this is a sensor and not automation conditions.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from assets.lake.checks import lake_checks
from assets.lake.sealed_tables import GATHERING_NAMES, REQUESTED_NAMES, Sealing
from assets.stages import EPISODE_GRAPH, FEED_GRAPH, GATHERING, STAGES
from dagster_project.alerts import alert_sensor
from dagster_project.backfills import run_tags
from dagster_project.clean_videos import clean_videos_job
from dagster_project.flow_state import FlowState
from dagster_project.gathering import gathering_batches
from dagster_project.gpu_servers import gpu_server_sensor
from dagster_project.lessons import requested_lessons
from dagster_project.nightly import archived_outdated, request_nightly_backfill
from dagster_project.planning import Situation, engine_versions, move_scattered, plan_settings
from dagster_project.podcasts import requested_podcasts
from dagster_project.settings import Settings
from dagster_project.videos import requested_videos
from partitions.definitions import EPISODES, add_keys
from partitions.window import Window, leaving
from pipeline.after_batch import finish_ended
from pipeline.dagster_internals import PRIORITY_TAG
from pipeline.in_flight import in_flight
from pipeline.live_window import admit, archive, keys_to_seal
from pipeline.planner import Batch, batches_of
from pipeline.poll_intervals import not_due
from pipeline.run_keys import key_tags
from pipeline.run_process import fail_orphaned_runs
from resources.engines.routing import Engines
from resources.lake.catalogue import Catalogue
from resources.lake.commits import all_open_commits
from resources.lake.compaction import open_before
from resources.lake.lake import Lake
from resources.lake.migration import migrate

FLOW_SECONDS = 30
DEAD_RUNS_SECONDS = 30
WORTH_SEALING = 2_000
"""Finished episodes with open landings that are worth a compaction: DuckDB opens a thousand in 0.13 s."""
WORTH_SEALING_GATHERED = 200
"""Feeds with open landings of what they gather, which views read for every transcript: 2 000 of them add 0.3 s or more."""
WORTH_SEALING_REQUESTED = 100
"""Podcasts, lessons and videos with open landings. A lesson has 18 files."""
SEAL_AFTER = timedelta(hours=1)


def automation(settings: Settings) -> dict[str, Any]:
    """Sensors, schedules and jobs, as arguments of `dagster.Definitions`."""
    nightly_backfill = _nightly_backfill("nightly_backfill", settings)
    check_lake = dg.define_asset_job(
        "check_lake",
        dg.AssetSelection.checks(*lake_checks()),
        tags=run_tags(settings),
        description="Checks the whole lake.",
    )
    clean_videos = clean_videos_job(settings)
    return {
        "sensors": [
            _episode_flow("episode_flow", settings),
            _episode_flow("flow", settings),
            dead_runs,
            requested_podcasts,
            requested_lessons,
            requested_videos,
            alert_sensor(settings),
            gpu_server_sensor(settings),
        ],
        "schedules": [
            _poll_feeds(settings),
            dg.ScheduleDefinition("nightly", job=nightly_backfill, cron_schedule="15 2 * * *"),
            _seal(settings),
            dg.ScheduleDefinition("retention", target=["audio_retention"], cron_schedule="25 3 * * *"),
            dg.ScheduleDefinition("duplicates", target=["same_audio"], cron_schedule="35 3 * * *"),
            dg.ScheduleDefinition("clean_videos", job=clean_videos, cron_schedule="55 3 * * *"),
            dg.ScheduleDefinition("check", job=check_lake, cron_schedule="45 4 * * *"),
        ],
        "jobs": [check_lake, clean_videos, nightly_backfill, _nightly_backfill("night", settings)],
    }


def _episode_flow(name: str, settings: Settings) -> dg.SensorDefinition:
    """The sensor under its name, or under its old name `flow`, which a user may have switched on."""

    @dg.sensor(
        name=name,
        description="Requests what can run at each stage, in batches." + _old_name(name, "episode_flow"),
        asset_selection=dg.AssetSelection.assets(*EPISODE_GRAPH.names, *(stage.name for stage in GATHERING)),
        minimum_interval_seconds=FLOW_SECONDS,
    )
    def flow(
        context: dg.SensorEvaluationContext,
        catalogue: dg.ResourceParam[Catalogue],
        window: dg.ResourceParam[Window],
        engines: dg.ResourceParam[Engines],
    ) -> dg.SensorResult | dg.SkipReason:
        if name != "episode_flow":
            if _is_running(context.instance, "episode_flow"):
                return dg.SkipReason("The sensor episode_flow does this now. Switch this one off.")
            context.log.warning("The sensor flow is now called episode_flow: switch that on, and this one off.")
        state, batches = tick(context.instance, catalogue, window, settings, engines, FlowState.parse(context.cursor))
        requests = [request(settings, batch) for batch in batches]
        shortage = settings.space.shortage()
        if shortage:
            context.log.warning(f"Admission and downloads pause: {shortage}")
        nothing = (
            f"Admission and downloads pause: {shortage}" if shortage else "Nothing is left to do, or it is in flight."
        )
        return dg.SensorResult(requests, skip_reason=None if requests else nothing, cursor=state.text())

    return flow


@dg.sensor(
    minimum_interval_seconds=DEAD_RUNS_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    required_resource_keys={"lake"}.union(*(stage.needs_after_batch for stage in STAGES.values())),
)
def dead_runs(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Fails runs whose process on this machine has exited, and does what ended runs have left to do after landings.

    Dagster would wait for such a run until its time limit.
    """
    failed = fail_orphaned_runs(context.instance)
    finish_ended(context.instance, context.resources.lake, STAGES.values(), context.resources)
    return dg.SkipReason(
        f"Failed, because their process had exited: {', '.join(failed)}" if failed else "All processes are alive."
    )


def _poll_feeds(settings: Settings) -> dg.ScheduleDefinition:
    @dg.schedule(cron_schedule="5 * * * *", target=FEED_GRAPH.names)
    def poll_feeds(context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]) -> list[dg.RunRequest]:
        """Polls the feeds that are due: each as often as it publishes, and a failed one when its retry is due."""
        tick = f"{context.scheduled_execution_time:%Y%m%dT%H%M}"
        return polls(context.instance, lake, settings, tick)

    return poll_feeds


def _nightly_backfill(name: str, settings: Settings) -> dg.JobDefinition:
    @dg.op(name=f"request_{name}")
    def request_backfill_of_rest(
        context: dg.OpExecutionContext, lake: dg.ResourceParam[Lake], engines: dg.ResourceParam[Any]
    ) -> None:
        context.log.info(request_nightly_backfill(context.instance, settings, lake, engines))

    @dg.job(
        name=name,
        tags=run_tags(settings),
        description="Requests a backfill of what is missing, due for a retry, or outdated."
        + _old_name(name, "nightly_backfill"),
    )
    def backfill_of_rest() -> None:
        request_backfill_of_rest()

    return backfill_of_rest


def _seal(settings: Settings) -> dg.ScheduleDefinition:
    @dg.schedule(cron_schedule="35 * * * *", target=["sealed_tables"])
    def seal(context: dg.ScheduleEvaluationContext, lake: dg.ResourceParam[Lake]) -> dg.RunRequest | dg.SkipReason:
        """Compacts the landings of finished episodes, and those of podcasts, lessons and videos, if there are enough."""
        before = datetime.now(UTC) - SEAL_AFTER
        waiting = len(keys_to_seal(context.instance, lake, EPISODE_GRAPH, SEAL_AFTER))
        feeds = len(open_before(lake, GATHERING_NAMES, before))
        requested = len(open_before(lake, REQUESTED_NAMES, before))
        if waiting < WORTH_SEALING and feeds < WORTH_SEALING_GATHERED and requested < WORTH_SEALING_REQUESTED:
            return dg.SkipReason(
                f"{waiting} finished episodes wait for compaction, which starts at {WORTH_SEALING}, {feeds} feeds with "
                f"voices or repeated audio, for which it starts at {WORTH_SEALING_GATHERED}, and {requested} podcasts, "
                f"lessons and videos, for which it starts at {WORTH_SEALING_REQUESTED}."
            )
        wanted = Sealing(
            after_hours=SEAL_AFTER / timedelta(hours=1), episodes=waiting >= WORTH_SEALING,
            requested=requested >= WORTH_SEALING_REQUESTED,
        )  # fmt: skip
        return dg.RunRequest(run_config=dg.RunConfig(ops={"sealed_tables": wanted}), tags=run_tags(settings))

    return seal


def tick(
    instance: dg.DagsterInstance,
    catalogue: Catalogue,
    window: Window,
    settings: Settings,
    engines: Engines,
    state: FlowState,
) -> tuple[FlowState, tuple[Batch, ...]]:
    """What the sensor requests now. Finished episodes leave a full window, and others enter it."""
    migrate(catalogue.lake.home)
    listed = all_open_commits(catalogue.lake.home)
    gathering = tuple(gathering_batches(instance, catalogue.lake, settings, listed))
    move_scattered(instance, gathering)
    situation = Situation.of_episodes(instance, catalogue.lake, listed)
    limits = replace(
        plan_settings(settings),
        engines=engine_versions(engines, situation.catalogue),
        redo_hours=state.redo_hours_left(settings.nightly_audio_hours, situation.now),
    )
    found = situation.readiness(limits)
    batches = batches_of(found)
    move_scattered(instance, batches)
    finished = leaving(list(situation.catalogue), found.finished, frozenset(), window)
    if finished:
        archive(instance, finished)
    last_poll = max((commit.stamp for name in FEED_GRAPH.names for commit in listed.get(name, {}).values()), default="")
    state = state.after_redo(sum(batch.redo_hours for batch in batches), situation.now)
    return admit_what_is_new(instance, catalogue, window, settings, engines, state, last_poll), (*batches, *gathering)


def admit_what_is_new(
    instance: dg.DagsterInstance,
    catalogue: Catalogue,
    window: Window,
    settings: Settings,
    engines: Engines,
    state: FlowState,
    last_poll: str,
) -> FlowState:
    """Fill the window if polls, engines or the number of live episodes have changed since the last time.

    Polls in flight admit episodes themselves, so nothing is admitted beside them. Archived episodes that another
    engine or rule has made enter last.
    """
    if window.shortage:  # the state stays, so that they are admitted when there is space
        return state
    order, configured = instance.get_dynamic_partitions(EPISODES.name or ""), repr(engine_versions(engines, {}))
    if state == state.seeing(len(order), last_poll, configured):
        return state
    if in_flight(instance, order).runs.get(FEED_GRAPH.names[0]):
        return state
    live = [*order, *admit(instance, catalogue, window, EPISODE_GRAPH)]
    free = window.size - len(live)
    if free > 0:
        has_hours = state.redo_hours_left(settings.nightly_audio_hours, datetime.now(UTC)) > 0
        outdated = archived_outdated(catalogue.lake, settings, engines if has_hours else None, live)
        live += add_keys(instance, EPISODES, outdated[:free])
    return state.seeing(len(live), last_poll, configured)


def polls(instance: dg.DagsterInstance, lake: Lake, settings: Settings, tick: str) -> list[dg.RunRequest]:
    """Runs that poll the feeds that are due, the least recently polled first."""
    migrate(lake.home)
    situation = Situation.of_feeds(instance, lake)
    failed = situation.lake.failures.get(FEED_GRAPH.names[0], {})
    skipped = not_due(lake.home, situation.polled_at, situation.now) - failed.keys()
    due = {key: feed for key, feed in situation.catalogue.items() if key not in skipped}
    batches = replace(situation, catalogue=due).polls(settings)
    move_scattered(instance, batches)
    return [request(settings, batch, run_key=f"{tick}:{batch.keys[0]}") for batch in batches]


def request(settings: Settings, batch: Batch, *, run_key: str | None = None) -> dg.RunRequest:
    """The run of a batch. Only polls need a run key: the planner does not repeat what is in flight."""
    tags = {
        **run_tags(settings),
        **key_tags(batch.keys, with_range=STAGES[batch.stage].note_unchanged is None),
        PRIORITY_TAG: str(batch.priority),
        "podlake/reason": batch.reason,
    }
    # Without checks: the job check_lake runs them for the whole lake, and a run of a batch would read it too.
    return dg.RunRequest(run_key, asset_selection=[dg.AssetKey(batch.stage)], asset_check_keys=[], tags=tags)


def _is_running(instance: dg.DagsterInstance, sensor: str) -> bool:
    return any(state.name == sensor and state.is_running for state in instance.all_instigator_state())


def _old_name(name: str, new: str) -> str:
    return "" if name == new else f" Old name of {new}."
