"""DuckDB over the lake: a view per table (schema `lake`) and the views of sql/views (schema `main`).

The warehouse is a small file of views and no data, made again when the views change and only ever opened
read-only: any number of readers share it, and none holds up a landing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from io import BytesIO
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from resources.lake.commits import FAILED
from resources.lake.duckdb_files import duckdb_schema, prepare, retry_if_file_vanished
from resources.lake.home import Home
from resources.lake.migration import VERSION_FILE, migrate, write_version
from resources.lake.sealed_files import MANIFEST, MANIFEST_SCHEMA, SealedFiles
from resources.lake.tables import STAGE_RUNS, TABLES, Table
from resources.profiles import view_sql

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SQL = Path(__file__).resolve().parents[2] / "sql"
EMPTY = "_schema.parquet"
"""A file without rows in every folder that a view globs: DuckDB refuses a glob that finds nothing."""


def connect(home: Home) -> DuckDBPyConnection:
    """A read-only connection to the warehouse, which is made where it is missing or out of date."""
    import duckdb

    path = build(home)
    connection = duckdb.connect(str(path), read_only=True)
    prepare(connection, home)
    return connection


def ask(connection: DuckDBPyConnection, sql: str, parameters: object = None) -> list[tuple[Any, ...]]:
    """All rows of the answer; asked again if compaction removed a file meanwhile."""
    return retry_if_file_vanished(lambda: connection.execute(sql, parameters).fetchall())


def build(home: Home) -> Path:
    """Make the warehouse file unless it exists. Safe for several processes at once."""
    import duckdb

    migrate(home)
    ensure_folders(home)
    root, views = root_statement(home), list(view_statements(home))
    version = _hash(root, *views)
    path = _folder(home) / "warehouse.duckdb"
    marker = path.with_suffix(".version")
    if path.exists() and marker.exists() and marker.read_text() == version:
        return path
    fresh = path.with_name(f".warehouse.{os.getpid()}.duckdb")
    fresh.unlink(missing_ok=True)
    made = _made.get(_hash(*views))
    if made is None:
        _write_views(fresh, home, views)
        _made.clear()
        _made[_hash(*views)] = fresh.read_bytes()
    else:
        fresh.write_bytes(made)
    with duckdb.connect(str(fresh)) as connection:
        connection.execute(root)
    fresh.replace(path)
    marker.write_text(version)
    return path


_made: dict[str, bytes] = {}
"""The hash of the views that this process made last → their file, for the next home: to make them takes 0.8 s."""


def _write_views(path: Path, home: Home, views: list[str]) -> None:
    """Make the views on the home's files, and write them without its root, which a file would keep when it is replaced."""
    import duckdb

    with duckdb.connect(":memory:") as connection:
        prepare(connection, home)
        connection.execute(root_statement(home))
        create_views(connection, views)
        connection.execute("create or replace macro main.lake_root() as ''")
        quoted = str(path).replace("'", "''")
        connection.execute(f"attach '{quoted}' as made")
        connection.execute("copy from database memory to made (schema)")
        connection.execute("detach made")


def _hash(*statements: str) -> str:
    import duckdb

    return hashlib.sha256("\n".join([duckdb.__version__, *statements]).encode()).hexdigest()[:12]


def root_statement(home: Home) -> str:
    """The SQL that says where the lake of the views lies."""
    root = home.duckdb_path(home.root).replace("'", "''")
    return f"create or replace macro main.lake_root() as '{root}'"


def view_statements(home: Home) -> Iterator[str]:
    """The SQL that makes the views, in order. Those of homes with the same profiles are the same: `lake_root()` is their root."""
    yield "create schema if not exists lake"
    for table in TABLES.values():
        yield _lake_view(table)
    for table in TABLES.values():
        yield f"create or replace view main.{table.name} as from lake.{table.name}"
    for path in sorted((SQL / "views").glob("*.sql")):
        yield path.read_text()
    yield view_sql(home)


@cache
def _lake_view(table: Table) -> str:
    return Template((SQL / _template(table)).read_text()).substitute(_fill(table))


def create_views(connection: DuckDBPyConnection, statements: list[str]) -> None:
    """Run the statements; a view that needs one further down waits for it."""
    import duckdb

    waiting = statements
    while waiting:
        later = []
        for statement in waiting:
            try:
                connection.execute(statement)
            except duckdb.CatalogException:
                later.append(statement)
        if len(later) == len(waiting):
            connection.execute(later[0])
        waiting = later


def ensure_folders(home: Home) -> None:
    """The files without rows that views need, the first manifests, and the version of a new lake."""
    if not home.exists(*VERSION_FILE):
        write_version(home)
    for table in TABLES.values():
        for folder in _folders(table):
            if not home.exists("lake", table.name, *folder, EMPTY):
                with home.writing("lake", table.name, *folder, EMPTY) as stream:
                    stream.write(_file_without_rows(table))
        if table.is_sealable and not home.names("lake", table.name, MANIFEST):
            SealedFiles(home, table).commit([])


@cache
def _file_without_rows(table: Table) -> bytes:
    stream = BytesIO()
    pq.write_table(table.schema.empty_table(), stream)
    return stream.getvalue()


def _folders(table: Table) -> list[tuple[str, ...]]:
    if table is STAGE_RUNS:
        return [("open", FAILED), ("sealed",)]
    return [("open",), ("sealed",)] if table.is_sealable else [("open",)]


def _template(table: Table) -> str:
    if table is STAGE_RUNS:
        return "lake_runs.sql"
    return "lake_table.sql" if table.is_sealable else "lake_file.sql"


def _fill(table: Table) -> dict[str, str]:
    columns = table.schema.names
    # DuckDB works these out for each file before it opens one, so a filter rules out files by name.
    # `split_part`, a macro, takes twice as long.
    name = "parse_filename(filename, true)"
    if table.is_sealable:
        from_name = {table.landing[0]: f"string_split({name}, '@')[1]"}
    else:
        from_name = {column: f"string_split({name}, '.')[{index + 1}]" for index, column in enumerate(table.landing)}
    return {
        "name": table.name,
        "stage": table.asset,
        "schema": duckdb_schema(table.schema),
        "manifest_schema": duckdb_schema(MANIFEST_SCHEMA),
        "key": table.landing[0] if table.landing else "",
        "columns": ", ".join(columns),
        "open_columns": ", ".join(f"{from_name[name]} as {name}" if name in from_name else name for name in columns),
    }


def _folder(home: Home) -> Path:
    own = hashlib.sha256(home.duckdb_root().encode()).hexdigest()[:16]  # two homes never share a warehouse
    is_beside = home.duckdb_root() == home.root  # DuckDB cannot open a database in a path with a backslash
    folder = Path(home.root) if is_beside else Path.home() / ".cache" / "podlake" / own
    folder.mkdir(parents=True, exist_ok=True)
    return folder
