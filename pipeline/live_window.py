"""Admits episodes to the live window, and archives finished ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from itertools import chain

import pyarrow as pa
from dagster import DagsterInstance

from partitions.definitions import EPISODES, FEEDS, add_keys
from partitions.window import Waiting, Window, admitted, hours, leaving, sealable
from pipeline.dagster_internals import remove_keys
from pipeline.in_flight import in_flight
from pipeline.lake_state import LakeState
from pipeline.progress import progress
from pipeline.readiness import Episode, PlanSettings, readiness
from resources.engines.routing import ASSUMED_LANGUAGE
from resources.lake.catalogue import Catalogue
from resources.lake.commits import all_open_commits
from resources.lake.duckdb_files import retry_if_file_vanished
from resources.lake.graph import StageGraph
from resources.lake.lake import Lake
from resources.lake.warehouse import ask, connect

_READ_AT_ONCE = 10_000

# Seconds, because DuckDB takes 4 s to make a million Python datetimes.
_WAITING = """
select e.episode_id, e.feed_id, coalesce(e.language, $assumed), epoch(e.published_at), e.duration_declared_ms
from lake.episodes e left join (select unnest($feeds) as feed_id, unnest($priorities) as priority) using (feed_id)
order by coalesce(priority, 0) desc, e.published_at desc nulls last, e.episode_id
"""

_HOURS_INSIDE = """
select coalesce(sum(coalesce(duration_declared_ms / 3600000, $unknown)), 0)
from lake.episodes where episode_id in (select unnest($inside))
"""


def admit_from_feeds(
    instance: DagsterInstance,
    polls: Sequence[Mapping[str, pa.Table]],
    *,
    lake: Lake,
    window: Window,
    episode_graph: StageGraph,
) -> None:
    """After polls: the newest episodes of each feed, up to its even share of the window."""
    known = set(instance.get_dynamic_partitions(EPISODES.name or ""))
    free = window.size - len(known)
    if free <= 0:
        return
    by_feed = [list(_newest_first(tables["episodes"])) for tables in polls]
    new = [row.key for rows in by_feed for row in rows if row.key not in known]
    if not new:
        return
    state = LakeState.read(lake, episode_graph, new)
    done = set.intersection(*(set(state.commits[name]) for name in episode_graph.terminal)).union(
        *state.failures.values()
    )
    removed = Catalogue(lake).removed()
    share = window.share(len(instance.get_dynamic_partitions(FEEDS.name or "")))
    keys: list[str] = []
    for rows in by_feed:
        own = [row for row in rows if row.key in known]
        waiting = (row for row in rows if row.key not in known and row.key not in done and not removed.has(row.key))
        keys += admitted(
            waiting, share,
            inside=len(own), hours_inside=sum(hours(row.duration_ms) for row in own), now=datetime.now(UTC),
        )  # fmt: skip
    add_keys(instance, EPISODES, keys[:free])


def _newest_first(episodes: pa.Table) -> Iterator[Waiting]:
    columns = ("episode_id", "feed_id", "language", "published_at", "duration_declared_ms")
    rows = episodes.select(columns).sort_by([("published_at", "descending")])
    for key, feed_id, language, at, duration_ms in zip(*(rows[name].to_pylist() for name in columns), strict=True):
        yield Waiting(key, feed_id, language or ASSUMED_LANGUAGE, at, duration_ms)


def admit(instance: DagsterInstance, catalogue: Catalogue, window: Window, graph: StageGraph) -> list[str]:
    """Fill the window from all feeds, by priority, then newest first. Returns the admitted keys."""
    known = set(instance.get_dynamic_partitions(EPISODES.name or ""))
    if len(known) >= window.size or window.shortage:
        return []
    lake = catalogue.lake
    done, removed = not_waiting(lake, graph), catalogue.removed()
    preferred = {feed.feed_id: feed.priority for feed in catalogue.subscriptions() if feed.priority}
    with connect(lake.home) as connection:
        inside = {"inside": sorted(known), "unknown": hours(None)}
        ((hours_inside,),) = [(0.0,)] if window.audio_hours is None else ask(connection, _HOURS_INSIDE, inside)
        asked = {"feeds": list(preferred), "priorities": [*preferred.values()], "assumed": ASSUMED_LANGUAGE}
        found = retry_if_file_vanished(lambda: connection.execute(_WAITING, asked))  # sorts: reads everything here
        rows = chain.from_iterable(iter(lambda: found.fetchmany(_READ_AT_ONCE), []))
        waiting = (
            Waiting(key, feed_id, language, None if at_s is None else datetime.fromtimestamp(at_s, UTC), duration_ms)
            for key, feed_id, language, at_s, duration_ms in rows
            if key not in known and key not in done and not removed.has(key)
        )
        keys = list(admitted(waiting, window, inside=len(known), hours_inside=hours_inside, now=datetime.now(UTC)))
    return add_keys(instance, EPISODES, keys)


def archive(instance: DagsterInstance, keys: Collection[str]) -> list[str]:
    """Remove episodes from the window, except those in flight. Their rows and events stay. Returns the removed keys."""
    order = instance.get_dynamic_partitions(EPISODES.name or "")
    flying = in_flight(instance, order).all_keys()
    removed = [key for key in order if key in keys and key not in flying]
    remove_keys(instance, EPISODES, removed)
    return removed


def archive_finished(
    instance: DagsterInstance, lake: Lake, graph: StageGraph, window: Window, sealed: Set[str] = frozenset()
) -> list[str]:
    """Archive the finished episodes that are sealed, or all of them if the window is full."""
    order = instance.get_dynamic_partitions(EPISODES.name or "")
    if not sealed and len(order) < window.size:
        return []
    return archive(instance, leaving(order, finished(instance, lake, graph), sealed, window))


def finished(instance: DagsterInstance, lake: Lake, graph: StageGraph) -> Set[str]:
    """The live episodes that are complete, or failed at their last attempt."""
    order = instance.get_dynamic_partitions(EPISODES.name or "")
    state, catalogue = LakeState.read(lake, graph, order), dict.fromkeys(order, Episode())
    flying, settings = in_flight(instance, order), PlanSettings(batch_sizes={})
    return readiness(graph, catalogue, state.commits, state.failures, flying, settings, datetime.now(UTC)).finished


def keys_to_seal(instance: DagsterInstance, lake: Lake, graph: StageGraph, older_than: timedelta) -> frozenset[str]:
    """The finished or archived episodes with open landings, none of them newer than `older_than`."""
    landed_at: dict[str, datetime] = {}
    for commits in all_open_commits(lake.home).values():
        for key, commit in commits.items():
            if commit.stage in graph.names:
                landed_at[key] = max(commit.landed_at, landed_at.get(key, commit.landed_at))
    live = frozenset(instance.get_dynamic_partitions(EPISODES.name or ""))
    return sealable(landed_at, live, finished(instance, lake, graph), before=datetime.now(UTC) - older_than)


def not_waiting(lake: Lake, graph: StageGraph) -> set[str]:
    """The episodes that are complete or have failed. Only a retry admits a failed one again."""
    found = progress(lake, graph.names)
    return set.intersection(*(set(found.landed[name]) for name in graph.terminal)).union(*found.failed.values())
