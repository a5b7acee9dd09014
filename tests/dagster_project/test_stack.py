"""`podlake stack` with a real PostgreSQL cluster: it serves, keeps its data, and leaves no process behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from dagster_project.commands.stack import _programs, login_warning
from dagster_project.settings import ROOT, Settings
from resources.accounts import Accounts
from resources.postgres import PostgresMissing, program

PATIENCE_S = 300


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where PostgreSQL's own user can enter; the folders of pytest are closed to it."""
    try:
        program("initdb")
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    pytest.importorskip("fastapi", reason="needs the extra `service`")
    made = Path(tempfile.mkdtemp(prefix="podlake-stack-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def test_everything_runs_until_ctrl_c_and_finds_its_data_again(folder: Path) -> None:
    for expected in (0, 1):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        stack = _start(folder, port)
        try:
            _wait_for(stack, f"http://127.0.0.1:{port}/")
            variables = _exports(stack, folder)
            assert variables["DAGSTER_POSTGRES_URL"].startswith("postgresql+psycopg2://")
            assert _runs(variables, folder) == expected
            done = _podlake(variables, folder, "-c", _MATERIALIZE)
            assert done.returncode == 0, done.stderr
            children = psutil.Process(stack.pid).children(recursive=True)
            names = " ".join(" ".join(child.cmdline()) for child in children if child.is_running())
            assert all(part in names for part in ("dagster._daemon", "gateway", "listen_addresses="))
        finally:
            stack.send_signal(signal.SIGINT)
            stack.wait(PATIENCE_S)
        assert stack.returncode == 0
        psutil.wait_procs(children, timeout=30)
        assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
        assert not list((folder / "tmp").glob("podlake-*")), "the folder of the socket stays"


def test_a_process_that_exits_ends_everything(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stack = _start(folder, taken.getsockname()[1])
        assert stack.wait(PATIENCE_S) == 1
    assert "service exited" in (folder / "out").read_text()


_MATERIALIZE = """
from dagster_project.in_process import materialize
from dagster_project.instance import open_instance
from dagster_project.settings import Settings
with open_instance(Settings()) as instance:
    materialize(instance, "feeds")
"""
_COUNT = """
from dagster import DagsterInstance
with DagsterInstance.get() as instance:
    assert "Postgres" in type(instance.run_storage).__name__
    print(instance.get_runs_count())
"""


def _environment(folder: Path) -> dict[str, str]:
    (folder / "tmp").mkdir(exist_ok=True, mode=0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DAGSTER", "PODLAKE", "ADMIN"))}
    return {**kept, "PODLAKE_HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "PYTHONPATH": str(ROOT)}


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    with (folder / "out").open("wb") as out:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "dagster_project.cli", "stack", "--port", str(port)],
            cwd=ROOT, env=_environment(folder), stdout=out, stderr=out,
        )  # fmt: skip


def _wait_for(stack: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return urllib.request.urlopen(url, timeout=10).close()
        except urllib.error.HTTPError:  # it answers
            return None
        except OSError:
            assert stack.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.5)


def _exports(stack: subprocess.Popen[bytes], folder: Path) -> dict[str, str]:
    lines = (folder / "out").read_text().splitlines()
    exports = [line.removeprefix("  export ") for line in lines if line.startswith("  export ")]
    return {name: value.strip("'") for name, _, value in (line.partition("=") for line in exports)}


def _runs(variables: dict[str, str], folder: Path) -> int:
    done = _podlake(variables, folder, "-c", _COUNT)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def _podlake(variables: dict[str, str], folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = _environment(folder) | variables
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def test_a_stack_with_a_worker_and_without_users_says_how_to_add_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ADMIN_USERNAME", raising=False)
    url = f"sqlite:///{tmp_path}/service.db"
    settings = Settings(home=str(tmp_path), engine_host="workers", database_url=url, _env_file=None)
    warning = login_warning(settings)
    assert warning is not None
    assert warning.startswith("NO USER CAN LOG IN YET")
    assert warning.endswith("podlake users add NAME --role admin")
    assert login_warning(settings.model_copy(update={"engine_host": "local"})) is None
    Accounts.at(url).set_user("ana", "admin", "correct horse")
    assert login_warning(settings) is None


def test_a_worker_gets_a_new_key_and_those_of_earlier_starts_are_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODLAKE_WORKER_TOKEN", "")
    settings = Settings(
        home=str(tmp_path), engine_host="workers", database_url=f"sqlite:///{tmp_path}/service.db", _env_file=None
    )
    accounts = Accounts.at(settings.database_url)
    other = accounts.add_key("gpu-1", "operator", ["work"])
    tokens = []
    for host, url in (("0.0.0.0", "http://127.0.0.1:8000"), ("::1", "http://[::1]:8000")):
        programs = dict(_programs(settings, host, 8000))
        assert programs["worker"][-1] == url
        tokens.append(os.environ["PODLAKE_WORKER_TOKEN"])
    assert accounts.key_of(tokens[0]) is None
    assert accounts.key_of(tokens[1]).scopes == ("work",)
    assert accounts.key_of(other) is not None
