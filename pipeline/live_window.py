"""Keeping the live window: admitting episodes as partitions, and archiving them out again."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain

import pyarrow as pa
from dagster import DagsterInstance

from partitions.definitions import EPISODES, FEEDS, add_keys, remove_keys
from partitions.window import Waiting, Window, admitted, hours
from pipeline.in_flight import in_flight
from resources.engines.routing import ASSUMED_LANGUAGE
from resources.lake.catalogue import Catalogue
from resources.lake.commits import open_commits
from resources.lake.duckdb_files import retry_if_file_vanished
from resources.lake.lake import Lake
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import QUALITY
from resources.lake.warehouse import ask, connect

_READ_AT_ONCE = 10_000
_COLUMNS = ("episode_id", "feed_id", "language", "published_at", "duration_declared_ms")

# Seconds, because DuckDB takes 4 s to make a million Python datetimes.
_WAITING = """
select e.episode_id, e.feed_id, e.language, epoch(e.published_at), e.duration_declared_ms
from lake.episodes e left join (select unnest($feeds) as feed_id, unnest($priorities) as priority) using (feed_id)
order by coalesce(priority, 0) desc, e.published_at desc nulls last, e.episode_id
"""

_HOURS_INSIDE = """
select coalesce(sum(coalesce(duration_declared_ms / 3600000, $unknown)), 0)
from lake.episodes where episode_id in (select unnest($inside))
"""


def admit_from_feed(instance: DagsterInstance, tables: Mapping[str, pa.Table], *, lake: Lake, window: Window) -> None:
    """After a poll: the feed's newest episodes, up to its even share of the window."""
    rows = _rows(tables["episodes"].select(list(_COLUMNS)).sort_by([("published_at", "descending")]))
    known = set(instance.get_dynamic_partitions(EPISODES.name or ""))
    own = [row for row in rows if row.key in known]
    new = [row for row in rows if row.key not in known]
    done = _complete(lake, [row.key for row in new])
    share = window.share(len(instance.get_dynamic_partitions(FEEDS.name or "")))
    keys = admitted(
        (row for row in new if row.key not in done), share,
        inside=len(own), hours_inside=sum(hours(row.duration_ms) for row in own), now=datetime.now(UTC),
    )  # fmt: skip
    room = max(0, window.size - len(known))
    add_keys(instance, EPISODES, list(keys)[:room])


def admit(instance: DagsterInstance, catalogue: Catalogue, window: Window) -> list[str]:
    """Fill the room that is left from all feeds: by priority, then newest first. Returns what was admitted."""
    known = set(instance.get_dynamic_partitions(EPISODES.name or ""))
    if len(known) >= window.size:
        return []
    lake = catalogue.lake
    done = {*open_commits(lake.home, QUALITY.asset), *SealedFiles(lake.home, QUALITY).all_keys()}
    preferred = {feed.feed_id: feed.priority for feed in catalogue.subscriptions() if feed.priority}
    with connect(lake.home) as connection:
        inside = {"inside": sorted(known), "unknown": hours(None)}
        ((hours_inside,),) = [(0.0,)] if window.audio_hours is None else ask(connection, _HOURS_INSIDE, inside)
        asked = {"feeds": list(preferred), "priorities": list(preferred.values())}
        found = retry_if_file_vanished(
            lambda: connection.execute(_WAITING, asked)
        )  # has read all before it says who is first
        rows = chain.from_iterable(iter(lambda: found.fetchmany(_READ_AT_ONCE), []))
        waiting = (
            _waiting(
                key, feed_id, language, None if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC), duration_ms
            )
            for key, feed_id, language, epoch_s, duration_ms in rows
            if key not in known and key not in done
        )
        keys = list(admitted(waiting, window, inside=len(known), hours_inside=hours_inside, now=datetime.now(UTC)))
    return add_keys(instance, EPISODES, keys)


def archive(instance: DagsterInstance, keys: Collection[str]) -> list[str]:
    """Take episodes out of the window, but for what is in flight: their rows and Dagster's history of them stay."""
    order = instance.get_dynamic_partitions(EPISODES.name or "")
    flying = in_flight(instance, order).anywhere()
    leaving = [key for key in order if key in keys and key not in flying]
    remove_keys(instance, EPISODES, leaving)
    return leaving


def _complete(lake: Lake, keys: Sequence[str]) -> set[str]:
    """Those of the episodes that have landed everywhere, open or sealed."""
    return set(lake.current(QUALITY.asset, keys))


def _rows(table: pa.Table) -> list[Waiting]:
    return [_waiting(*row.values()) for row in table.to_pylist()]


def _waiting(
    key: str, feed_id: str, language: str | None, published_at: datetime | None, duration_ms: int | None
) -> Waiting:
    return Waiting(key, feed_id, language or ASSUMED_LANGUAGE, published_at, duration_ms)
