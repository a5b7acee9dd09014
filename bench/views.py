"""What the views answer at a million sealed episodes, and in which layout: a table of milliseconds.

python -m bench.views [episodes]

Words and turns are fewer than in life (20 and 3 per episode); the number of episodes is what is simulated. The
episodes arrive as they do when a thousand feeds are followed: each sealing holds some of every feed.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.lake_rows import blank_rows
from resources.home import Home
from resources.schemas import EPISODES, HASHES, QUALITY, TURNS, WORDS, Table
from resources.sealed_files import SealedFiles, Sizes
from resources.warehouse import SQL, connect

FEEDS = 1_000
PER_EPISODE = {WORDS: 20, TURNS: 3, QUALITY: 1, HASHES: 1, EPISODES: 1}
LAYOUTS = {
    # episodes in a sealing, rows in a row group
    "2 000 a sealing": (2_000, 100_000),
    "20 000 a sealing": (20_000, 100_000),
    "20 000, row groups of 25 000": (20_000, 25_000),
}
QUESTIONS = {
    "one transcript": "select line from transcript where episode_id = '{one}' order by turn_idx",
    "one episode's words": "select word from words where episode_id = '{one}' order by word_idx",
    "one quality row": "select * from quality where episode_id = '{one}'",
    "hours by feed": (SQL / "analysis" / "hours_by_feed_and_language.sql").read_text(),
    "count words": "select count(*) from words",
}
"""The bars: one transcript under 100 ms, hours by feed under 1 000 ms."""


def main(n_episodes: int) -> None:
    print(f"{n_episodes:,} episodes; milliseconds, first time / best of five\n")
    print(f"{'layout':<30}{'GB':>6}{'files':>7}" + "".join(f"{name:>21}" for name in QUESTIONS))
    for name, (at_once, row_group_rows) in LAYOUTS.items():
        with tempfile.TemporaryDirectory() as folder:
            home = Home.at(folder)
            for table in PER_EPISODE:
                _seal(SealedFiles(home, table, Sizes(row_group_rows=1)), n_episodes, at_once, row_group_rows)
            files = list(Path(folder, "lake").rglob("sealed/*.parquet"))
            size_gb = sum(file.stat().st_size for file in files) / 1e9
            times = _ask(home, _episode_id(n_episodes // 2))
        print(f"{name:<30}{size_gb:>6.2f}{len(files):>7}" + "".join(f"{a:>11.0f} /{b:>8.1f}" for a, b in times))
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def _episode_id(n: int) -> str:
    return f"feed-{n % FEEDS:04}-20260101-{n:08x}"


def _seal(sealed: SealedFiles, n_episodes: int, at_once: int, row_group_rows: int) -> None:
    """Files as many sealings leave them, written at once: growing them sealing by sealing copies them every time."""
    row_groups = (
        rows
        for first in range(0, n_episodes, at_once)
        for rows in _row_groups(sealed.table, first, min(at_once, n_episodes - first), row_group_rows)
    )
    left = n_episodes * PER_EPISODE[sealed.table]
    while left:
        left -= sealed.put_in(row_groups)


def _row_groups(table: Table, first: int, count: int, row_group_rows: int) -> Iterator[pa.Table]:
    """A sealing's rows in the order of their keys."""
    keys = sorted(_episode_id(n) for n in range(first, first + count))
    each = PER_EPISODE[table]
    step = row_group_rows // each
    for start in range(0, count, step):
        ids = pa.array(np.repeat(np.array(keys[start : start + step], dtype=object), each), pa.string())
        idx = pa.array(np.tile(np.arange(each, dtype=np.int32), len(ids) // each))
        yield blank_rows(table, len(ids), episode_id=ids, **_columns(table, ids, idx))


def _columns(table: Table, ids: pa.Array, idx: pa.Array) -> dict[str, pa.Array]:
    """What tells the rows apart and what the questions ask for."""
    generator = np.random.default_rng(len(ids))
    number = pa.array(generator.integers(1_000, 5_000_000, len(ids), dtype=np.int32))
    text = pa.array([f"word{n}" for n in range(20_000)]).take(pa.array(generator.zipf(1.3, len(ids)) % 20_000))
    sha = pa.compute.binary_join_element_wise(ids, "0" * 38, "")
    numbers = dict.fromkeys(("start_ms", "end_ms", "duration_ms", "speech_ms", "usable_ms", "n_words"), number)
    columns = {
        **numbers, "audio_sha256": sha, "word_idx": idx, "turn_idx": idx, "word": text, "text": text, "speaker": text,
        "chromaprint": sha, "title": text, "enclosure_url": sha, "guid": sha,
        "feed_id": pa.compute.utf8_slice_codeunits(ids, 0, 9),
    }  # fmt: skip
    return {name: columns[name] for name in table.schema.names if name in columns}


def _ask(home: Home, one: str) -> list[tuple[float, float]]:
    """For each question, milliseconds the first time and the best of five more."""
    times = []
    for sql in QUESTIONS.values():
        with connect(home) as connection:
            tries = []
            for _ in range(6):
                started = time.perf_counter()
                connection.execute(sql.format(one=one)).fetchall()
                tries.append(1000 * (time.perf_counter() - started))
        times.append((tries[0], min(tries[1:])))
    return times


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
