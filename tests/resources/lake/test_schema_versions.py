"""Lakes of every released schema version open, land, compact and answer with the current code."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from resources.lake import warehouse
from resources.lake.commits import inputs_version, new_commit
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.migration import VERSION, VERSION_FILE, migrate, version_of
from resources.lake.tables import ACQUISITIONS, FAILURES, TABLES, WORDS
from resources.lake.tables.speech import WordRow
from resources.lake.tables.table import Float32
from resources.lake.warehouse import ask, connect
from tests.lakes.make import FAILED, LANDED_AGAIN, OPEN, SEALED, land_stages
from tests.landings import INPUTS, seal_settled

LAKES = Path(__file__).parents[2] / "lakes"
VERSIONS = sorted(folder.name for folder in LAKES.iterdir() if (folder / "lake").is_dir())
DROPPED = {"acquisitions": ["attempts"], "stage_runs": ["batch_busy"]}
"""Columns of released versions that are neither read nor written any more."""
RELAXED = {"acquisitions": ("md5",)}
"""Columns that may be NULL now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WiderWordRow(WordRow):
    """The words with a column that no released version has."""

    loudness_db: Annotated[Float32 | None, "Loudness."] = None


WIDER = replace(WORDS, row=WiderWordRow)


@pytest.fixture(params=VERSIONS)
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    shutil.copytree(LAKES / request.param, tmp_path / "home")
    home = Home.at(str(tmp_path / "home"))
    migrate(home)
    return Lake(home)


def words(lake: Lake) -> list[tuple[str, str]]:
    with connect(lake.home) as connection:
        return ask(connection, "select episode_id, word from lake.words order by all")


def test_it_answers_lands_and_compacts(lake: Lake) -> None:
    before = [(SEALED, "first word"), (OPEN, "first word"), (LANDED_AGAIN, "second word")]
    assert words(lake) == before
    assert lake.read(WORDS, SEALED)["word"].to_pylist() == ["first word"]
    assert lake.read_file(FAILURES, f"{FAILED}.audio")["error_class"].to_pylist() == ["http_not_found"]
    land_stages(lake, OPEN, "third")
    after = [(SEALED, "first word"), (OPEN, "third word"), (LANDED_AGAIN, "second word")]
    assert words(lake) == after
    done = seal_settled(lake)
    assert done["words"].landings == 2
    assert words(lake) == after
    with connect(lake.home) as connection:
        new = {
            "voices",
            "speaker_links",
            "check_results",
            "unchanged_polls",
            "removed_audio",
            "same_audio",
            "repeated_audio",
        }
        new |= {
            name for name, table in TABLES.items() if table.landing in (("podcast_id",), ("lesson_id",), ("video_id",))
        }
        for name in TABLES.keys() - new:
            assert ask(connection, f"select count(*) from lake.{name}") != [(0,)]


@pytest.mark.parametrize("version", VERSIONS)
def test_released_columns_keep_type_and_order_and_new_ones_may_be_null(version: str) -> None:
    for name, table in TABLES.items():
        if not (LAKES / version / "lake" / name).is_dir():
            continue  # the table is newer
        paths = [*(LAKES / version / "lake" / name).glob("[os]*/**/[!._]*.parquet")]
        released = [field for field in pq.read_schema(paths[0]) if field.name not in DROPPED.get(name, ())]
        relaxed = [field.with_nullable(True) if field.name in RELAXED.get(name, ()) else field for field in released]
        assert list(table.schema)[: len(released)] == relaxed, name
        assert all(field.nullable for field in list(table.schema)[len(released) :]), name


def test_a_dropped_column_of_an_old_lake_is_ignored(lake: Lake) -> None:
    (row,) = lake.rows(ACQUISITIONS, SEALED)
    assert (row.run_id, row.audio_sha256) == ("first", "a" * 64)
    with connect(lake.home) as connection, pytest.raises(duckdb.BinderException):
        ask(connection, "select attempts from acquisitions")


def test_a_new_column_is_one_more_field_for_an_old_lake(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(warehouse.TABLES, "words", WIDER)
    for key in (SEALED, OPEN):
        assert lake.read(WIDER, key)["loudness_db"].to_pylist() == [None]
    rows = lake.read(WIDER, OPEN)
    rows = rows.set_column(rows.num_columns - 1, WIDER.schema.field("loudness_db"), pa.array([-20.0], pa.float32()))
    old = lake.current("transcript", [OPEN])[OPEN]
    new = new_commit(OPEN, "transcript", data="d" * 10, inputs=old.inputs_version, engine=old.engine_version, after=old)
    lake.write_rows(new, [(WIDER, rows)])
    lake.commit(replace(lake.runs("transcript", [OPEN])[OPEN], stamp=new.stamp))
    with connect(lake.home) as connection:
        found = ask(connection, "select episode_id, loudness_db from lake.words order by all")
    assert found == [(SEALED, None), (OPEN, -20.0), (LANDED_AGAIN, None)]


def test_a_migrated_lake_says_so_and_what_was_current_stays_current(lake: Lake) -> None:
    assert version_of(lake.home) == VERSION
    for stage, names in INPUTS.items():
        if stage == "utterances":
            continue  # the stage is newer
        inputs = [name for name in names if name not in ("utterances", "publisher_transcript")]
        for key in (OPEN, LANDED_AGAIN):
            versions = {name: lake.current(name, [key])[key].data_version for name in inputs}
            assert lake.current(stage, [key])[key].inputs_version == inputs_version(versions), (stage, key)
    assert lake.history("audio", FAILED)["outcome"].to_pylist() == ["failed_permanent"]


def test_a_lake_of_a_later_version_is_refused(lake: Lake) -> None:
    with lake.home.writing(*VERSION_FILE) as stream:
        stream.write(b'{"version": 99}')
    with pytest.raises(ValueError, match="Upgrade podlake"):
        connect(lake.home)


def test_two_object_stores_do_not_share_a_warehouse() -> None:
    one, other = (Home(uri, fs.SubTreeFileSystem("/", fs.LocalFileSystem()), "x") for uri in ("s3://a/x", "s3://b/x"))
    assert warehouse._folder(one) != warehouse._folder(other)
