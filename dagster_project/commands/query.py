"""`podlake sql`: answer a query as a table to read, or as CSV, JSON or Parquet."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from dagster_project.commands.terminal import render
from resources.lake.duckdb_files import is_missing_lake_file, retry_if_file_vanished
from resources.lake.home import Home
from resources.lake.tables import TABLES
from resources.lake.warehouse import SQL, connect

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation


T = TypeVar("T")


class QueryError(Exception):
    """The query cannot be answered; the message says why."""


def to_text(home: Home, text: str, *, limit: int) -> str:
    """The first `limit` rows as a table, and how many rows there are."""

    def first_rows(answer: DuckDBPyRelation) -> str:
        rows = answer.limit(limit + 1).fetchall()
        table = render(answer.columns, rows[:limit])
        if len(rows) > limit:
            return f"{table}\n\nThe first {limit} rows; there are more (--limit)."
        return f"{table}\n\n{len(rows)} {'row' if len(rows) == 1 else 'rows'}"

    return _answered(home, text, first_rows)


def to_stream(home: Home, text: str, form: str, stream: IO[bytes]) -> None:
    """All rows as `csv`, `json` or `parquet`; nothing if the query fails."""
    with tempfile.TemporaryDirectory(prefix="podlake-") as folder:
        path = Path(folder) / "answer"
        to_file(home, text, form, path)
        with path.open("rb") as written:
            shutil.copyfileobj(written, stream)


def to_file(home: Home, text: str, form: str, path: Path) -> None:
    """All rows in a file, which is replaced only when all are written."""
    if not path.parent.is_dir():
        raise QueryError(f"There is no folder {path.parent} to write {path.name} to.")
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _answered(home, text, lambda answer: _copy(answer, form, str(fresh)))
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def _copy(answer: DuckDBPyRelation, form: str, path: str) -> None:
    """JSON has neither NaN nor infinity: they become NULL there."""
    columns = "*"
    if form == "json":
        columns = ", ".join(
            f"if(isfinite(#{index}), #{index}, null) as {_quoted(name)}" if kind in ("FLOAT", "DOUBLE") else f"#{index}"
            for index, (name, kind) in enumerate(zip(answer.columns, map(str, answer.types), strict=True), 1)
        )
    place = path.replace("'", "''")
    answer.query("answer", f"copy (select {columns} from answer) to '{place}' ({_COPY_OPTIONS[form]})")


_COPY_OPTIONS = {
    "csv": "format csv, header true",
    "json": "format json, array true",
    "parquet": "format parquet, compression zstd",
}


def question(name_or_path: str) -> str:
    """The SQL of a file, or of the query with this name in sql/analysis."""
    own = SQL / "analysis" / f"{name_or_path.removesuffix('.sql')}.sql"
    for path in (Path(name_or_path), own):
        if path.is_file():
            return path.read_text()
    raise QueryError(f"There is no file and no question {name_or_path}. `podlake sql` lists the questions.")


def contents() -> str:
    """Every view and every question of sql/analysis, with its description."""
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


def _answered(home: Home, text: str, use: Callable[[DuckDBPyRelation], T]) -> T:
    """What `use` makes of the answer. Both are repeated if compaction removed a file meanwhile."""

    def attempt() -> T:
        answer = connection.sql(text)
        if answer is None:
            raise QueryError('The query returns no table. Give one such as "select * from feeds".')
        return use(answer)

    with connect(home) as connection, _own_errors(connection):
        return retry_if_file_vanished(attempt)


@contextmanager
def _own_errors(connection: DuckDBPyConnection) -> Iterator[None]:
    """DuckDB's message; for an unknown name also the views that exist."""
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
            raise QueryError("Compaction replaced files while the query read them. Run the query again.") from error
        raise QueryError(str(error)) from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _first_comment(path: Path) -> str:
    with path.open() as stream:
        return stream.readline().removeprefix("-- ").strip()
