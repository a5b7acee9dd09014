"""Observes the pipeline for alerts, and tells people: the sensor `alerts` and `podlake alerts`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.stages import EPISODE_GRAPH, FEED_GRAPH
from dagster_project.instance import database_url
from dagster_project.planning import Situation, plan_settings
from dagster_project.settings import Settings
from pipeline.alerts import (
    ENGINE_WINDOW,
    CostlyServer,
    EngineTries,
    FailingFeed,
    Limits,
    LostRun,
    Observations,
    UnfitDevice,
    WrongCheck,
    alerts,
)
from pipeline.contract import FAILED_EPISODES_TAG
from resources.alerts.channels import Channel, Command, Email, Webhook, tell_all
from resources.alerts.ledger import Alert, AlertLedger
from resources.gpu_server.ledger import GpuServerLedger, costly
from resources.gpu_server.servers import parse_servers
from resources.lake.catalogue import Catalogue
from resources.lake.lake import Lake
from resources.lake.warehouse import ask, connect
from resources.studio.device_leases import DeviceLeases

ALERT_SECONDS = 300
LOST_RUNS_WITHIN = timedelta(days=1)
"""A lost run is an alert for so long."""
_WILL_RETRY_TAG = "dagster/will_retry"
"""Dagster sets it when a run has failed, to say whether its daemon starts it again."""

_ENGINE_TRIES = """
select stage, count(*), count(*) filter (outcome = 'landed') from stage_runs
where list_contains(?, stage) and finished_at > ? group by stage
"""
_LAST_ERRORS = "select stage, arg_max(message, last_at) from failures where list_contains(?, stage) group by stage"
_LAST_LANDED = "select max(finished_at) from stage_runs where outcome = 'landed' and list_contains(?, stage)"
_FIRST_SEEN = "select min(first_seen_at) from lake.episodes where episode_id in (select unnest(?::varchar[]))"
_FAILED_CHECKS = (
    "select check_name, n_wrong, coalesce(examples[1], '') from check_results where is_error and n_wrong > 0"
)


def observe(instance: dg.DagsterInstance, lake: Lake, settings: Settings) -> Observations:
    """Everything that the conditions of alerts look at, now."""
    now, engines = datetime.now(UTC), list(EPISODE_GRAPH.engine_stages)
    situation = Situation.of_episodes(instance, lake)
    ready = situation.readiness(plan_settings(settings)).ready
    waiting = {key: stage for stage, keys in ready.items() for key in keys}
    ready_since: list[datetime] = []
    new: list[str] = []
    for key, stage in waiting.items():
        commits = [situation.lake.commits.get(name, {}).get(key) for name in EPISODE_GRAPH[stage].inputs]
        inputs = [commit.landed_at for commit in commits if commit]
        ready_since += inputs
        new += [] if inputs else [key]
    with connect(lake.home) as connection:
        ready_since += [at for (at,) in ask(connection, _FIRST_SEEN, [new]) if at]
        tries = ask(connection, _ENGINE_TRIES, [engines, now - ENGINE_WINDOW])
        errors = dict(ask(connection, _LAST_ERRORS, [engines]))
        [(last_landed_at,)] = ask(connection, _LAST_LANDED, [list(EPISODE_GRAPH.names)])
        wrong = ask(connection, _FAILED_CHECKS)
    return Observations(
        now=now,
        failing_feeds=list(_failing_feeds(lake)),
        engines={stage: EngineTries(n, landed, errors.get(stage, "")) for stage, n, landed in tries},
        n_ready=len(waiting),
        ready_since=min(ready_since, default=None),
        last_landed_at=last_landed_at,
        shortage=settings.space.shortage(),
        wrong_checks=[WrongCheck(*row) for row in wrong],
        lost_runs=list(_lost_runs(instance, now)),
        costly_servers=list(_costly_servers(settings, now)),
        unfit_devices=list(_unfit_devices(settings)),
    )


def current_alerts(instance: dg.DagsterInstance, lake: Lake, settings: Settings) -> list[Alert]:
    """The alerts that hold now. No message is sent."""
    limits = Limits(timedelta(hours=settings.alert_feed_hours), timedelta(hours=settings.alert_idle_hours))
    return alerts(observe(instance, lake, settings), limits)


def evaluate(instance: dg.DagsterInstance, lake: Lake, settings: Settings) -> tuple[list[Alert], list[str]]:
    """Raise and end alerts, and tell of the changes. Returns what holds now, and what could not be told."""
    raised = current_alerts(instance, lake, settings)
    ledger = AlertLedger.at(database_url(settings))
    ledger.update(raised)
    return raised, tell_all(ledger, channels(settings))


def channels(settings: Settings) -> list[Channel]:
    """Those that the settings configure."""
    found: list[Channel] = []
    recipients = tuple(part.strip() for part in settings.alert_email.split(",") if part.strip())
    if recipients and (server := settings.smtp_url.get_secret_value()):
        found.append(Email(server, settings.smtp_from, recipients))
    if url := settings.alert_webhook.get_secret_value():
        found.append(Webhook(url))
    if settings.alert_command:
        found.append(Command(settings.alert_command))
    return found


def alert_sensor(settings: Settings) -> dg.SensorDefinition:
    """The sensor `alerts`. It is on if there is a channel."""
    is_on = bool(channels(settings))

    @dg.sensor(
        name="alerts",
        description="Tells people of stalled feeds, failing engines, idle pipelines, full disks, failed checks, lost runs, idle GPU servers and devices that are set aside.",
        minimum_interval_seconds=ALERT_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING if is_on else dg.DefaultSensorStatus.STOPPED,
    )
    def watch(context: dg.SensorEvaluationContext, lake: dg.ResourceParam[Lake]) -> dg.SkipReason:
        if not is_on:
            return dg.SkipReason("Set PODLAKE_ALERT_EMAIL, PODLAKE_ALERT_WEBHOOK or PODLAKE_ALERT_COMMAND.")
        found, problems = evaluate(context.instance, lake, settings)
        for problem in problems:
            context.log.warning(problem)
        names = ", ".join(f"{alert.name} {alert.subject}" for alert in found)
        return dg.SkipReason(f"Raised: {names}" if names else "All is well.")

    return watch


def _failing_feeds(lake: Lake) -> Iterator[FailingFeed]:
    catalogue = Catalogue(lake)
    wanted = [feed.feed_id for feed in catalogue.subscriptions() if not (feed.ended_at or feed.removed_at)]
    [stage] = FEED_GRAPH.names
    for feed_id, row in lake.failures(stage, wanted).items():
        yield FailingFeed(feed_id, row.first_at, row.message)


def _lost_runs(instance: dg.DagsterInstance, now: datetime) -> Iterator[LostRun]:
    """Runs that failed, not because episodes did, and that Dagster does not start again."""
    failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=now - LOST_RUNS_WITHIN)
    for record in instance.get_run_records(failed):
        run = record.dagster_run
        if FAILED_EPISODES_TAG in run.tags or run.tags.get(_WILL_RETRY_TAG) == "true":
            continue
        assets = sorted(key.to_user_string() for key in run.asset_selection or ())
        yield LostRun(run.run_id, ", ".join(assets) or run.job_name, "see its page in Dagster's UI.")


def _costly_servers(settings: Settings, now: datetime) -> Iterator[CostlyServer]:
    """GPU servers that could not be shelved, or that stay on without work."""
    names = parse_servers(settings.gpu_servers)
    if not names:
        return
    ledger = GpuServerLedger(database_url(settings))
    for known in ledger.all():
        if known.server in names:
            message = costly(known, ledger.users(known.server), timedelta(minutes=settings.gpu_server_idle_min), now)
            if message:
                yield CostlyServer(known.server, message)


def _unfit_devices(settings: Settings) -> Iterator[UnfitDevice]:
    """Devices for talking heads that the settings name and that are set aside."""
    names = [device.name for device in settings.head_devices]
    if not names:
        return
    for state in DeviceLeases(database_url(settings)).unfit(names):
        yield UnfitDevice(state.device, state.reason or "no reason is known.", needs_person=state.until is None)
