"""`podlake refresh`: poll feeds now."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from dagster_project.in_process import materialize
from dagster_project.planning import Situation
from dagster_project.polling import poll_batches
from dagster_project.settings import Settings
from resources.lake.catalogue import Catalogue
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES, FAILURES
from resources.lake.warehouse import ask, connect

_COUNTS = """
select feed_id, count(*) from lake.episodes where feed_id in (select unnest($feeds)) group by feed_id
"""


def refresh(
    instance: dg.DagsterInstance, settings: Settings, lake: Lake, feeds: Sequence[str]
) -> list[tuple[str, int, int | None, str]]:
    """Poll the feeds, by default all. Returns a row for each: feed, episodes, new ones (None: it failed), and why."""
    materialize(instance, "feeds")
    known = instance.get_dynamic_partitions("feeds")
    ended = Catalogue(lake).ended()
    polled = [feed_id for feed_id in known if (feed_id in feeds if feeds else feed_id not in ended)]
    before = _counts(lake, polled)
    poll_batches(instance, Situation.of_feeds(instance, lake).polls(settings, frozenset(polled)))
    after = _counts(lake, polled)
    rows: list[tuple[str, int, int | None, str]] = []
    for feed_id in polled:
        failure = lake.read_file(FAILURES, FAILURES.landing_key(feed_id, EPISODES.asset))
        message = failure["message"][-1].as_py() if failure is not None else ""
        rows.append((feed_id, after[feed_id], None if message else after[feed_id] - before[feed_id], message))
    return rows


def _counts(lake: Lake, feeds: Sequence[str]) -> dict[str, int]:
    """Feed → the episodes that it has ever listed."""
    with connect(lake.home) as connection:
        found = dict(ask(connection, _COUNTS, {"feeds": list(feeds)}))
    return {feed_id: found.get(feed_id, 0) for feed_id in feeds}
