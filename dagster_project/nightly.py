"""The nightly backfill of what is missing, due for a retry, or outdated, also in the archive, within a budget of hours."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime

import dagster as dg

from assets.stages import EPISODE_GRAPH
from dagster_project.backfills import request_backfill
from dagster_project.planning import Situation, engine_versions, plan_settings, rule_versions
from dagster_project.settings import Settings
from partitions.definitions import EPISODES, add_keys
from pipeline.in_flight import in_flight
from pipeline.lake_state import LakeState, episode_facts
from pipeline.planner import within_hours
from pipeline.readiness import InFlight
from resources.engines.routing import Engines
from resources.lake.catalogue import Catalogue
from resources.lake.commits import UNKNOWN
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.warehouse import ask, connect

_ARCHIVED = """
select distinct episode_id from lake.stage_runs
where outcome = 'landed' and list_contains($stages, stage) and episode_id not in (select unnest($live))
"""

_NEWEST_FIRST = """
select episode_id from lake.episodes where episode_id in (select unnest($keys))
order by published_at desc nulls last, episode_id
"""


def request_nightly_backfill(instance: dg.DagsterInstance, settings: Settings, lake: Lake, engines: Engines) -> str:
    """Request a backfill, newest episodes first, up to the hours of the settings. Returns a sentence for the log."""
    if shortage := settings.space.shortage():
        return f"Nothing is requested: {shortage}"
    order = instance.get_dynamic_partitions(EPISODES.name or "")
    idle = set(order) - in_flight(instance, order).all_keys()
    archived = archived_outdated(lake, settings, engines, order)
    situation = _situation(lake, newest_first(lake.home, [*idle, *archived]))
    limits = replace(
        plan_settings(settings), engines=engine_versions(engines, situation.catalogue), redo_hours=float("inf")
    )
    found = situation.readiness(limits)
    chosen = within_hours(found, settings.nightly_audio_hours)
    if not chosen:
        return "Nothing is missing, due for a retry, or outdated."
    wanted = {stage: [key for key in chosen if key in ready] for stage, ready in found.ready.items()}
    returned = add_keys(instance, EPISODES, list(chosen))
    backfill_id = request_backfill(instance, settings, wanted, "nightly")
    hours = sum(chosen.values())
    return (
        f"Backfill {backfill_id}: {len(chosen)} episodes, {hours:.1f} hours of audio; {len(returned)} from the archive."
    )


def archived_outdated(lake: Lake, settings: Settings, engines: Engines | None, live: Collection[str]) -> list[str]:
    """The archived episodes that another engine or rule than the configured one has made, newest first.

    Without `engines` only rules count. What has failed since is left out: only a retry brings it back.
    """
    rules = rule_versions(settings)
    stages = [*rules, *(EPISODE_GRAPH.engine_stages if engines else ())]
    with connect(lake.home) as connection:
        removed = Catalogue(lake).removed()
        found = ask(connection, _ARCHIVED, {"stages": stages, "live": list(live)})
        keys = [key for (key,) in found if not removed.has(key)]
    situation = _situation(lake, keys)
    made_by = engine_versions(engines, situation.catalogue) if engines else {}
    outdated = set()
    for stage in stages:
        failed = situation.lake.failures.get(stage, {})
        for key, commit in situation.lake.commits[stage].items():
            if stage in rules:
                is_current = commit.engine_version in (*rules[stage], UNKNOWN)
            else:
                is_current = made_by[stage].has_made(commit, situation.catalogue[key])
            if not is_current and (key not in failed or failed[key].at < commit.landed_at):
                outdated.add(key)
    return newest_first(lake.home, outdated)


def newest_first(home: Home, keys: Collection[str]) -> list[str]:
    with connect(home) as connection:
        return [key for (key,) in ask(connection, _NEWEST_FIRST, {"keys": list(keys)})]


def _situation(lake: Lake, keys: Collection[str]) -> Situation:
    """The keys with the engines of their rows. What is in flight is ignored."""
    state = LakeState.from_rows(lake, EPISODE_GRAPH, keys)
    return Situation(EPISODE_GRAPH, episode_facts(lake.home, keys), state, InFlight(), datetime.now(UTC))
