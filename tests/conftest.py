"""Where Dagster keeps its runs and events in the tests of batches: SQLite, and a real PostgreSQL server."""

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
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from speech.signals import sigterm_kept

os.environ.setdefault("PODLAKE_ENGINE_IDLE_S", "30")  # engines that a test has loaded do not stay for minutes

Storage = dict[str, Any]
"""What dagster.yaml says of it."""

URL = "postgresql+psycopg2://podlake@127.0.0.1:{port}/{database}"


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A Dagster run in a test must not change which signals end later tests' child processes."""
    with sigterm_kept():
        yield


@pytest.fixture(autouse=True)
def _servers_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLAKE_ALLOW_HOSTS", "127.0.0.1")


@pytest.fixture(params=["sqlite", "postgres"])
def storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An empty storage of each kind; PostgreSQL with batches of events, as docs/cluster.md advises."""
    if request.param == "sqlite":
        return {}
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "500")
    port = request.getfixturevalue("postgres")
    database = f"test_{time.monotonic_ns()}"
    _ask(port, f"create database {database} template migrated")
    return _postgres(port, database)


@pytest.fixture
def instance(storage: Storage) -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test(storage) as instance:
        yield instance


@pytest.fixture(scope="session")
def postgres() -> Iterator[int]:
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


def _postgres(port: int, database: str) -> Storage:
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
