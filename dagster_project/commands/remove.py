"""`podlake remove`: take feeds and episodes out of work. Their rows and audio stay."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from partitions.definitions import EPISODES, FEEDS, add_keys
from partitions.keys import feed_of
from pipeline.dagster_internals import remove_keys
from pipeline.in_flight import in_flight
from resources.lake.catalogue import SINGLES, Catalogue
from speech.errors import UpstreamMissing


def remove(instance: dg.DagsterInstance, catalogue: Catalogue, names: Sequence[str]) -> int:
    """Poll the feeds no more, and admit neither their episodes nor the named ones. Returns the episodes taken out of work.

    What a run has begun is finished. Raises `UpstreamMissing` for a name that is neither a feed nor an episode.
    """
    feeds, episodes = _sorted(catalogue, names, {feed.feed_id for feed in catalogue.subscriptions()})
    for feed_id in feeds:
        catalogue.remove_feed(feed_id)
    for key in episodes:
        catalogue.remove_episode(key)
    order = instance.get_dynamic_partitions(EPISODES.name or "")
    busy = in_flight(instance, order).all_keys()
    leaving = [key for key in order if (key in episodes or feed_of(key) in feeds) and key not in busy]
    remove_keys(instance, EPISODES, leaving)
    remove_keys(instance, FEEDS, feeds)
    return len(leaving)


def undo(instance: dg.DagsterInstance, catalogue: Catalogue, names: Sequence[str]) -> None:
    """Take removed feeds and episodes back into work. Raises `UpstreamMissing`."""
    feeds, episodes = _sorted(catalogue, names, catalogue.removed().feeds)
    for feed_id in feeds:
        catalogue.remove_feed(feed_id, undo=True)
    for key in episodes:
        catalogue.remove_episode(key, undo=True)
    add_keys(instance, FEEDS, feeds)


def _sorted(
    catalogue: Catalogue, names: Sequence[str], feeds: set[str] | frozenset[str]
) -> tuple[list[str], list[str]]:
    """The feeds and the episodes among the names."""
    episodes = catalogue.entries([name for name in names if name not in feeds])
    for name in names:
        if name not in feeds and name not in episodes:
            hint = f" `podlake forget {SINGLES}` removes all added audio." if name == SINGLES else ""
            raise UpstreamMissing(f"There is no such feed or episode: {name}. `podlake list` shows them.{hint}")
    return [name for name in names if name in feeds], list(episodes)
