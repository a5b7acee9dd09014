"""The file of polls that found their feeds unchanged."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables.catalogue import UnchangedPollRow
from resources.lake.unchanged_polls import forget_unchanged, note_unchanged, unchanged_at

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def row(feed_id: str) -> UnchangedPollRow:
    return UnchangedPollRow(feed_id=feed_id, http_status=304, polled_at=NOW)


def test_runs_that_note_their_polls_at_once_lose_none(tmp_path: Path) -> None:
    lake = Lake(Home.at(str(tmp_path)))
    feeds = [f"feed-{n}" for n in range(60)]
    with ThreadPoolExecutor(4) as runs:
        list(runs.map(lambda feed_id: note_unchanged(lake, [row(feed_id)]), feeds))
    assert sorted(unchanged_at(lake)) == sorted(feeds)


def test_a_feed_is_noted_once_and_forgotten(tmp_path: Path) -> None:
    lake = Lake(Home.at(str(tmp_path)))
    note_unchanged(lake, [row("one"), row("two")])
    note_unchanged(lake, [row("one")])
    assert unchanged_at(lake) == {"one": NOW, "two": NOW}
    forget_unchanged(lake, ["one"])
    assert unchanged_at(lake) == {"two": NOW}
