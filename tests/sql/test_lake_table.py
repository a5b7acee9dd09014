"""A table is what has landed and what is sealed, each episode once, whatever moves while DuckDB lists the files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from fsspec.implementations.local import LocalFileSystem

from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import WORDS
from resources.lake.warehouse import ask, build, root_statement, view_statements
from tests.landings import land as land_rows
from tests.landings import land_last, open_keys, seal_settled

SEALED, OPEN = ["show-20260101-00000001", "show-20260101-00000002"], ["show-20260101-00000003"]
LISTINGS = 6
"""Of a query over one table: the commits; the open files; the commits; the manifests; the sealed files; the manifests."""


class Watched(LocalFileSystem):
    """The local files, to DuckDB; after each listing something may happen to them."""

    protocol = "watched"
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.listings: list[str] = []
        self.after: dict[int, Callable[[], object]] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("watched://")))

    def glob(self, path: str, **options: object) -> list[str]:
        found = super().glob(path, **options)
        self.listings.append(path)
        self.after.get(len(self.listings), lambda: None)()
        return [f"watched://{name}" for name in found]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    made = Lake(Home.at(str(tmp_path / "home")))
    for episode_id in SEALED:
        land(made, episode_id, "first")
    seal_now(made)
    for episode_id in OPEN:
        land(made, episode_id, "first")
    build(made.home)
    assert (open_keys(made, WORDS), len(SealedFiles(made.home, WORDS).paths())) == (OPEN, 1)
    return made


@pytest.fixture
def watched(lake: Lake) -> Iterator[tuple[duckdb.DuckDBPyConnection, Watched]]:
    files, root = Watched(), lake.home.root
    with duckdb.connect() as connection:
        connection.register_filesystem(files)
        connection.execute("create schema lake")
        connection.execute(root_statement(lake.home).replace(root, f"watched://{root}"))
        connection.execute(next(text for text in view_statements(lake.home) if "view lake.words " in text))
        files.listings.clear()
        yield connection, files


def land(lake: Lake, episode_id: str, word: str) -> None:
    """The words of the episode, and what makes it complete."""
    land_rows(lake, WORDS, episode_id, [{"word": word}])
    land_last(lake, episode_id)


def seal_now(lake: Lake) -> None:
    seal_settled(lake)


def seen(connection: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    return ask(connection, "select episode_id, word from lake.words order by all")


def test_files_are_listed_in_the_order_that_makes_every_row_seen_once(watched) -> None:
    connection, files = watched
    assert seen(connection) == [(episode_id, "first") for episode_id in SEALED + OPEN]
    folders = [Path(path).parent.name for path in files.listings]
    assert folders == ["transcript", "open", "transcript", "manifest", "sealed", "manifest"]
    assert len(files.listings) == LISTINGS


@pytest.mark.parametrize("listing", range(1, LISTINGS + 1))
def test_a_sealed_episode_that_lands_anew_meanwhile_is_seen_once(lake, watched, listing: int) -> None:
    connection, files = watched
    files.after[listing] = lambda: land(lake, SEALED[0], "second")
    found = seen(connection)
    assert [episode_id for episode_id, _ in found] == SEALED + OPEN
    assert {word for _, word in found} <= {"first", "second"}


@pytest.mark.parametrize("listing", range(1, LISTINGS + 1))
def test_an_episode_that_is_sealed_meanwhile_is_seen_once(lake, watched, listing: int) -> None:
    connection, files = watched
    files.after[listing] = lambda: seal_now(lake)
    assert seen(connection) == [(episode_id, "first") for episode_id in SEALED + OPEN]


@pytest.mark.parametrize("listing", range(1, LISTINGS + 1))
def test_a_sealed_file_of_which_every_row_is_sealed_anew_meanwhile_is_not_missed(lake, watched, listing: int) -> None:
    connection, files = watched
    (before,) = SealedFiles(lake.home, WORDS).paths()

    def replace_it() -> None:
        for episode_id in SEALED:
            land(lake, episode_id, "second")
        seal_now(lake)

    files.after[listing] = replace_it
    found = ask(connection, f"select episode_id from lake.words where episode_id = '{SEALED[0]}'")  # opens no open file
    assert found == [(SEALED[0],)]
    assert before not in SealedFiles(lake.home, WORDS).paths()
