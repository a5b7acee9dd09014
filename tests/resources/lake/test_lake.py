"""Landings are whole or absent, replaced atomically, and open files outrank sealed rows."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.lake.commits import FAILED, NO_VERSION, new_commit, open_commits
from resources.lake.compaction import seal
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import EPISODES, FAILURES, SPEAKERS, STAGE_RUNS, SUBSCRIPTIONS, TABLES, TURNS
from resources.lake.warehouse import connect
from speech.errors import StorageError
from tests.landings import land_arrow, land_failed_try, land_stage, open_keys

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
KEY = "show-20260101-00000001"
COMMIT = new_commit(KEY, "diarization", data="d" * 10, inputs=NO_VERSION, engine=NO_VERSION)


def speakers(key: str, *names: str, run_id: str = "run") -> pa.Table:
    rows = [{"speaker": name, "speech_ms": 1000, "n_segments": 1, "first_ms": 0} for name in names]
    return SPEAKERS.of(
        rows, episode_id=key, audio_sha256="a" * 64, engine_fingerprint="f" * 16, run_id=run_id, landed_at=NOW,
        embedding=None, embedding_model=None,
    )  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Home.at(str(tmp_path)))


def test_a_landing_is_read_back_as_it_was_written(lake: Lake) -> None:
    rows = speakers(KEY, "S1", "S2")
    land_arrow(lake, SPEAKERS, KEY, rows)
    read = lake.read(SPEAKERS, KEY)
    assert read is not None
    assert read.equals(rows)
    assert lake.read(SPEAKERS, "show-20260101-00000002") is None
    assert open_keys(lake, SPEAKERS) == [KEY]


def test_the_file_carries_the_schema_with_a_description_per_column(lake: Lake) -> None:
    land_arrow(lake, SPEAKERS, KEY, speakers(KEY, "S1"))
    (path,) = Path(lake.home.path("lake", "speakers", "open")).glob(f"{KEY}@*.parquet")
    written = pq.read_schema(path)
    assert written.equals(SPEAKERS.schema)
    for field in SPEAKERS.schema:
        assert written.field(field.name).metadata[b"description"] == field.metadata[b"description"]


def test_rows_of_another_schema_are_refused(lake: Lake) -> None:
    with pytest.raises(TypeError, match="another schema"):
        lake.write_rows(COMMIT, [(TURNS, speakers(KEY, "S1"))])
    assert list(Path(lake.home.root).rglob("*.parquet")) == []


def test_a_folder_that_cannot_be_written_is_a_storage_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("a file where a folder should be")
    with pytest.raises(StorageError, match="podlake doctor"):
        Lake(Home.at(str(tmp_path))).write_rows(COMMIT, [(SPEAKERS, speakers(KEY, "S1"))])


def test_landing_names_follow_the_grain() -> None:
    assert SPEAKERS.landing_key(KEY) == KEY
    assert STAGE_RUNS.landing_key(KEY, "audio") == f"{KEY}.audio"
    assert FAILURES.landing_key(KEY, "audio") == f"{KEY}.audio"
    assert EPISODES.landing_key("show") == "show"
    assert SUBSCRIPTIONS.landing_key() == "all"


def test_every_table_names_its_key_and_describes_its_columns() -> None:
    for table in TABLES.values():
        assert set(table.key) <= set(table.schema.names), table.name
        assert set(table.landing) <= set(table.schema.names), table.name
        assert all(field.metadata[b"description"] for field in table.schema), table.name
        assert not any(table.schema.field(name).nullable for name in table.key), table.name


def test_views_show_open_and_sealed_rows_and_open_outranks_sealed(lake: Lake) -> None:
    other = "show-20260102-00000002"
    sealed = SealedFiles(lake.home, SPEAKERS)
    land_arrow(lake, SPEAKERS, KEY, speakers(KEY, "new"))
    sealed.commit(sealed.write([speakers(KEY, "old", "older"), speakers(other, "S1")]))
    with connect(lake.home) as warehouse:
        rows = warehouse.execute("select episode_id, speaker from speakers order by all").fetchall()
        assert rows == [(KEY, "new"), (other, "S1")]
        land_arrow(lake, SPEAKERS, KEY, speakers(KEY))
        rows = warehouse.execute("select episode_id, speaker from speakers order by all").fetchall()
        assert rows == [(other, "S1")], "a landing without rows hides the sealed ones"
    read = lake.read(SPEAKERS, other)
    assert read is not None
    assert read["speaker"].to_pylist() == ["S1"]


def test_the_warehouse_shows_every_table_of_an_empty_lake_with_its_columns(lake: Lake) -> None:
    with connect(lake.home) as warehouse:
        for table in TABLES.values():
            found = warehouse.execute(f"select * from lake.{table.name}")
            assert [column[0] for column in found.description] == table.schema.names


def test_homes_of_one_process_have_views_of_their_own_lakes(tmp_path: Path) -> None:
    lakes = {name: Lake(Home.at(str(tmp_path / name))) for name in ("one", "it's [two]")}
    for name, lake in lakes.items():
        land_arrow(lake, SPEAKERS, KEY, speakers(KEY, name))
    query = "select speaker from {}speakers union all select speaker from {}lake.speakers"
    for name, lake in lakes.items():
        with connect(lake.home) as warehouse:
            assert warehouse.execute(query.format("", "")).fetchall() == [(name,)] * 2
    for name, other in (("one", "it's"), ("it's [two]", "one")):  # nor the path of the other one
        assert str(tmp_path / other).encode() not in Path(lakes[name].home.path("warehouse.duckdb")).read_bytes()
    with duckdb.connect() as any_duckdb:
        for number, lake in enumerate(lakes.values()):
            path = lake.home.path("warehouse.duckdb").replace("'", "''")
            any_duckdb.execute(f"attach '{path}' as w{number} (read_only)")
        for number, name in enumerate(lakes):
            assert any_duckdb.execute(query.format(f"w{number}.", f"w{number}.")).fetchall() == [(name,)] * 2


LANDS_FOR_EVER = """
import sys
sys.path[:0] = {path!r}
from tests.resources.lake.test_lake import KEY, Home, Lake, SPEAKERS, land_arrow, speakers
lake = Lake(Home.at(sys.argv[1]))
land_arrow(lake, SPEAKERS, KEY, speakers(KEY, *["S"] * 2000, run_id="1"))
print("ready", flush=True)
while True:
    for n in range(1, 4):
        land_arrow(lake, SPEAKERS, KEY, speakers(KEY, *[f"S{{i}}" for i in range(2000 * n)], run_id=str(n)))
