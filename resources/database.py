"""The database of what changes in place: worker jobs, keys, requests. SQLite, or the PostgreSQL of the Dagster instance.

Tables belong to the modules that use them. Each module gives its `MetaData` to `open_database`, which creates them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

BUSY_WAIT_S = 30.0
"""How long a SQLite connection waits for another one's transaction."""
_CREATE_TRIES = 5


def open_database(url: str, *schemas: sa.MetaData) -> sa.Engine:
    """The database at a SQLAlchemy URL, with the tables of the schemas. One engine per process and URL.

    Several processes may open it at once.
    """
    engine = _engine(url)
    for schema in schemas:
        _create(engine, schema)
    return engine


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that writes. On SQLite it has the write lock from its begin, so that what it reads stays true."""
    with engine.connect() as connection:
        connection.execution_options(podlake_writes=True)
        with connection.begin():
            yield connection


@contextmanager
def writing_alone(engine: sa.Engine, name: str) -> Iterator[sa.Connection]:
    """A transaction that writes, and that no other one of this name runs beside."""
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":  # SQLite has one writer anyway
            number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
        yield connection


def for_update(query: sa.Select[Any]) -> sa.Select[Any]:
    """The query locks its rows and leaves out those that others have locked. SQLite has one writer at a time anyway."""
    return query.with_for_update(skip_locked=True)


@lru_cache(maxsize=8)
def _engine(url: str) -> sa.Engine:
    if not url.startswith("sqlite"):
        return sa.create_engine(url, pool_pre_ping=True)
    if file := sa.make_url(url).database:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_WAIT_S, "isolation_level": None})
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _: object) -> None:
    """Readers do not wait for the writer. A commit survives the process, not always a power failure."""
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = normal")


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("podlake_writes")
    connection.exec_driver_sql("begin immediate" if writes else "begin")


def _create(engine: sa.Engine, schema: sa.MetaData) -> None:
    """Create what is missing. Another process may do the same at this moment."""
    for attempt in range(_CREATE_TRIES):
        try:
            with writing(engine) as connection:
                schema.create_all(connection)
        except (IntegrityError, OperationalError, ProgrammingError):
            if attempt == _CREATE_TRIES - 1:
                raise
            time.sleep(0.1 * 2**attempt)
        else:
            return
