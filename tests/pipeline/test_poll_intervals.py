"""A feed is polled as often as it publishes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.poll_intervals import interval, not_due
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES
from tests.landings import land

NOW = datetime(2026, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("apart", "silent", "longest"),
    [
        (HOUR, HOUR, HOUR),
        (DAY, HOUR, 3 * HOUR),
        (7 * DAY, DAY, 21 * HOUR),
        (30 * DAY, DAY, DAY),
        (HOUR, 365 * DAY, DAY),
    ],
)
def test_an_interval_follows_the_habit(apart: timedelta, silent: timedelta, longest: timedelta) -> None:
    found = [interval(f"feed-{n}", apart, silent) for n in range(100)]
    assert 0.8 * longest <= min(found) < 0.85 * longest
    assert 0.95 * longest < max(found) <= longest


def test_a_weekly_feed_is_not_due_after_an_hour_but_a_daily_one_is_after_four(tmp_path: Path) -> None:
    lake = Lake(Home.at(str(tmp_path)))
    for feed_id, apart in (("daily", DAY), ("weekly", 7 * DAY)):
        rows = [
            {"episode_id": f"{feed_id}-{n}", "listed": True, "published_at": NOW - n * apart - HOUR} for n in range(12)
        ]
        land(lake, EPISODES, feed_id, rows)
    land(lake, EPISODES, "new", [{"episode_id": "new-1", "listed": True, "published_at": NOW}])
    polled_at = dict.fromkeys(("daily", "weekly", "new"), NOW)
    assert not_due(lake.home, polled_at, NOW + HOUR) == {"daily", "weekly"}
    assert not_due(lake.home, polled_at, NOW + 4 * HOUR) == {"weekly"}
    assert not_due(lake.home, {}, NOW + HOUR) == set()
