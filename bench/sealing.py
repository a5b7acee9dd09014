"""How fast sealing is, and what it buys: 2 000 episodes of 300 words, open and sealed, unless told otherwise.

python -m bench.sealing [episodes words]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from bench.lake_rows import blank_rows, land
from resources.lake.compaction import seal
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import QUALITY, WORDS
from resources.lake.warehouse import connect

QUESTIONS = {
    "count(*)": "select count(*) from lake.words",
    "one episode": "select word from lake.words where episode_id = '{one}'",
    "words by language": "select language, count(*) from lake.words group by all",
}


def main(n_episodes: int, n_words: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Home.at(folder))
        keys = [f"feed-{n % 50:03}-20260101-{n:08x}" for n in range(n_episodes)]
        landing_s = _seconds(lambda: _land(lake, keys, n_words))
        open_bytes = sum(path.stat().st_size for path in Path(folder, "lake", "words", "open").glob("f*"))
        copy_s = _seconds(lambda: _copy(lake, Path(folder) / "copied.parquet"))
        before = _ask(lake, keys[len(keys) // 2])
        words = next(done for done in seal(lake, keys) if done.table == "words")
        after = _ask(lake, keys[len(keys) // 2])
    rows = n_episodes * n_words
    print(
        f"{n_episodes} landings of {n_words} words, {open_bytes / 1e6:.1f} MB open; landed at {n_episodes / landing_s:.0f}/s"
    )
    print(f"sealed to {words.bytes_added / 1e6:.1f} MB in {words.seconds:.2f} s: {rows / words.seconds:,.0f} rows/s, "
          f"{open_bytes / 1e6 / words.seconds:.1f} MB/s of open files, {words.landings / words.seconds:.0f} landings/s")  # fmt: skip
    print(
        f"DuckDB's COPY … ORDER BY of the same, without taking away: {copy_s:.2f} s, {copy_s / words.seconds:.2f}× the time"
    )
    print(f"{'question':<20}{'open':>10}{'sealed':>10}{'ratio':>8}")
    for name in QUESTIONS:
        print(f"{name:<20}{before[name]:>7.1f} ms{after[name]:>7.1f} ms{before[name] / after[name]:>7.0f}×")


def _land(lake: Lake, keys: list[str], n_words: int) -> None:
    generator = np.random.default_rng(1)
    vocabulary = pa.array([f"word{n}" for n in range(20_000)])
    for key in keys:
        start_ms = np.cumsum(generator.integers(100, 600, n_words))
        words = blank_rows(
            WORDS,
            n_words,
            episode_id=pa.repeat(key, n_words),
            audio_sha256=pa.repeat(f"{abs(hash(key)):064x}"[:64], n_words),
            word_idx=pa.array(range(n_words)),
            word=vocabulary.take(pa.array(generator.zipf(1.3, n_words) % 20_000)),
            start_ms=pa.array(start_ms),
            end_ms=pa.array(start_ms + 90),
            confidence=pa.array(generator.random(n_words, dtype=np.float32)),
        )
        land(lake, WORDS, key, words)
        land(lake, QUALITY, key, blank_rows(QUALITY, 1, episode_id=pa.array([key])))


def _copy(lake: Lake, target: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute("set threads = 2; set memory_limit = '2GB'")
        connection.execute(
            f"copy (from read_parquet('{lake.home.path('lake', 'words', 'open', '*.parquet')}') order by episode_id, word_idx) "
            f"to '{target}' (compression zstd, row_group_size 100000)"
        )


def _ask(lake: Lake, one: str) -> dict[str, float]:
    """Question → milliseconds, best of three."""
    with connect(lake.home) as connection:
        return {
            name: min(1000 * _seconds(lambda: connection.execute(sql.format(one=one)).fetchall()) for _ in range(3))  # noqa: B023
            for name, sql in QUESTIONS.items()
        }


def _seconds(do: Callable[[], object]) -> float:
    started = time.perf_counter()
    do()
    return time.perf_counter() - started


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:3] or (2_000, 300)))
