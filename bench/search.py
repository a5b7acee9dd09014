"""Search over a million turns: turns indexed per second, and Tantivy's query times against SQLite's FTS5 on the same text.

python -m bench.search [turns]
"""

from __future__ import annotations

import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.lake_rows import blank_rows, land
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import EPISODES, STAGE_RUNS, TURNS, Table
from resources.lake.warehouse import connect
from resources.search import SearchIndex, SearchQuery

TURNS_PER_EPISODE = 50
WORDS_PER_TURN = 25
VOCABULARY = 50_000
"""Words, as frequent as Zipf's law says: the first stands in most turns."""
QUESTIONS = {"a common word": "w1", "two words": "w3 w10", "a phrase": '"w3 w10"', "a rare word": "w20000"}
LIMIT = 20
BAR_TURNS_S = 20_000
BAR_MS = 300


def main(n_turns: int) -> None:
    print(f"load {os.getloadavg()[0]:.1f}; {n_turns:,} turns of {WORDS_PER_TURN} words\n")
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(f"{folder}/home")
        texts = _fill(home, n_turns)
        index = SearchIndex(Path(folder) / "index")
        with connect(home) as connection:
            started = time.perf_counter(), time.process_time()
            index.update(connection)
            assert index.search(connection, SearchQuery("w1"), limit=1).total > n_turns / 10
            wall_s, cpu_s = time.perf_counter() - started[0], time.process_time() - started[1]
            print(f"indexed {n_turns / wall_s:,.0f} turns/s ({n_turns / cpu_s:,.0f} per CPU-s)")
            print(f"rate ÷ bar: {n_turns / wall_s / BAR_TURNS_S:.2f}\n")
            other = _fts5(Path(folder) / "fts.db", texts)
            for name, question in QUESTIONS.items():
                ours = _best_ms(lambda: index.search(connection, SearchQuery(question), limit=LIMIT))  # noqa: B023
                theirs = _best_ms(lambda: other.execute(_FTS5, (question, LIMIT)).fetchall())  # noqa: B023
                print(
                    f"{name:<16}{ours:>8.1f} ms, FTS5 {theirs:>8.1f} ms, FTS5 ÷ ours {theirs / ours:.1f}, ours ÷ bar {ours / BAR_MS:.2f}"
                )


_FTS5 = "select rowid, bm25(turns) from turns where turns match ? order by rank limit ?"


def _fill(home: Home, n_turns: int) -> list[str]:
    """A sealed lake of episodes, their turns and the commits of `turns`."""
    n_episodes = n_turns // TURNS_PER_EPISODE
    ids = [f"feed-{n % 500:04}-20260101-{n:08x}" for n in range(n_episodes)]
    ids.sort()
    texts = list(_texts(n_turns))
    by_turn = pa.array(np.repeat(np.array(ids, dtype=object), TURNS_PER_EPISODE), pa.string())
    idx = pa.array(np.tile(np.arange(TURNS_PER_EPISODE, dtype=np.int32), n_episodes))
    by_episode = pa.array(ids)
    tables: dict[Table, pa.Table] = {
        TURNS: blank_rows(TURNS, n_turns, episode_id=by_turn, turn_idx=idx, text=pa.array(texts), speaker=pa.repeat("S1", n_turns)),
        STAGE_RUNS: blank_rows(
            STAGE_RUNS, n_episodes, episode_id=by_episode, stage=pa.repeat("turns", n_episodes),
            outcome=pa.repeat("landed", n_episodes), stamp=pa.repeat("20260101T000000000000-d-i-e", n_episodes),
        ),
    }  # fmt: skip
    for table, rows in tables.items():
        sealed = SealedFiles(home, table)
        sealed.commit(sealed.write(iter([rows])))
    episodes = blank_rows(EPISODES, n_episodes, episode_id=by_episode, feed_id=pa.repeat("feed", n_episodes))
    land(Lake(home), EPISODES, "feed", episodes)
    return texts


def _texts(count: int) -> Iterator[str]:
    generator = np.random.default_rng(1)
    chances = 1 / np.arange(1, VOCABULARY + 1)
    words = np.array([f"w{n}" for n in range(VOCABULARY)])
    for start in range(0, count, 100_000):
        size = (min(100_000, count - start), WORDS_PER_TURN)
        yield from map(" ".join, words[generator.choice(VOCABULARY, size=size, p=chances / chances.sum())])


def _fts5(path: Path, texts: list[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("create virtual table turns using fts5(text, content='')")
    with connection:
        connection.executemany("insert into turns (rowid, text) values (?, ?)", enumerate(texts))
    return connection


def _best_ms(ask: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        started = time.perf_counter()
        ask()
        times.append(1000 * (time.perf_counter() - started))
    return min(times)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
