"""Sealing moves landings from many open files to a few sealed ones, and no reader can tell."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from assets.stages import EPISODE_GRAPH
from resources.lake.commits import Commit, new_commit
from resources.lake.compaction import open_before, remove, reopen, seal, sealed_episodes, settled
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.sealed_files import SealedFiles, Sizes
from resources.lake.tables import (
    ACQUISITIONS,
    EPISODES,
    FAILURES,
    POLLS,
    QUALITY,
    SPEAKER_LINKS,
    STAGE_RUNS,
    SUBSCRIPTIONS,
    TABLES,
    WORDS,
    Table,
)
from resources.lake.tables.pipeline import StageRunRow
from resources.lake.warehouse import ask, connect
from tests.landings import backlog, filled, land_last, land_stage, open_keys, seal_settled
from tests.landings import land as land_rows

ROOT = Path(__file__).parents[3]
EPISODE_IDS = [f"show-{n % 2}-20260101-{n:08x}" for n in range(12)]
SMALL = Sizes(row_group_rows=10)
SMALL_FILES = Sizes(file_bytes=14_000, row_group_rows=10)


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(Home.at(str(tmp_path / "home")))


def land(lake: Lake, table: Table, key: str, n_rows: int, **values: object) -> None:
    """A landing whose rows are numbered, and blank but for the values."""
    land_rows(lake, table, key, numbered(table, n_rows, **values))


def numbered(table: Table, n_rows: int, **values: object) -> list[dict[str, object]]:
    names = [name for name in table.schema.names if name.endswith("_idx")]
    return [{**dict.fromkeys(names, n), **values} for n in range(n_rows)]


def land_episode(lake: Lake, episode_id: str, n_words: int, word: str = "first") -> None:
    land_stage(lake, "transcript", episode_id, {"words": numbered(WORDS, n_words, word=word)})
    land_stage(lake, "audio", episode_id, {})
    land_stage(lake, "quality", episode_id, {"quality": [{"n_words": n_words}]})


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
    return seal_settled(lake, sizes)


def test_answers_stay_the_same_and_the_open_files_go(lake):
    land_all(lake)
    before = answers(lake)
    assert backlog(lake) == 12

    done = seal_now(lake)

    assert answers(lake) == before
    assert (done["words"].landings, done["words"].rows) == (12, 21)
    assert (done["stage_runs"].landings, done["stage_runs"].rows) == (36, 36)
    assert done["words"].bytes_added == SealedFiles(lake.home, WORDS).size()
    assert backlog(lake) == 0
    assert sealed_episodes(lake, EPISODE_GRAPH.terminal) == sorted(EPISODE_IDS)


def test_python_reads_sealed_landings_as_it_reads_open_ones(lake):
    land_all(lake)
    before = {episode_id: lake.read(WORDS, episode_id) for episode_id in EPISODE_IDS}
    seal_now(lake)

    for episode_id, rows in before.items():
        now = lake.read(WORDS, episode_id)
        assert now is None if rows.num_rows == 0 else now.equals(rows)
    assert lake.history("quality", EPISODE_IDS[3]).num_rows == 1


def test_sealing_again_finds_nothing_to_do(lake):
    land_all(lake)
    seal_now(lake)
    files = {path: path.stat().st_mtime_ns for path in Path(lake.home.path("lake")).rglob("*.parquet")}

    assert {done.landings for done in seal_now(lake).values()} == {0}
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_rows_are_in_the_order_of_their_keys_in_row_groups_of_whole_landings(lake):
    land_all(lake)
    seal_now(lake, Sizes(row_group_rows=5))
    (name,) = SealedFiles(lake.home, WORDS).paths()
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
    first = {path: Path(path).stat().st_size for path in SealedFiles(lake.home, STAGE_RUNS).paths()}
    for n in range(8):
        land_episode(lake, f"later-20260101-{n:08x}", 3)
    done = seal_now(lake, SMALL_FILES)

    assert done["stage_runs"].files == len(SealedFiles(lake.home, STAGE_RUNS).paths()) > len(first)
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


def test_a_full_file_is_rewritten_only_when_many_of_its_rows_are_superseded(lake):
    sizes = Sizes(file_bytes=1, row_group_rows=10, superseded_share=0.5)
    for episode_id in EPISODE_IDS[:2]:
        land_episode(lake, episode_id, 6)
    seal_now(lake, sizes)
    files = SealedFiles(lake.home, WORDS)
    (first,) = files.names()

    land_episode(lake, EPISODE_IDS[0], 3, word="second")
    before = answers(lake)
    seal_now(lake, sizes)
    assert answers(lake) == before
    assert lake.read(WORDS, EPISODE_IDS[0])["word"].to_pylist() == ["second"] * 3
    assert [(file.superseded, file.superseded_rows) for file in files.manifest()] == [({EPISODE_IDS[0]}, 6), (set(), 0)]
    assert files.names()[0] == first

    land_episode(lake, EPISODE_IDS[1], 1, word="third")
    before = answers(lake)
    seal_now(lake, sizes)
    assert answers(lake) == before
    assert first not in files.names()
    assert not any(file.superseded for file in files.manifest())


def test_superseded_rows_of_a_removed_episode_leave_no_byte_behind(lake):
    sizes = Sizes(file_bytes=1, superseded_share=1)
    for word in ("secret", "hidden"):
        for episode_id in EPISODE_IDS[:2]:
            land_episode(lake, episode_id, 3, word=f"{word} {episode_id}")
        seal_now(lake, sizes)
    before = answers(lake)["words"]

    remove(lake, EPISODE_IDS[:1])

    assert answers(lake)["words"] == [row for row in before if row[0] != EPISODE_IDS[0]]
    assert_gone(lake, EPISODE_IDS[0])


def assert_gone(lake: Lake, *texts: str) -> None:
    """No file of the home has one of the texts, neither as bytes nor in a decoded column."""
    for path in Path(lake.home.root).rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if path.suffix == ".parquet":
            content += str(pq.ParquetFile(path).read().to_pylist()).encode()
        assert not any(text.encode() in content or text in path.name for text in texts), path


def test_removed_episodes_leave_no_byte_behind(lake):
    for n, episode_id in enumerate(EPISODE_IDS):
        land_episode(lake, episode_id, n % 5, word=f"secret{n}")
    seal_now(lake)
    land_episode(lake, EPISODE_IDS[4], 3, word="secret4")
    land(lake, FAILURES, f"{EPISODE_IDS[4]}.turns", 1)
    before = answers(lake)

    remove(lake, [EPISODE_IDS[3], EPISODE_IDS[4]])

    gone = set(EPISODE_IDS[3:5])
    expected = {name: [row for row in rows if not gone & set(map(str, row))] for name, rows in before.items()}
    assert answers(lake) == expected
    assert_gone(lake, *gone, "secret3", "secret4")


def test_only_what_is_complete_old_and_without_failures_is_sealed(lake):
    land_all(lake)
    incomplete, failing = "new-20260101-00000001", EPISODE_IDS[0]
    land(lake, WORDS, incomplete, 3)
    land(lake, FAILURES, f"{failing}.turns", 1)

    assert settled(lake, EPISODE_GRAPH, datetime.now(UTC) - timedelta(hours=1)) == set()
    assert settled(lake, EPISODE_GRAPH, datetime.now(UTC)) == set(EPISODE_IDS) - {failing}
    seal_now(lake)
    assert open_keys(lake, WORDS) == [incomplete, failing]
    assert sealed_episodes(lake, EPISODE_GRAPH.terminal) == sorted(EPISODE_IDS[1:])


def test_an_episode_waits_for_its_youngest_landing(lake):
    land_all(lake)
    before = datetime.now(UTC)
    land_stage(lake, "turns", EPISODE_IDS[0], {})

    assert settled(lake, EPISODE_GRAPH, before) == set(EPISODE_IDS[1:])


def test_rows_without_a_commit_are_neither_seen_nor_sealed(lake):
    land_all(lake)
    before = answers(lake)
    (quality,) = Path(lake.home.path("lake", "stage_runs", "open", "quality")).glob(f"{EPISODE_IDS[0]}@*")
    quality.unlink()
    assert settled(lake, EPISODE_GRAPH, datetime.now(UTC)) == set(EPISODE_IDS[1:])
    seal_now(lake)
    assert answers(lake)["quality"] == [row for row in before["quality"] if EPISODE_IDS[0] not in row]
    assert [path.name for path in Path(lake.home.path("lake", "quality", "open")).glob("*@*")] == [quality.name]


def test_rows_that_are_committed_after_a_later_landing_was_sealed_are_still_there(lake):
    """Two runs land the same episode: the one that began first commits last."""
    late = new_commit(EPISODE_IDS[1], "transcript", data="d" * 10, inputs="0" * 10, engine="0" * 10)
    rows = WORDS.of([filled(WORDS, {"episode_id": EPISODE_IDS[1], "word": "late"})])
    lake.write_rows(late, [(WORDS, rows)])
    land_all(lake)
    seal_now(lake)
    record = {"episode_id": EPISODE_IDS[1], "stage": "transcript", "stamp": late.stamp}
    lake.commit(StageRunRow(**filled(STAGE_RUNS, record)))
    assert lake.read(WORDS, EPISODE_IDS[1])["word"].to_pylist() == ["late"]


def test_rows_that_were_never_committed_are_removed_after_a_day(lake):
    for hours in (23, 25):
        at = datetime.now(UTC) - timedelta(hours=hours)
        abandoned = new_commit(EPISODE_IDS[0], "transcript", data="d" * 10, inputs="0" * 10, engine="0" * 10, at=at)
        lake.write_rows(abandoned, [(WORDS, WORDS.schema.empty_table())])
    seal_now(lake)
    (name,) = lake.home.names("lake", "words", "open")
    assert Commit.parse("transcript", name).landed_at > datetime.now(UTC) - timedelta(hours=24)


def test_feeds_are_sealed_by_feed_and_subscriptions_and_failures_never(lake):
    for feed in ("show-0", "show-1"):
        rows = {"episodes": numbered(EPISODES, 3, feed_id=feed), "polls": numbered(POLLS, 1)}
        land_stage(lake, "episodes", feed, rows)
    land(lake, SUBSCRIPTIONS, "all", 2)
    land(lake, FAILURES, "other.episodes", 1)
    before = answers(lake)
    done = seal_now(lake)

    assert answers(lake) == before
    assert {name: sealed.landings for name, sealed in done.items() if sealed.landings} == {
        "polls": 2, "episodes": 2, "stage_runs": 2,
    }  # fmt: skip
    assert open_keys(lake, SUBSCRIPTIONS) == ["all"]
    assert open_keys(lake, FAILURES) == ["other.episodes"]


def test_reopened_landings_are_open_and_the_same(lake):
    land_all(lake)
    before = answers(lake)
    seal_now(lake)

    assert reopen(lake, EPISODE_IDS[3:5]) == 6
    for table in (WORDS, ACQUISITIONS, QUALITY):
        assert open_keys(lake, table) == sorted(EPISODE_IDS[3:5])
    assert sealed_episodes(lake, EPISODE_GRAPH.terminal) == sorted(set(EPISODE_IDS) - set(EPISODE_IDS[3:5]))
    assert answers(lake) == before
    assert reopen(lake, EPISODE_IDS[3:5]) == 0
    seal_now(lake)
    assert answers(lake) == before


def test_reopening_leaves_what_was_landed_since(lake):
    land_all(lake)
    seal_now(lake)
    land(lake, WORDS, EPISODE_IDS[4], 1, word="newer")

    assert reopen(lake, [EPISODE_IDS[4]]) == 2
    assert lake.read(WORDS, EPISODE_IDS[4])["word"].to_pylist() == ["newer"]


@pytest.mark.parametrize("moment", ["sealed", "manifest"])
def test_a_landing_made_while_its_predecessor_is_sealed_stays(lake, tmp_path, moment):
    """It is made when a file of the words appears under its name: a sealed one, then the manifest."""
    code = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(ROOT)!r}, {str(Path(__file__).parent)!r}]
from test_compaction import *
lake = Lake(Home.at({lake.home.root!r}))
land_all(lake)
connect(lake.home).close()
busy = False
def interfere(event, args):
    global busy
    if busy or event != "os.rename" or "/words/{moment}/" not in str(args[1]):
        return
    busy = True
    for episode_id in EPISODE_IDS[2:6]:
        land(lake, WORDS, episode_id, 6, word="second")
sys.addaudithook(interfere)
seal_now(lake)
assert busy
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)

    assert open_keys(lake, WORDS) == sorted(EPISODE_IDS[2:6])
    with connect(lake.home) as connection:
        found = dict(connection.execute("select episode_id, list(word) from lake.words group by all").fetchall())
    expected = {episode_id: ["first"] * (n % 5) for n, episode_id in enumerate(EPISODE_IDS) if n % 5}
    assert found == expected | dict.fromkeys(EPISODE_IDS[2:6], ["second"] * 6)


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
        assert open_keys(lake, WORDS) == [EPISODE_IDS[5]]  # which is not complete
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


def _ask(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, int, int]]:
    """Words per episode."""
    return ask(connection, "select episode_id, count(*), count(distinct word_idx) from lake.words group by all")


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
    assert len(sealed_episodes(lake, EPISODE_GRAPH.terminal)) == landed.value
    assert set(TABLES) == {path.name for path in Path(lake.home.path("lake")).iterdir() if path.is_dir()}


def test_what_a_killed_landing_has_begun_goes_away_once_nobody_can_be_at_it(lake):
    land_episode(lake, EPISODE_IDS[0], 3)
    folder = Path(lake.home.path("lake", "words", "open"))
    old, young = folder / ".a.parquet.01234567.tmp", folder / ".b.parquet.01234567.tmp"
    for path in (old, young):
        path.write_bytes(b"PAR1")
    os.utime(old, (0, 0))
    seal_settled(lake)
    assert (old.exists(), young.exists()) == (False, True)


def test_the_landings_of_some_stages_are_sealed_and_the_others_stay_open(lake):
    land_stage(lake, "episodes", "show", {"episodes": [{"feed_id": "show"}]})
    land_stage(lake, "voices", "show", {"speaker_links": [{"name": "Ann"}]})
    land_stage(lake, "voices", "new", {"speaker_links": [{"name": "Ben"}]})
    now = datetime.now(UTC)
    land_stage(lake, "voices", "new", {"speaker_links": [{"name": "Bob"}]})
    assert open_before(lake, ["voices"], now) == {"show"}
    done = {one.table: one.landings for one in seal(lake, {"show"}, stages={"voices"}) if one.landings}
    assert done == {"voices": 1, "speaker_links": 1, "stage_runs": 1}
    assert (open_keys(lake, EPISODES), open_keys(lake, SPEAKER_LINKS)) == (["show"], ["new"])
    land_stage(lake, "voices", "show", {"speaker_links": [{"name": "Eve"}]})
    assert [row.name for row in lake.rows(SPEAKER_LINKS, "show")] == ["Eve"]
    with connect(lake.home) as connection:
        assert sorted(ask(connection, "select name from lake.speaker_links")) == [("Bob",), ("Eve",)]
    assert list(seal(lake, {"show"}, stages={"voices"}))
    assert [row.name for row in lake.rows(SPEAKER_LINKS, "show")] == ["Eve"]
