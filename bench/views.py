"""What the views and look-ups of one key take over open landings and over a million sealed episodes: milliseconds.

python -m bench.views [open sealed]

Episodes have fewer words, segments and turns than real ones (20, 3 and 3): what counts here is their number. The sealed
ones arrived 2 000 at a time, each time some of every feed.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from bench.lake_rows import blank_rows, land
from resources.lake.compaction import seal
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.sealed_files import SealedFiles, Sizes
from resources.lake.tables import EPISODES, HASHES, QUALITY, SEGMENTS, SPEAKER_LINKS, TURNS, VOICES, WORDS, Table
from resources.lake.warehouse import SQL, connect

FEEDS = 5_000
PER_EPISODE = {WORDS: 20, SEGMENTS: 3, TURNS: 3, QUALITY: 1, HASHES: 1, EPISODES: 1}
AT_ONCE = 2_000
"""Episodes in a compaction."""
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
BARS_MS = {
    "one transcript": (100, 200, 800),
    "hours by feed": (500, None, None),
    "one key, Lake.read": (20, None, None),
}
"""For 1 000 000 sealed episodes, and for 2 000 and 10 000 open landings."""


def main(n_open: int, n_sealed: int) -> None:
    print(f"load {os.getloadavg()[0]:.1f}; milliseconds, first time / best of five\n")
    columns = []
    with tempfile.TemporaryDirectory() as folder:
        home = Home.at(folder)
        for table in PER_EPISODE:
            _seal(SealedFiles(home, table), n_sealed)
        columns.append(_measure(f"{n_sealed:,} sealed", home, n_sealed, "sealed"))
    for count in (n_open // 5, n_open):
        with tempfile.TemporaryDirectory() as folder:
            home = Home.at(folder)
            _land(Lake(home), count)
            columns.append(_measure(f"{count:,} open", home, count, "open"))
            if count < n_open:
                feeds = _land_voices(Lake(home), min(count, FEEDS))
                _measure(f"{count:,} open, and the voices of {len(feeds):,} feeds", home, count, "open")
                list(seal(Lake(home), feeds, stages={SPEAKER_LINKS.asset}))
                _measure(f"{count:,} open, and the voices sealed", home, count, "open")
    for name, bars in BARS_MS.items():
        ratios = [f"{times[name] / bar:.2f}" if bar else "-" for times, bar in zip(columns, bars, strict=True)]
        print(f"time ÷ bar, {name}: {', '.join(ratios)}")


def _measure(name: str, home: Home, n_episodes: int, state: str) -> dict[str, float]:
    """Ask everything, print it, and give the best times in ms."""
    files = list(Path(home.root, "lake").rglob(f"{state}/*.parquet"))
    print(f"{name}: {len(files)} files, {sum(file.stat().st_size for file in files) / 1e9:.2f} GB")
    found = {}
    for question, first, best in _ask(home, _episode_id(n_episodes // 2)):
        print(f"  {question:<24}{first:>9.0f} /{best:>8.1f}", flush=True)
        found[question] = best
    return found


def _land(lake: Lake, n_episodes: int) -> None:
    """Open landings of the tables that the bars are about."""
    for table in (TURNS, QUALITY):
        for rows in _row_groups(table, 0, n_episodes, PER_EPISODE[table]):
            land(lake, table, rows["episode_id"][0].as_py(), rows)


def _land_voices(lake: Lake, n_feeds: int) -> set[str]:
    """Open landings of the stage `voices`: links of twenty episodes with three speakers for each feed."""
    feeds = {_feed_id(n) for n in range(n_feeds)}
    for feed_id in feeds:
        ids = pa.array([f"{feed_id}-20260101-{n:08x}" for n in range(20)] * 3)
        rows = blank_rows(SPEAKER_LINKS, 60, feed_id=pa.array([feed_id] * 60), episode_id=ids, speaker=ids)
        commit = land(lake, SPEAKER_LINKS, feed_id, rows)
        lake.write_rows(commit, [(VOICES, VOICES.schema.empty_table())])
    return feeds


def _feed_id(n: int) -> str:
    return f"feed-{n % FEEDS:04}"


def _episode_id(n: int) -> str:
    return f"{_feed_id(n)}-20260101-{n:08x}"


def _seal(sealed: SealedFiles, n_episodes: int) -> None:
    """Files as many compactions leave them, written at once."""
    row_groups = (
        rows
        for first in range(0, n_episodes, AT_ONCE)
        for rows in _row_groups(sealed.table, first, min(AT_ONCE, n_episodes - first), ROW_GROUP_ROWS)
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


def _ask(home: Home, one: str) -> Iterator[tuple[str, float, float]]:
    """Each question, milliseconds the first time, and the best of five more."""
    with connect(home) as connection:
        for name, sql in QUESTIONS.items():
            yield (name, *_times(lambda: connection.execute(sql.format(one=one)).fetchall()))  # noqa: B023
    yield ("one key, Lake.read", *_times(lambda: Lake(home).read(QUALITY, one)))


def _times(do: Callable[[], object]) -> tuple[float, float]:
    tries = []
    for _ in range(6):
        started = time.perf_counter()
        do()
        tries.append(1000 * (time.perf_counter() - started))
    return tries[0], min(tries[1:])


if __name__ == "__main__":
    main(*(int(number) for number in sys.argv[1:3] or (10_000, 1_000_000)))
