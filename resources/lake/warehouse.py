"""DuckDB over the lake: a view per table (schema `lake`) and the views of sql/views (schema `main`).

The warehouse is a small file of views and no data, made again when the views change and only ever opened
read-only: any number of readers share it, and none holds up a landing.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from resources.lake.home import Home
from resources.lake.tables import TABLES, Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")

SQL = Path(__file__).resolve().parents[2] / "sql"
TIMES_ASKED, ASKED_AFTER_S = 20, 0.2
"""A sealing takes a table's files away within a second or two."""
EMPTY = "_schema.parquet"
"""A file without rows in every folder that a view globs: DuckDB refuses a glob that finds nothing."""


def connect(home: Home) -> DuckDBPyConnection:
    """A read-only connection to the warehouse, which is made where it is missing or out of date."""
    import duckdb

    path = build(home)
    connection = duckdb.connect(str(path), read_only=True)
    _prepare(connection, home)
    return connection


def ask(connection: DuckDBPyConnection, sql: str, parameters: object = None) -> list[tuple[Any, ...]]:
    """All rows of the answer, asked for `retry_if_file_vanished`."""
    return retry_if_file_vanished(lambda: connection.execute(sql, parameters).fetchall())


def retry_if_file_vanished(query: Callable[[], T]) -> T:
    """What the query returns. It is asked again where a sealing took a file away that it had listed already."""
    import duckdb

    for _ in range(TIMES_ASKED - 1):
        try:
            return query()
        except duckdb.Error as error:
            if not is_missing_lake_file(error):
                raise
            time.sleep(ASKED_AFTER_S)
    return query()


def is_missing_lake_file(error: Exception) -> bool:
    """Whether a file of the lake was not there any more: a landing's that is sealed now, or a sealed one of which every
    row has landed anew.
    """
    return bool(re.search(r"/(open|sealed)/.+\.parquet", str(error))) and "No such file" in str(error)


def build(home: Home) -> Path:
    """Make the warehouse file unless it stands already. Safe for several processes at once."""
    import duckdb

    ensure_folders(home)
    statements = list(view_statements(home))
    version = hashlib.sha256("\n".join([duckdb.__version__, *statements]).encode()).hexdigest()[:12]
    path = _folder(home) / "warehouse.duckdb"
    marker = path.with_suffix(".version")
    if path.exists() and marker.exists() and marker.read_text() == version:
        return path
    fresh = path.with_name(f".warehouse.{os.getpid()}.duckdb")
    fresh.unlink(missing_ok=True)
    with duckdb.connect(str(fresh)) as connection:
        _prepare(connection, home)
        create_views(connection, statements)
    fresh.replace(path)
    marker.write_text(version)
    return path


def view_statements(home: Home) -> Iterator[str]:
    """The SQL that makes the warehouse, in order."""
    template = Template((SQL / "lake_table.sql").read_text())
    root = home.root if home.is_local else home.uri
    yield "create schema if not exists lake"
    for table in TABLES.values():
        yield template.substitute(_fill(table, root.replace("'", "''")))
    for table in TABLES.values():
        yield f"create or replace view main.{table.name} as from lake.{table.name}"
    for path in sorted((SQL / "views").glob("*.sql")):
        yield path.read_text()


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
    """The empty files that views need."""
    for table in TABLES.values():
        for folder in ("open", "sealed"):
            if not home.exists("lake", table.name, folder, EMPTY):
                with home.writing("lake", table.name, folder, EMPTY) as stream:
                    pq.write_table(table.schema.empty_table(), stream)


def _fill(table: Table, root: str) -> dict[str, str]:
    columns = table.schema.names
    # DuckDB works these out for each file that there is before it opens one: `split_part`, a macro, takes twice as long.
    landing = "parse_filename(filename, true)"
    from_name = {name: f"string_split({landing}, '.')[{index + 1}]" for index, name in enumerate(table.landing)}
    if len(from_name) == 1:
        from_name = dict.fromkeys(from_name, landing)
    return {
        "name": table.name,
        "schema": duckdb_schema(table),
        "landing": ", ".join(table.landing) or "none",
        "root": root,
        "columns": ", ".join(columns),
        "open_columns": ", ".join(f"{from_name[name]} as {name}" if name in from_name else name for name in columns),
        "sealed_key": " || '.' || ".join(table.landing) or "'all'",
    }


def duckdb_schema(table: Table) -> str:
    """The argument `schema` of DuckDB's `read_parquet`: columns by name, NULL where an older file lacks one."""
    columns = ", ".join(
        f"'{field.name}': {{name: '{field.name}', type: '{_duckdb_type(field.type)}', default_value: NULL}}"
        for field in table.schema
    )
    return f"MAP {{{columns}}}"


def _duckdb_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{_duckdb_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return f"STRUCT({', '.join(f'{field.name} {_duckdb_type(field.type)}' for field in kind)})"
    return _DUCKDB_TYPES[kind]


_DUCKDB_TYPES = {
    pa.string(): "VARCHAR",
    pa.bool_(): "BOOLEAN",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
}


def _prepare(connection: DuckDBPyConnection, home: Home) -> None:
    connection.execute("set timezone = 'UTC'")
    if not home.is_local:
        from fsspec.implementations.arrow import ArrowFSWrapper

        connection.register_filesystem(ArrowFSWrapper(home.filesystem))


def _folder(home: Home) -> Path:
    folder = Path(home.root) if home.is_local else Path.home() / ".cache" / "podlake"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