"""


def test_kill_9_at_any_moment_leaves_no_torn_file(lake: Lake, tmp_path: Path) -> None:
    code = LANDS_FOR_EVER.format(path=[str(Path(__file__).parents[3])])
    for delay_s in (0.0, 0.003, 0.006, 0.011, 0.017):
        process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05 + delay_s)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        read = lake.read(SPEAKERS, KEY)
        assert read is not None
        assert read.num_rows == 2000 * int(read["run_id"][0].as_py())
    with connect(lake.home) as warehouse:
        assert warehouse.execute("select count(*) > 0 from speakers").fetchone() == (True,)


def test_lost_rows_of_a_commit_are_an_error_that_names_them_and_says_what_to_do(lake: Lake) -> None:
    land_arrow(lake, SPEAKERS, KEY, speakers(KEY, "S1"))
    (path,) = Path(lake.home.path("lake", "speakers", "open")).glob(f"{KEY}@*.parquet")
    path.unlink()
    message = f"{re.escape(str(path))}.*Restore the file.*remove lake/stage_runs/open/diarization/{path.name}"
    with pytest.raises(StorageError, match=message):
        lake.read(SPEAKERS, KEY)
    with pytest.raises(StorageError, match=message):
        lake.read_many(SPEAKERS, [KEY])
    Path(lake.home.path("lake", "stage_runs", "open", "diarization", path.name)).unlink()
    assert lake.read(SPEAKERS, KEY) is None
    assert lake.read_many(SPEAKERS, [KEY]) == {}


def test_columns_can_be_read_alone(lake: Lake) -> None:
    land_arrow(lake, SPEAKERS, KEY, speakers(KEY, "S1", "S2"))
    read = lake.read(SPEAKERS, KEY, columns=["speech_ms", "speaker"])
    assert read is not None
    assert read.to_pydict() == {"speech_ms": [1000, 1000], "speaker": ["S1", "S2"]}


def test_columns_of_many_landings_are_read_together(lake: Lake) -> None:
    other = "show-20260102-00000002"
    land_arrow(lake, SPEAKERS, KEY, speakers(KEY, "S1", "S2"))
    land_arrow(lake, SPEAKERS, other, speakers(other, "S3"))
    commits = open_commits(lake.home, "diarization")
    older = lake.home.path("lake", "speakers", "open", f"{commits[other].name}.parquet")
    pq.write_table(pq.read_table(older).drop_columns(["embedding_model"]), older)  # as an older version wrote it
    columns = ("episode_id", "speaker", "embedding_model")
    keys, expected = (KEY, other, "no-landing"), [(KEY, "S1", None), (KEY, "S2", None), (other, "S3", None)]

    def read() -> list[tuple[str, ...]]:
        rows = lake.read_columns(SPEAKERS, keys, commits, columns)
        assert rows.schema == pa.schema([SPEAKERS.schema.field(name) for name in columns])
        return sorted(tuple(row.values()) for row in rows.to_pylist())

    assert read() == expected
    list(seal(lake, {other}))
    assert read() == expected, "a compaction has moved a landing after the commits were listed"
    commits = open_commits(lake.home, "diarization")
    assert read() == expected
    assert lake.read_columns(SPEAKERS, ["no-landing"], commits, columns).num_rows == 0


class _SealsAfterListing(Home):
    """A home in which a compaction moves the open records once, after their names were listed."""

    def names(self, *folder: str) -> list[str]:
        found = super().names(*folder)
        if folder[-2:] == ("open", FAILED) and found:
            list(seal(Lake(Home.at(self.uri)), {KEY}))
        return found


def test_the_history_is_read_again_if_a_compaction_has_moved_it_meanwhile(lake: Lake) -> None:
    land_failed_try(lake, "diarization", KEY, finished_at=NOW)
    land_stage(lake, "diarization", KEY, {})
    home = _SealsAfterListing(lake.home.uri, lake.home.filesystem, lake.home.root)
    outcomes = Lake(home).history("diarization", KEY)["outcome"].to_pylist()
    assert outcomes == ["failed_permanent", "landed"]
    assert lake.history("diarization", KEY)["outcome"].to_pylist() == outcomes


def test_the_history_has_a_record_once_that_is_sealed_and_still_open(lake: Lake) -> None:
    land_stage(lake, "diarization", KEY, {})
    files = {path: path.read_bytes() for path in Path(lake.home.path("lake")).rglob("open/**/*.parquet")}
    list(seal(lake, {KEY}))
    for path, content in files.items():  # as if the compaction had been killed before it removed them
        path.write_bytes(content)
    assert lake.history("diarization", KEY).num_rows == 1
