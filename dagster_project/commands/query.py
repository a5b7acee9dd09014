"""`podlake sql`: ask the tables, and get the answer as a table to read, CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from dagster_project.commands.text_table import render
from resources.lake.duckdb_files import is_missing_lake_file, retry_if_file_vanished
from resources.lake.home import Home
from resources.lake.tables import TABLES
from resources.lake.warehouse import SQL, connect

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

FETCHED_AT_ONCE = 4096


class QueryError(Exception):
    """The query cannot be answered; the message says why."""


@dataclass(frozen=True)
class Answer:
    """Names of the columns, and rows that are fetched as they are read."""

    names: Sequence[str]
    rows: Iterator[tuple[Any, ...]]


def to_text(home: Home, text: str, *, limit: int) -> str:
    """The first `limit` rows as a table, and how many rows there are."""
    with connect(home) as connection:
        answer = _ask(connection, text)
        rows = list(islice(answer.rows, limit + 1))
    if len(rows) > limit:
        return f"{render(answer.names, rows[:limit])}\n\nThe first {limit} rows; there are more (--limit)."
    return f"{render(answer.names, rows)}\n\n{len(rows)} {'row' if len(rows) == 1 else 'rows'}"


def to_stream(home: Home, text: str, form: str, stream: IO[str]) -> None:
    """All rows, as `csv` or `json`."""
    with connect(home) as connection:
        _WRITERS[form](_ask(connection, text), stream)


def to_file(home: Home, text: str, form: str, path: Path) -> None:
    """All rows in a file, which appears whole or not at all."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if form == "parquet":
            with connect(home) as connection, _own_errors(connection):
                retry_if_file_vanished(lambda: connection.sql(text).write_parquet(str(fresh), compression="zstd"))
        else:
            with fresh.open("w", newline="", encoding="utf-8") as stream:
                to_stream(home, text, form, stream)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def question(name_or_path: str) -> str:
    """The SQL in a file, or in the one of sql/analysis that has this name."""
    own = SQL / "analysis" / f"{name_or_path.removesuffix('.sql')}.sql"
    for path in (Path(name_or_path), own):
        if path.is_file():
            return path.read_text()
    raise QueryError(f"There is no file {name_or_path}, and no question of that name: podlake sql lists them.")


def contents() -> str:
    """What can be asked: every view, and every question of sql/analysis."""
    views = {name: table.description for name, table in TABLES.items()}
    views |= {path.stem: _first_comment(path) for path in sorted((SQL / "views").glob("*.sql"))}
    questions = [(path.stem, _first_comment(path)) for path in sorted((SQL / "analysis").glob("*.sql"))]
    return "\n".join(
        [
            render(("view", "what it holds"), list(views.items())),
            "",
            render(("question", "podlake sql -f QUESTION answers"), questions),
        ]
    )


def _ask(connection: DuckDBPyConnection, text: str) -> Answer:
    with _own_errors(connection):
        result = retry_if_file_vanished(lambda: connection.execute(text))
    names = [column[0] for column in (result and result.description) or ()]
    if not names:
        raise QueryError('Nothing is asked: give a query, such as "select * from feeds".')
    return Answer(names, _fetched(connection))


def _fetched(connection: DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    """Rows, a few thousand at a time: results stream."""
    while True:
        with _own_errors(connection):
            rows = connection.fetchmany(FETCHED_AT_ONCE)
        if not rows:
            return
        yield from rows


@contextmanager
def _own_errors(connection: DuckDBPyConnection) -> Iterator[None]:
    """DuckDB's message, and for a name that it does not know the names that there are."""
    import duckdb

    try:
        yield
    except duckdb.CatalogException as error:
        views = connection.execute(
            "select view_name from duckdb_views() where not internal and schema_name = 'main' order by 1"
        ).fetchall()
        raise QueryError(f"{error}\nThere are: {', '.join(name for (name,) in views)}.") from error
    except duckdb.Error as error:
        if is_missing_lake_file(error):
            raise QueryError("Landings were being sealed while the query began to read them. Ask again.") from error
        raise QueryError(str(error)) from error


def _write_csv(answer: Answer, stream: IO[str]) -> None:
    """Lists and structs as JSON; NULL as nothing."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(answer.names)
    for row in answer.rows:
        writer.writerow([_json(value) if isinstance(value, list | dict) else _plain(value) for value in row])


def _write_json(answer: Answer, stream: IO[str]) -> None:
    """A list of objects, one in a line."""
    before = "[\n"
    for row in answer.rows:
        stream.write(before + _json({name: _finite(value) for name, value in zip(answer.names, row, strict=True)}))
        before = ",\n"
    stream.write("[]\n" if before == "[\n" else "\n]\n")


_WRITERS: dict[str, Callable[[Answer, IO[str]], None]] = {"csv": _write_csv, "json": _write_json}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: object) -> object:
    """A value that neither CSV nor JSON has a word for."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _finite(value: object) -> object:
    """JSON knows neither NaN nor infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _first_comment(path: Path) -> str:
    with path.open() as stream:
        return stream.readline().removeprefix("-- ").strip()
