"""DuckDB on the files of the lake: types, file systems, and retries when compaction has replaced a file."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import pyarrow as pa

from resources.lake.home import Home
from resources.object_store import duckdb_filesystem

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")

_REGISTERING = Lock()
ATTEMPTS, RETRY_AFTER_S = 20, 0.2
"""Compaction removes a table's files within a second or two."""
_VANISHED = re.compile(
    r"No such file|TProtocolException|don't know what type|outside file|No magic bytes|too small to be a Parquet file"
    r"|a compaction replaced sealed files|No files found that match",
)
"""DuckDB's errors for a file that was removed or replaced during a query."""


@contextmanager
def connect_files(home: Home) -> Iterator[DuckDBPyConnection]:
    """A connection that reads the lake's files. All connections of a process share one database in memory."""
    with _database(os.getpid(), home.uri).cursor() as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


@lru_cache(maxsize=2)
def _database(process: int, uri: str) -> DuckDBPyConnection:  # noqa: ARG001 - a forked process needs its own
    """Opening one takes 12 ms, as long as a look-up."""
    import duckdb

    connection = duckdb.connect()
    prepare(connection, Home.at(uri))
    return connection


def prepare(connection: DuckDBPyConnection, home: Home) -> None:
    """Time zone and, where the lake lies in an object store, its file system."""
    connection.execute("set timezone = 'UTC'")
    if not home.is_local:
        filesystem = duckdb_filesystem(home.filesystem)
        with _REGISTERING:
            # The connections of a process to one database file have its file systems in common.
            if not connection.filesystem_is_registered(filesystem.protocol):
                connection.register_filesystem(filesystem)


def retry_if_file_vanished(query: Callable[[], T]) -> T:
    """The result of the query, repeated if compaction removed a file that it had listed."""
    import duckdb

    for _ in range(ATTEMPTS - 1):
        try:
            return query()
        except (duckdb.Error, FileNotFoundError) as error:
            if not is_missing_lake_file(error):
                raise
            time.sleep(RETRY_AFTER_S)
    return query()


def is_missing_lake_file(error: Exception) -> bool:
    """Whether a file of the lake was removed or replaced while it was read."""
    return bool(_VANISHED.search(str(error)))


def duckdb_schema(schema: pa.Schema) -> str:
    """The argument `schema` of DuckDB's `read_parquet`: columns by name, NULL where an older file lacks one.

    It is a text that is cast: DuckDB needs four times as long for a MAP of so many expressions, whenever a view is used.
    """
    columns = ", ".join(
        f"{field.name}={{name: {field.name}, type: {_quoted(_duckdb_type(field.type))}, default_value: NULL}}"
        for field in schema
    )
    return f"'{{{columns}}}'::{_SCHEMA_TYPE}"


def _duckdb_type(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"{_duckdb_type(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        # Quoted, because a name such as `group` is a word of SQL.
        members = [f'"{field.name}" {_duckdb_type(field.type)}' for field in kind]
        return f"STRUCT({', '.join(members)})"
    return _DUCKDB_TYPES[kind]


def _quoted(text: str) -> str:
    """A text within a text that is cast."""
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'


_SCHEMA_TYPE = "MAP(VARCHAR, STRUCT(name VARCHAR, type VARCHAR, default_value VARCHAR))"
_DUCKDB_TYPES = {
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.bool_(): "BOOLEAN",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
}
