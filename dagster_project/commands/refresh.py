"""`podlake refresh`: poll feeds now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import dagster as dg

from dagster_project.in_process import materialize
from dagster_project.planning import Situation
from dagster_project.polling import poll_batches
from dagster_project.settings import Settings
from resources.lake.catalogue import Catalogue
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES
from resources.lake.warehouse import ask, connect

_COUNTS = """
select feed_id, count(*), count(*) filter (first_seen_at >= $since)
from lake.episodes where feed_id in (select unnest($feeds)) group by feed_id
"""


def refresh(
    instance: dg.DagsterInstance, settings: Settings, lake: Lake, feeds: Sequence[str]
) -> list[tuple[str, int, int | None, str]]:
    """Poll the feeds, by default all. Returns a row for each: feed, episodes, new ones (None: it failed), and why."""
    materialize(instance, "feeds")
    known = instance.get_dynamic_partitions("feeds")
    ended = Catalogue(lake).ended()
    polled = [feed_id for feed_id in known if (feed_id in feeds if feeds else feed_id not in ended)]
    started_at = datetime.now(UTC)
    poll_batches(instance, Situation.of_feeds(instance, lake).polls(settings, frozenset(polled)))
    with connect(lake.home) as connection:
        found = ask(connection, _COUNTS, {"feeds": polled, "since": started_at})
    counts = {feed_id: (listed, new) for feed_id, listed, new in found}
    failures = lake.failures(EPISODES.asset, polled)
    rows: list[tuple[str, int, int | None, str]] = []
    for feed_id in polled:
        listed, new = counts.get(feed_id, (0, 0))
        failed = failures.get(feed_id)
        rows.append((feed_id, listed, None if failed else new, failed.message if failed else ""))
    return rows
