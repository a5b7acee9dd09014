"""What the day has left over: missing, due for another try, or made by an engine that has been exchanged since."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import dagster as dg

from dagster_project.backfills import request_backfill
from dagster_project.settings import Settings
from dagster_project.stages import EPISODE_STAGES
from partitions.definitions import EPISODES, add_keys
from pipeline.in_flight import in_flight
from pipeline.todo import left_to_do
from resources.engines.routing import Engines
from resources.lake.compaction import reopen
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tries import Tries
from resources.lake.warehouse import ask, connect
from speech.engines import registry
from speech.errors import LanguageWithoutEngine

_MADE_BY = """
select r.stage, r.episode_id, e.language, arg_max(r.engine_fingerprint, r.finished_at)
from lake.stage_runs r join lake.episodes e using (episode_id)
where r.outcome = 'landed' and r.stage in ('diarization', 'transcript')
group by all
order by r.stage, r.episode_id
"""

_HOURS = """
select episode_id, coalesce(h.duration_ms, e.duration_declared_ms, 3600000) / 3600000
from unnest($keys) as wanted(episode_id)
join lake.episodes e using (episode_id) left join lake.hashes h using (episode_id)
order by e.published_at desc nulls last, episode_id
"""
"""An episode that does not say how long it is counts as an hour."""


def request_night(instance: dg.DagsterInstance, settings: Settings, lake: Lake, engines: Engines) -> str:
    """Request a backfill of what is left over, newest first, up to the night's hours. Returns what it did, in words."""
    order = instance.get_dynamic_partitions(EPISODES.name or "")
    flying, tries = in_flight(instance, order).anywhere(), Tries.listed(lake)
    idle = [key for key in order if key not in flying]
    left = {stage.name: left_to_do(tries, stage, idle) for stage in EPISODE_STAGES}
    old = {stage: keys & (set(idle) | tries.sealed) for stage, keys in outdated(lake.home, engines).items()}
    both = {stage: {*keys, *old.get(stage, ())} for stage, keys in left.items()}
    chosen = within_hours(lake.home, set().union(*both.values()), settings.nightly_audio_hours)
    if not chosen:
        return "Nothing is left over."
    archived = [key for key in chosen if key not in set(order)]
    if archived:
        reopen(lake, archived)
        add_keys(instance, EPISODES, archived)
    wanted = {stage: [key for key in chosen if key in keys] for stage, keys in both.items()}
    backfill_id = request_backfill(instance, settings, wanted, "nightly")
    hours = sum(chosen.values())
    return (
        f"Backfill {backfill_id}: {len(chosen)} episodes, {hours:.1f} hours of audio; {len(archived)} from the archive."
    )


def outdated(home: Home, engines: Engines) -> dict[str, set[str]]:
    """Stage → the episodes whose rows another engine made than the one that is configured now."""
    found: dict[str, set[str]] = {}
    configured: dict[tuple[str, str | None], str | None] = {}
    with connect(home) as connection:
        rows = ask(connection, _MADE_BY)
    for stage, key, language, fingerprint in rows:
        if (stage, language) not in configured:
            configured[stage, language] = _configured(engines, stage, language)
        if configured[stage, language] not in (None, fingerprint):
            found.setdefault(stage, set()).add(key)
    return found


def within_hours(home: Home, keys: Collection[str], budget_hours: float) -> Mapping[str, float]:
    """The newest of the episodes whose audio fits into the budget, with their hours. The first fits always."""
    with connect(home) as connection:
        rows = ask(connection, _HOURS, {"keys": sorted(keys)})
    return dict(_until_full(rows, budget_hours))


def _until_full(rows: list[tuple[str, float]], budget_hours: float) -> Iterator[tuple[str, float]]:
    total = 0.0
    for key, hours in rows:
        total += hours
        if total > budget_hours and total > hours:
            return
        yield key, hours


def _configured(engines: Engines, stage: str, language: str | None) -> str | None:
    """The fingerprint that rows made now would carry; None where no engine knows the language."""
    if stage == "diarization":
        return engines.diarizer_spec().fingerprint
    try:
        return registry.describe_transcriber(engines.transcriber_for(language)).fingerprint
    except LanguageWithoutEngine:
        return None
