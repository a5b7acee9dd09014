"""Copies of databases while they are in use: SQLite by its backup interface, PostgreSQL by pg_dump."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from resources.backup.store import BackupError
from resources.postgres import program

_BUSY_WAIT_S = 60


def copy_sqlite(source: Path, target: Path) -> None:
    """A consistent copy of a SQLite database with all committed rows, also while others write."""
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=_BUSY_WAIT_S)) as opened,
        closing(sqlite3.connect(target)) as new,
    ):
        opened.backup(new)
        new.execute("pragma journal_mode = delete")


def is_quiet(source: Path) -> bool:
    """Whether all that is committed is in the file itself, so that size and time say whether it has changed."""
    log = source.with_name(f"{source.name}-wal")
    return not log.exists() or log.stat().st_size == 0


def dump_postgres(url: str, target: Path) -> None:
    """One state of a PostgreSQL database. Raises `BackupError`."""
    _run("pg_dump", url, "--format=custom", "--no-owner", f"--file={target}")


def restore_postgres(url: str, source: Path) -> None:
    """Replace the tables of a database by those of a dump, in one transaction. Raises `BackupError`."""
    options = ["--clean", "--if-exists", "--no-owner", "--single-transaction", "--exit-on-error"]
    _run("pg_restore", url, *options, str(source))


def has_runs(url: str) -> bool:
    """Whether a Dagster storage in PostgreSQL has runs."""
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            if not sa.inspect(connection).has_table("runs"):
                return False
            return connection.execute(sa.text("select exists (select 1 from runs)")).scalar_one() is True
    finally:
        engine.dispose()


def filled_tables(url: str, names: Collection[str] | None = None) -> list[str]:
    """The tables of a database that have rows, by name; with `names`, only of these. None of a database that is not there."""
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return []
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            found = [name for name in sa.inspect(connection).get_table_names() if names is None or name in names]
            rows = {name: sa.select(sa.exists().select_from(sa.table(name))) for name in sorted(found)}
            return [name for name, query in rows.items() if connection.execute(query).scalar_one()]
    finally:
        engine.dispose()


def _run(name: str, url: str, *options: str) -> None:
    place = sa.make_url(url)
    values: dict[str, object] = {
        "PGHOST": place.host,
        "PGPORT": place.port,
        "PGUSER": place.username,
        "PGPASSWORD": place.password,
    }
    if "host" in place.query:  # the folder of a socket
        values["PGHOST"] = str(place.query["host"])
    environment = os.environ | {key: str(value) for key, value in values.items() if value}
    command = [program(name), *options[:-1], f"--dbname={place.database}", options[-1]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BackupError(f"{name} failed: {done.stderr.strip()[-500:]}")
