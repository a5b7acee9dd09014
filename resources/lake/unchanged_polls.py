"""The polls that found their feeds unchanged: one file for all feeds, written once per run."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from resources.lake.lake import Lake
from resources.lake.locks import one_process
from resources.lake.tables import UNCHANGED_POLLS
from resources.lake.tables.catalogue import UnchangedPollRow

FILE = "all"


def note_unchanged(lake: Lake, rows: Sequence[UnchangedPollRow]) -> None:
    """Replace the rows of these feeds.

    If runs on two machines do this at once, one may lose its rows: its feeds are due sooner.
    """
    with one_process(lake.home, "polls"):
        kept = _without(lake, [row.feed_id for row in rows])
        lake.replace(UNCHANGED_POLLS, FILE, pa.concat_tables([kept, UNCHANGED_POLLS.of(rows)]))


def forget_unchanged(lake: Lake, feed_ids: Collection[str]) -> None:
    """Remove the rows of these feeds."""
    with one_process(lake.home, "polls"):
        lake.replace(UNCHANGED_POLLS, FILE, _without(lake, feed_ids))


def unchanged_at(lake: Lake) -> dict[str, datetime]:
    """Feed → its last poll that found it unchanged."""
    found = lake.read_file(UNCHANGED_POLLS, FILE)
    return {} if found is None else {row.feed_id: row.polled_at for row in UNCHANGED_POLLS.rows_of(found)}


def _without(lake: Lake, feed_ids: Collection[str]) -> pa.Table:
    found = lake.read_file(UNCHANGED_POLLS, FILE)
    if found is None:
        return UNCHANGED_POLLS.schema.empty_table()
    return found.filter(pc.invert(pc.is_in(found["feed_id"], pa.array(sorted(feed_ids), pa.string()))))
