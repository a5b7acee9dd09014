"""The polls that found their feeds unchanged: one file for all feeds, written once per run."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from resources.lake.lake import Lake
from resources.lake.tables import UNCHANGED_POLLS
from resources.lake.tables.catalogue import UnchangedPollRow
from speech.file_locks import wait_for_lock

FILE = "all"


def note_unchanged(lake: Lake, rows: Sequence[UnchangedPollRow]) -> None:
    """Replace the rows of these feeds.

    If runs on two machines do this at once, one may lose its rows: its feeds are due sooner.
    """
    with _exclusive(lake):
        kept = _without(lake, [row.feed_id for row in rows])
        lake.replace(UNCHANGED_POLLS, FILE, pa.concat_tables([kept, UNCHANGED_POLLS.of(rows)]))


def forget_unchanged(lake: Lake, feed_ids: Collection[str]) -> None:
    """Remove the rows of these feeds."""
    with _exclusive(lake):
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


@contextmanager
def _exclusive(lake: Lake) -> Iterator[None]:
    """One process of this machine at a time."""
    name = sha256(lake.home.root.encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"podlake-polls-{name}.lock").open("a") as lock:
        wait_for_lock(lock)
        yield
