"""How often each feed is polled: as often as it publishes, within limits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from resources.lake.home import Home
from resources.lake.warehouse import ask, connect

SHORTEST, LONGEST = timedelta(hours=1), timedelta(days=1)
POLLS_PER_EPISODE = 8
"""A new episode of a feed is found within an eighth of the time between two, or within a day."""
JITTER = 0.2
"""Intervals are shorter by up to a fifth, so that feeds which were added together are polled apart."""

_HABITS = """
select feed_id, epoch(max(published_at)), (epoch(max(published_at)) - epoch(min(published_at))) / (count(*) - 1)
from (from lake.episodes where listed and published_at is not null
      qualify row_number() over (partition by feed_id order by published_at desc) <= 10)
group by feed_id having count(*) > 1
"""


def interval(feed_id: str, apart: timedelta, silent: timedelta) -> timedelta:
    """The time between two polls of a feed whose episodes are `apart`, and that has published none since `silent`."""
    share = int(hashlib.sha256(feed_id.encode()).hexdigest()[:8], 16) / 0xFFFFFFFF
    wanted = max(apart, silent / 2) / POLLS_PER_EPISODE
    return min(max(wanted, SHORTEST), LONGEST) * (1 - JITTER * share)


def not_due(home: Home, polled_at: Mapping[str, datetime], now: datetime) -> set[str]:
    """The feeds that were polled recently enough. A feed with fewer than two dated episodes is always due."""
    with connect(home) as connection:
        habits = ask(connection, _HABITS)
    return {
        feed_id
        for feed_id, newest_s, apart_s in habits
        if feed_id in polled_at
        and polled_at[feed_id]
        + interval(feed_id, timedelta(seconds=apart_s), timedelta(seconds=max(0.0, now.timestamp() - newest_s)))
        > now
    }
