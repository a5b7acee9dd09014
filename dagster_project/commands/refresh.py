"""`podlake refresh`: poll feeds now, in this process."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from dagster_project.in_process import materialize, run_batch
from dagster_project.planning import Situation
from dagster_project.run import poll_failures
from dagster_project.settings import Settings
from resources.lake.catalogue import Catalogue
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES


def refresh(
    instance: dg.DagsterInstance, settings: Settings, lake: Lake, feeds: Sequence[str]
) -> list[tuple[str, int, int | None, str]]:
    """Poll the feeds, by default all. Returns a row for each: feed, episodes, new ones (None: it failed), and why."""
    materialize(instance, "feeds")
    known = instance.get_dynamic_partitions("feeds")
    ended = Catalogue(lake).ended()
    polled = [feed_id for feed_id in known if (feed_id in feeds if feeds else feed_id not in ended)]
    before = _counts(lake, polled)
    for batch in Situation.of_feeds(instance, lake).polls(settings, frozenset(polled)):
        run_batch(instance, batch)
    after, failed = _counts(lake, polled), poll_failures(lake, polled)
    return [
        (one, after[one], None if one in failed else after[one] - before[one], failed.get(one, "")) for one in polled
    ]


def _counts(lake: Lake, feeds: Sequence[str]) -> dict[str, int]:
    """Feed → the episodes that it has ever listed."""
    found = lake.read_many(EPISODES, feeds)
    return {feed_id: found[feed_id].num_rows if feed_id in found else 0 for feed_id in feeds}
