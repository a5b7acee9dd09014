"""`podlake list`: the feeds, and the episodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from partitions.keys import feed_of
from pipeline.progress import EPISODE_STAGES, progress
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES
from resources.lake.warehouse import ask, connect

Listing = tuple[Sequence[str], Sequence[tuple[object, ...]]]
"""Names of columns, and rows."""


def feeds(home: Home) -> Listing:
    """A row per feed: how many episodes it has, how many are done, and how many have failed somewhere."""
    lake = Lake(home)
    episodes, polls = progress(lake, EPISODE_STAGES), progress(lake, (EPISODES.asset,))
    failed = Counter(feed_of(key) for key in frozenset().union(*episodes.failed.values()))
    failed_polls = frozenset().union(*polls.failed.values())
    done = Counter(feed_of(key) for key in episodes.complete())
    with connect(home) as connection:
        known = ask(
            connection,
            "select feed_id, feeds.title, feeds.language, count(episode_id), last_polled_at "
            "from feeds left join lake.episodes as episode using (feed_id) group by all order by feed_id",
        )
    names = ("feed", "title", "language", "episodes", "done", "failed", "polled (UTC)")
    rows = [
        (feed_id, title, language, n_episodes, done[feed_id], failed[feed_id],
         "failed" if feed_id in failed_polls else polled_at or "not yet")
        for feed_id, title, language, n_episodes, polled_at in known
    ]  # fmt: skip
    return names, rows


def episodes(home: Home, *, feed_id: str | None, limit: int) -> Listing:
    """A row per episode, newest first, with where it stands."""
    stands = progress(Lake(home), EPISODE_STAGES)
    with connect(home) as connection:
        known = ask(
            connection,
            "select episode_id, published_at, language, duration_declared_ms // 60000, title from lake.episodes "
            "where $feed_id is null or feed_id = $feed_id order by published_at desc nulls last, episode_id limit $limit",
            {"feed_id": feed_id, "limit": limit},
        )
    names = ("episode", "published (UTC)", "language", "minutes", "state", "title")
    return names, [(key, *facts, stands.state(key), title) for key, *facts, title in known]
