"""`podlake list`: the feeds, and the episodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from textwrap import shorten

from partitions.keys import feed_of
from partitions.languages import normalise_language
from pipeline.progress import EPISODE_STAGES, progress
from resources.lake.catalogue import Catalogue
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
            "select feed_id, feeds.title, feeds.language, count(episode_id), last_polled_at, "
            "array_to_string(problems, '; ') "
            "from feeds left join lake.episodes as episode using (feed_id) group by all order by feed_id",
        )
    names = ("feed", "title", "language", "episodes", "done", "failed", "polled (UTC)", "problems")
    rows = [
        (feed_id, title, language, n_episodes, done[feed_id], failed[feed_id],
         "failed" if feed_id in failed_polls else polled_at or "not yet",
         shorten(problems or "", 200))
        for feed_id, title, language, n_episodes, polled_at, problems in known
    ]  # fmt: skip
    return names, rows


@dataclass(frozen=True)
class Filter:
    """Which episodes to list. None: all."""

    feed_id: str | None = None
    status: str | None = None
    """`done`, `failed`, `waiting` or `removed`."""
    language: str | None = None
    since: datetime | None = None


def episodes(home: Home, chosen: Filter, *, limit: int) -> Listing:
    """A row per episode, newest first, with where it stands."""
    stands, removed = progress(Lake(home), EPISODE_STAGES), Catalogue(Lake(home)).removed()
    with connect(home) as connection:
        known = ask(
            connection,
            "select episode_id, published_at, language, duration_declared_ms // 60000, title from lake.episodes "
            "where ($feed_id is null or feed_id = $feed_id) and ($language is null or language = $language) "
            "and ($since is null or published_at >= $since) "
            "order by published_at desc nulls last, episode_id limit $limit",
            {"feed_id": chosen.feed_id, "language": normalise_language(chosen.language), "since": chosen.since,
             "limit": None if chosen.status else limit},
        )  # fmt: skip
    rows = ((key, *facts, "removed" if removed.has(key) else stands.state(key), title) for key, *facts, title in known)
    names = ("episode", "published (UTC)", "language", "minutes", "state", "title")
    return names, list(islice((row for row in rows if _is(str(row[4]), chosen.status)), limit))


def _is(state: str, status: str | None) -> bool:
    kind = state.partition(":")[0]
    return status is None or ("waiting" if kind == "next" else kind) == status
