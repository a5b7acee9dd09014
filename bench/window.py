"""The cost of admitting 10 000 episodes to the live window and archiving them: `python -m bench.window [window catalogue]`.

The catalogue holds 100 000 episodes by default. Compares with Dagster's own calls for the same keys: the difference is
the time to find the newest episodes that have not landed, and what is in flight.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import dagster as dg
import pyarrow as pa

from assets.stages import EPISODE_GRAPH
from bench.lake_rows import blank_rows
from partitions.definitions import EPISODES
from partitions.window import Window
from pipeline.live_window import admit, archive
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES as CATALOGUE
from tests.landings import land_arrow

FEEDS = 100
NAME = EPISODES.name or ""


def main(size: int, n_episodes: int) -> None:
    with tempfile.TemporaryDirectory() as folder, dg.instance_for_test() as instance:
        catalogue = Catalogue(Lake(Home.at(folder)))
        _list(catalogue.lake, n_episodes // FEEDS)
        window = Window(size=size)
        admit_s = _seconds(lambda: admit(instance, catalogue, window, EPISODE_GRAPH))
        keys = list(instance.get_dynamic_partitions(NAME))
        assert len(keys) == size, len(keys)
        full_s = _seconds(lambda: admit(instance, catalogue, window, EPISODE_GRAPH))
        archive_s = _seconds(lambda: archive(instance, keys))
        add_s = _seconds(lambda: instance.add_dynamic_partitions(NAME, keys))
        delete_s = _seconds(lambda: [instance.delete_dynamic_partition(NAME, key) for key in keys])
    print(f"{size:,} of {n_episodes:,} episodes{'seconds':>15}{'Dagster alone':>15}{'ratio':>8}")
    print(f"{'admit':<27}{admit_s:>15.2f}{add_s:>15.2f}{admit_s / add_s:>7.2f}×")
    print(f"{'admit, window full':<27}{full_s:>15.3f}")
    print(f"{'archive':<27}{archive_s:>15.2f}{delete_s:>15.2f}{archive_s / delete_s:>7.2f}×")


def _list(lake: Lake, each: int) -> None:
    """Land the catalogue as polls do."""
    now = datetime.now(UTC)
    for feed in (f"feed-{n:03}" for n in range(FEEDS)):
        ids = [f"{feed}-20260101-{n:08x}" for n in range(each)]
        published = [now - timedelta(hours=n) for n in range(each)]
        rows = blank_rows(
            CATALOGUE, each, episode_id=pa.array(ids), feed_id=pa.repeat(feed, each), published_at=pa.array(published)
        )
        land_arrow(lake, CATALOGUE, feed, rows)


def _seconds(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:3] or (10_000, 100_000)))
