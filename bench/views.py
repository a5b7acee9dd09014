"""What the views answer over 10 000 open episodes and over a million sealed ones: a table of milliseconds.

python -m bench.views [open sealed]

Words, segments and turns are fewer than in life (20, 3 and 3 per episode); the number of episodes is what is simulated.
The sealed ones arrived as they do when a thousand feeds are followed: each sealing holds some of every feed.
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

from bench.lake_rows import blank_rows, land
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.sealed_files import SealedFiles, Sizes
from resources.lake.tables import EPISODES, HASHES, QUALITY, SEGMENTS, TURNS, WORDS, Table
from resources.lake.warehouse import SQL, connect

FEEDS = 1_000
PER_EPISODE = {WORDS: 20, SEGMENTS: 3, TURNS: 3, QUALITY: 1, HASHES: 1, EPISODES: 1}
AT_ONCE = (2_000, 20_000)
"""Episodes in a sealing."""
VOCABULARY = pa.array([f"word{n}" for n in range(20_000)])
ROW_GROUP_ROWS = Sizes().row_group_rows
QUESTIONS = {
    "one transcript": "select line from transcript where episode_id = '{one}' order by turn_idx",
    "one episode's words": "select word from words where episode_id = '{one}' order by word_idx",
    "one's talk time": "select speaker, speech_ms, share from talk_time where episode_id = '{one}'",
    "one quality row": "select * from quality where episode_id = '{one}'",
    "hours by feed": (SQL / "analysis" / "hours_by_feed_and_language.sql").read_text(),
    "talk time by speaker": "select speaker, sum(speech_ms), sum(n_words) from talk_time group by all",
    "count words": "select count(*) from words",
}
"""The bars: one transcript under 500 ms open and 100 ms sealed, hours by feed under 1 000 ms sealed."""


def main(n_open: int, n_sealed: int) -> None:
    print("milliseconds, first time / best of five\n")
    print(f"{'episodes':<34}{'GB':>6}{'files':>8}" + "".join(f"{name:>21}" for name in QUESTIONS))
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(folder)
        _land(Lake(home), n_open)
        opened = _show(f"{n_open:,} open", home, n_open, "open")
    for at_once in AT_ONCE:
        with tempfile.TemporaryDirectory() as folder:
            home = Home.at(folder)
            for table in PER_EPISODE:
                _seal(SealedFiles(home, table, Sizes(row_group_rows=1)), n_sealed, at_once, ROW_GROUP_ROWS)
            sealed = _show(f"{n_sealed:,} sealed, {at_once:,} at once", home, n_sealed, "sealed")
    ratios = "".join(f"{last / first:>20.2f}×" for first, last in zip(opened, sealed, strict=True))
    print(f"{'the last ÷ the first':<48}{ratios}")
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def _show(name: str, home: Home, n_episodes: int, state: str) -> list[float]:
    """Ask everything, print a line and give the best times, ms."""
    files = list(Path(home.root, "lake").rglob(f"{state}/*.parquet"))
    size_gb = sum(file.stat().st_size for file in files) / 1e9
    times = _ask(home, _episode_id(n_episodes // 2))
    line = "".join(f"{first:>11.0f} /{best:>8.1f}" for first, best in times)
    print(f"{name:<34}{size_gb:>6.2f}{len(files):>8}{line}", flush=True)
    return [best for _, best in times]


def _land(lake: Lake, n_episodes: int) -> None:
    """As the stages land them: a file for each episode, and for each feed its episodes."""
    for table, each in PER_EPISODE.items():
        (key,) = table.landing
        for rows in _row_groups(table, 0, n_episodes, each * (n_episodes // FEEDS if key == "feed_id" else 1)):
            land(lake, table, rows[key][0].as_py(), rows)


def _episode_id(n: int) -> str:
    return f"feed-{n % FEEDS:04}-20260101-{n:08x}"


def _seal(sealed: SealedFiles, n_episodes: int, at_once: int, row_group_rows: int) -> None:
    """Files as many compactions leave them, written at once."""
    row_groups = (
        rows
        for first in range(0, n_episodes, at_once)
        for rows in _row_groups(sealed.table, first, min(at_once, n_episodes - first), row_group_rows)
    )
    sealed.commit(sealed.write(row_groups))


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
    text = VOCABULARY.take(pa.array(generator.zipf(1.3, len(ids)) % 20_000))
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
    main(*(int(number) for number in sys.argv[1:3] or (10_000, 1_000_000)))
