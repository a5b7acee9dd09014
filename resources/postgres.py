"""A private PostgreSQL cluster in a folder, made with the programs of the system's package."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speech.errors import PodlakeError

DATABASE = "podlake"
_START_S = 60.0
_STOP_S = 30.0


class PostgresMissing(PodlakeError):
    """A program of PostgreSQL is not installed, or the server does not start."""


def program(name: str, version: str | None = None) -> str:
    """The path of one of PostgreSQL's programs, of this major version or the newest. Raises `PostgresMissing`."""
    found = sorted(
        Path("/usr/lib/postgresql").glob(f"{version or '*'}/bin/{name}"), key=lambda path: int(path.parts[-3])
    )
    if path := (str(found[-1]) if found else shutil.which(name)):
        return path
    wanted = f" of version {version}" if version else ""
    raise PostgresMissing(f"PostgreSQL's {name}{wanted} is missing: sudo apt-get install postgresql")


@contextmanager
def cluster(folder: Path, log: Path) -> Iterator[str]:
    """The SQLAlchemy URL of a database in a cluster that runs during the block, and is made if the folder is empty.

    The server listens on a Unix socket in a folder that only its user can enter, so that it needs no password.
    Raises `PostgresMissing`.
    """
    user = _not_root()
    data = folder / "data"
    folder.mkdir(parents=True, exist_ok=True)
    if user:
        shutil.chown(folder, user)
    if not (data / "PG_VERSION").exists():
        _initialize(data, folder, user)
    version = (data / "PG_VERSION").read_text().strip()
    with tempfile.TemporaryDirectory(prefix="podlake-") as socket:  # the path of a socket has 107 bytes at most
        if user:
            shutil.chown(socket, user)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as lines:
            server = subprocess.Popen(
                [program("postgres", version), "-D", data, "-c", "listen_addresses=", "-k", socket],
                user=user, cwd=folder, stdout=lines, stderr=lines, start_new_session=True,
            )  # fmt: skip
        try:
            url = f"postgresql+psycopg2://{DATABASE}@/{{name}}?host={socket}"
            _wait_until_it_answers(server, url.format(name="postgres"), log)
            yield url.format(name=DATABASE)
        finally:
            server.send_signal(signal.SIGINT)  # "fast shutdown": it waits for nobody
            server.wait(timeout=_STOP_S)


def _initialize(data: Path, folder: Path, user: str | None) -> None:
    """In a folder of another name, so that an interrupted initdb is no cluster."""
    new = data.with_name("new")
    shutil.rmtree(new, ignore_errors=True)
    command = [str(program("initdb")), "-D", str(new), "-U", DATABASE, "--auth=trust", "--encoding=UTF8", "--locale=C"]
    done = subprocess.run(command, user=user, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        hint = (
            f" As root, PostgreSQL runs as the user {user}, who has to reach {folder}; or use another user."
            if user
            else ""
        )
        raise PostgresMissing(f"initdb failed in {folder}: {done.stderr.strip()[-500:]}{hint}")
    new.rename(data)


def _not_root() -> str | None:
    """PostgreSQL does not run as root: the user of the package, which then needs access to the folder."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _wait_until_it_answers(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Wait for the server, and create the database."""
    import sqlalchemy as sa

    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    deadline = time.monotonic() + _START_S
    try:
        while True:
            try:
                with engine.connect() as connection:
                    found = connection.execute(
                        sa.text("select 1 from pg_database where datname = :name"), {"name": DATABASE}
                    )
                    if found.first() is None:
                        connection.execute(sa.text(f"create database {DATABASE}"))
                    return
            except sa.exc.OperationalError as error:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise PostgresMissing(f"PostgreSQL does not start: see {log}. {error.orig}") from error
                time.sleep(0.1)
    finally:
        engine.dispose()
