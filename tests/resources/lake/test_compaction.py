"""Sealing moves landings from many open files to a few sealed ones, and no reader can tell."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from resources.lake.compaction import backlog, reopen, seal, sealed_episodes, settled
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.sealed_files import SealedFiles, Sizes
from resources.lake.tables import EPISODES, FAILURES, POLLS, QUALITY, STAGE_RUNS, SUBSCRIPTIONS, TABLES, WORDS, Table
from resources.lake.warehouse import connect
from tests.landings import land as land_rows
from tests.landings import land_last

ROOT = Path(__file__).parents[3]
NOW = timedelta(0)
EPISODE_IDS = [f"show-{n % 2}-20260101-{n:08x}" for n in range(12)]
SMALL = Sizes(row_group_rows=10)
SMALL_FILES = Sizes(file_bytes=14_000, row_group_rows=10)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(Home.at(str(tmp_path / "home")))


def land(lake: Lake, table: Table, key: str, n_rows: int, **values: object) -> None:
    """A landing whose rows are numbered, and blank but for the values."""
    numbered = [name for name in table.schema.names if name.endswith("_idx")]
    land_rows(lake, table, key, [{**dict.fromkeys(numbered, n), **values} for n in range(n_rows)])


def land_episode(lake: Lake, episode_id: str, n_words: int, word: str = "first") -> None:
    land(lake, WORDS, episode_id, n_words, word=word)
    land(lake, STAGE_RUNS, f"{episode_id}.audio", 1)
    land(lake, STAGE_RUNS, f"{episode_id}.quality", 2)
    land(lake, QUALITY, episode_id, 1, n_words=n_words)


def land_all(lake: Lake, word: str = "first") -> None:
    for n, episode_id in enumerate(EPISODE_IDS):
        land_episode(lake, episode_id, n % 5, word)


def answers(lake: Lake) -> dict[str, list[tuple]]:
    """All that DuckDB reads from the tables."""
    with connect(lake.home) as connection:
        return read_all(connection)


def read_all(connection: duckdb.DuckDBPyConnection) -> dict[str, list[tuple]]:
    return {
        name: connection.execute(f"select * from lake.{name} order by all").fetchall()
        for name in ("words", "stage_runs", "quality", "episodes", "polls")
    }


def seal_now(lake: Lake, sizes: Sizes = SMALL) -> Mapping[str, Any]:
    return {sealed.table: sealed for sealed in seal(lake, older_than=NOW, sizes=sizes)}


def test_answers_stay_the_same_and_the_open_files_go(lake):
    land_all(lake)
    before = answers(lake)
    assert backlog(lake) == 24

    done = seal_now(lake)

    assert answers(lake) == before
    assert (done["words"].landings, done["words"].rows) == (12, 21)
    assert (done["stage_runs"].landings, done["stage_runs"].rows) == (24, 36)
    assert done["words"].bytes_added == SealedFiles(lake.home, WORDS).size()
    assert backlog(lake) == 0
    assert sealed_episodes(lake) == sorted(EPISODE_IDS)


def test_python_reads_sealed_landings_as_it_reads_open_ones(lake):
    land_all(lake)
    before = {episode_id: lake.read(WORDS, episode_id) for episode_id in EPISODE_IDS}
    seal_now(lake)

    for episode_id, rows in before.items():
        now = lake.read(WORDS, episode_id)
        assert now is None if rows.num_rows == 0 else now.equals(rows)
    assert lake.read(STAGE_RUNS, f"{EPISODE_IDS[3]}.quality").num_rows == 2


def test_sealing_again_finds_nothing_to_do(lake):
    land_all(lake)
    seal_now(lake)
    files = {path: path.stat().st_mtime_ns for path in Path(lake.home.path("lake")).rglob("*.parquet")}

    assert {done.landings for done in seal_now(lake).values()} == {0}
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_rows_are_in_the_order_of_their_keys_in_row_groups_of_whole_landings(lake):
    land_all(lake)
    seal_now(lake, Sizes(row_group_rows=5))
    (name,) = lake.sealed_files(WORDS)
    file = pq.ParquetFile(name)
    groups = [file.read_row_group(index, columns=["episode_id", "word_idx"]) for index in range(file.num_row_groups)]

    pairs = [(row["episode_id"], row["word_idx"]) for group in groups for row in group.to_pylist()]
    assert pairs == sorted(pairs)
    ids = [set(group["episode_id"].to_pylist()) for group in groups]
    assert [group.num_rows for group in groups] == [6, 5, 5, 5]
    assert sum(map(len, ids)) == len(set().union(*ids)) == 9


def test_a_full_file_is_followed_by_another(lake):
    land_all(lake)
    seal_now(lake, SMALL_FILES)
    first = {path: Path(path).stat().st_size for path in lake.sealed_files(STAGE_RUNS)}
    for n in range(8):
        land_episode(lake, f"later-20260101-{n:08x}", 3)
    done = seal_now(lake, SMALL_FILES)

    assert done["stage_runs"].files == len(lake.sealed_files(STAGE_RUNS)) > len(first)
    assert all(size >= SMALL_FILES.file_bytes for size in first.values())
    assert {path: Path(path).stat().st_size for path in first} == first


def test_what_is_landed_again_replaces_what_was_sealed(lake):
    """Whole files, parts of row groups, more rows, fewer rows, no rows."""
    land_all(lake)
    seal_now(lake)
    for changed in (EPISODE_IDS[:3], EPISODE_IDS[2:9:3], EPISODE_IDS, EPISODE_IDS[4:5]):
        for n, episode_id in enumerate(changed):
            land_episode(lake, episode_id, (7 * n + 2) % 4, word=f"again {len(changed)}")
        before = answers(lake)
        seal_now(lake)
        assert answers(lake) == before
        assert backlog(lake) == 0


def test_a_file_that_is_mostly_dead_bytes_gives_its_landings_up(lake):
    sizes = Sizes(file_bytes=20_000, row_group_rows=10)
    land_all(lake)
    seal_now(lake, sizes)
    old = lake.sealed_files(WORDS)
    for n in range(6):
        for episode_id in EPISODE_IDS[:11]:
            land_episode(lake, episode_id, 4, word=f"again {n}")
        before = answers(lake)
        seal_now(lake, sizes)
        assert answers(lake) == before
    assert set(old).isdisjoint(lake.sealed_files(WORDS))
    assert SealedFiles(lake.home, WORDS).size() < 3 * sizes.file_bytes


def test_only_what_is_complete_old_and_without_failures_is_sealed(lake):
    land_all(lake)
    incomplete, failing = "new-20260101-00000001", EPISODE_IDS[0]
    land(lake, WORDS, incomplete, 3)
    land(lake, FAILURES, f"{failing}.turns", 1)

    assert settled(lake, timedelta(hours=1)) == set()
    assert settled(lake, NOW) == set(EPISODE_IDS) - {failing}
    seal_now(lake)
    assert lake.open_keys(WORDS) == [incomplete, failing]
    assert sealed_episodes(lake) == sorted(EPISODE_IDS[1:])


def test_an_episode_waits_for_its_youngest_landing(lake):
    land_all(lake)
    a_day_ago = datetime.now(UTC).timestamp() - 86_400
    for table in (WORDS, STAGE_RUNS, QUALITY):
        for key in lake.open_keys(table):
            os.utime(lake.home.path("lake", table.name, "open", f"{key}.parquet"), (a_day_ago, a_day_ago))
    land(lake, STAGE_RUNS, f"{EPISODE_IDS[0]}.turns", 1)

    assert settled(lake, timedelta(hours=12)) == set(EPISODE_IDS[1:])


def test_what_a_killed_run_has_landed_and_not_recorded_is_not_complete(lake):
    land_all(lake)
    lake.remove(STAGE_RUNS, f"{EPISODE_IDS[0]}.quality")
    assert settled(lake, NOW) == set(EPISODE_IDS[1:])
    seal_now(lake)
    assert lake.open_keys(QUALITY) == EPISODE_IDS[:1]
    land(lake, STAGE_RUNS, f"{EPISODE_IDS[0]}.quality", 1)
    assert settled(lake, NOW) == set(EPISODE_IDS)


def test_feeds_are_sealed_by_feed_and_subscriptions_and_failures_never(lake):
    for feed in ("show-0", "show-1"):
        land(lake, EPISODES, feed, 3, feed_id=feed)
        land(lake, POLLS, feed, 1)
        land(lake, STAGE_RUNS, f"{feed}.episodes", 1)
    land(lake, SUBSCRIPTIONS, "all", 2)
    land(lake, FAILURES, "other.episodes", 1)
    before = answers(lake)
    done = seal_now(lake)

    assert answers(lake) == before
    assert {name: sealed.landings for name, sealed in done.items() if sealed.landings} == {
        "polls": 2, "episodes": 2, "stage_runs": 2,
    }  # fmt: skip
    assert lake.open_keys(SUBSCRIPTIONS) == ["all"]
    assert lake.open_keys(FAILURES) == ["other.episodes"]


def test_reopened_landings_are_open_and_the_same(lake):
    land_all(lake)
    before = answers(lake)
    seal_now(lake)

    assert reopen(lake, EPISODE_IDS[3:5]) == 8
    assert lake.open_keys(WORDS) == sorted(EPISODE_IDS[3:5])
    assert lake.open_keys(STAGE_RUNS) == sorted(
        f"{e}.{stage}" for e in EPISODE_IDS[3:5] for stage in ("audio", "quality")
    )
    assert sealed_episodes(lake) == sorted(set(EPISODE_IDS) - set(EPISODE_IDS[3:5]))
    assert answers(lake) == before
    assert reopen(lake, EPISODE_IDS[3:5]) == 0
    seal_now(lake)
    assert answers(lake) == before


def test_reopening_leaves_what_was_landed_since(lake):
    land_all(lake)
    seal_now(lake)
    land(lake, WORDS, EPISODE_IDS[4], 1, word="newer")

    assert reopen(lake, [EPISODE_IDS[4]]) == 3
    assert lake.read(WORDS, EPISODE_IDS[4])["word"].to_pylist() == ["newer"]


def test_a_landing_made_while_its_predecessor_is_sealed_stays(lake, tmp_path):
    """It is made at the worst moments there are: before and after the open file is renamed to be looked at."""
    code = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
from test_compaction import *
lake = Lake(Home.at({lake.home.root!r}))
land_all(lake)
busy = False
def interfere(event, args):
    global busy
    if busy or event not in ("os.rename", "os.link") or "/words/open/" not in str(args[0]):
        return
    busy = True
    source, target = (Path(str(path)) for path in args[:2])
    if target.suffix == ".taken" and source.stem in EPISODE_IDS[2:6]:
        land(lake, WORDS, source.stem, 6, word="second")
    if event == "os.link" and target.stem in EPISODE_IDS[4:6]:
        land(lake, WORDS, target.stem, 7, word="third")
    busy = False
sys.addaudithook(interfere)
seal_now(lake)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)

    assert lake.open_keys(WORDS) == sorted(EPISODE_IDS[2:6])
    with connect(lake.home) as connection:
        found = dict(connection.execute("select episode_id, list(word) from lake.words group by all").fetchall())
    expected = {episode_id: ["first"] * (n % 5) for n, episode_id in enumerate(EPISODE_IDS) if n % 5}
    expected |= dict.fromkeys(EPISODE_IDS[2:4], ["second"] * 6) | dict.fromkeys(EPISODE_IDS[4:6], ["third"] * 7)
    assert found == expected


def test_a_sealing_killed_at_any_step_loses_and_doubles_nothing(lake, tmp_path):
    for n, episode_id in enumerate(EPISODE_IDS[:4]):
        land(lake, WORDS, episode_id, 2 + n, word="first")
        land_last(lake, episode_id)
    seal_now(lake)
    for n, episode_id in enumerate(EPISODE_IDS[2:6]):
        land(lake, WORDS, episode_id, n, word="second")
    land_last(lake, EPISODE_IDS[4])
    before = answers(lake)
    copies = tmp_path / "copies"
    script = Path(__file__).with_name("killed_sealings.py")
    run = subprocess.run(
        [sys.executable, script, lake.home.root, copies],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip

    changes = int(run.stdout)
    assert changes > 15
    for last in range(1, changes + 2):
        shutil.rmtree(lake.home.root)
        (copies / str(last)).rename(lake.home.root)  # where the warehouse knows it: it need not be made again
        with connect(lake.home) as connection:
            assert read_all(connection) == before, f"after {last - 1} changes"
            seal_now(lake)
            assert read_all(connection) == before, f"sealed again after {last - 1} changes"
        assert lake.open_keys(WORDS) == [EPISODE_IDS[5]]  # which is not complete
        hidden = {path.name for path in Path(lake.home.path("lake")).rglob(".*")}
        assert hidden == {".sealing.lock"}


def _keep_landing(root: str, stop: Any, landed: Any) -> None:
    lake = Lake(Home.at(root))
    while not stop.is_set():
        land_episode(lake, f"live-20260101-{landed.value:08x}", 5, word=str(landed.value))
        landed.value += 1


def _keep_sealing(root: str, stop: Any) -> None:
    lake = Lake(Home.at(root))
    while not stop.is_set():
        seal_now(lake, Sizes(file_bytes=40_000, row_group_rows=50))


def _ask(connection: duckdb.DuckDBPyConnection) -> Iterator[tuple[str, int, int]]:
    """Words per episode; asked again where an open file was taken away between listing and opening it."""
    while True:
        try:
            yield from connection.execute(
                "select episode_id, count(*), count(distinct word_idx) from lake.words group by all"
            ).fetchall()
        except duckdb.IOException as error:
            if "No such file" not in str(error):
                raise
        else:
            return


def test_readers_are_right_while_others_land_and_seal(lake):
    processes = multiprocessing.get_context("spawn")
    stop, landed = processes.Event(), processes.Value("i", 0)
    connect(lake.home).close()
    workers = [
        processes.Process(target=_keep_landing, args=(lake.home.root, stop, landed)),
        processes.Process(target=_keep_sealing, args=(lake.home.root, stop)),
    ]
    for worker in workers:
        worker.start()
    with connect(lake.home) as connection:
        for _ in range(150):
            at_least = landed.value
            found = {episode_id: (n, n_distinct) for episode_id, n, n_distinct in _ask(connection)}
            assert set(found.values()) <= {(5, 5)}
            assert {f"live-20260101-{n:08x}" for n in range(at_least)} <= set(found)
    stop.set()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    seal_now(lake)
    assert len(sealed_episodes(lake)) == landed.value
    assert set(TABLES) == {path.name for path in Path(lake.home.path("lake")).iterdir() if path.is_dir()}


def test_what_a_killed_landing_has_begun_goes_away_once_nobody_can_be_at_it(lake):
    land_episode(lake, EPISODE_IDS[0], 3)
    folder = Path(lake.home.path("lake", "words", "open"))
    old, young = folder / ".a.parquet.01234567.tmp", folder / ".b.parquet.01234567.tmp"
    for path in (old, young):
        path.write_bytes(b"PAR1")
    os.utime(old, (0, 0))
    list(seal(lake, older_than=NOW))
    assert (old.exists(), young.exists()) == (False, True)
