"""A PostgreSQL server for tests, with databases that have Dagster's tables."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

URL = "postgresql+psycopg2://podlake@127.0.0.1:{port}/{database}"


@contextmanager
def postgres_server() -> Iterator[int]:
    """The port of a server with a database `migrated` that has Dagster's tables, and nothing in them."""
    pytest.importorskip("dagster_postgres", reason="needs the extra `postgres`")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    binaries = found[-1].parent if found else Path(shutil.which("initdb") or "/").parent
    if not (binaries / "initdb").exists():
        pytest.skip("needs a PostgreSQL server: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="podlake-postgres-") as folder:
        user = _not_root(Path(folder))
        data = Path(folder) / "data"
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "podlake", "--auth=trust", "--no-sync", "--encoding=UTF8"],
            user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        port = _free_port()
        server = subprocess.Popen(
            [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"],
            user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=(Path(folder) / "log").open("wb"),
        )  # fmt: skip
        try:
            _wait_for(server, port, Path(folder) / "log")
            _ask(port, "create database migrated")
            with dg.instance_for_test(_postgres(port, "migrated")):
                pass
            yield port
        finally:
            server.send_signal(signal.SIGINT)  # its "fast shutdown": it waits for nobody
            server.wait(timeout=30)


def postgres_storage(port: int, database: str) -> dict[str, Any]:
    """What dagster.yaml says of a new database with Dagster's tables."""
    _ask(port, f"create database {database} template migrated")
    return _postgres(port, database)


def _postgres(port: int, database: str) -> dict[str, Any]:
    return {"storage": {"postgres": {"postgres_url": URL.format(port=port, database=database)}}}


def _not_root(folder: Path) -> str | None:
    """PostgreSQL does not run as root. Another user gets the folder; None: we are another user already."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = "postgres" if "postgres" in known else "nobody"
    shutil.chown(folder, user)
    return user


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            return _ask(port, "select 1")
        except Exception:  # noqa: BLE001 - not up yet, whatever it says
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def _ask(port: int, statement: str) -> None:
    import psycopg2

    connection = psycopg2.connect(host="127.0.0.1", port=port, user="podlake", dbname="postgres")
    connection.autocommit = True
    try:
        connection.cursor().execute(statement)
    finally:
        connection.close()
