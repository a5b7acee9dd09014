"""The engine processes of `podlake run` end when they have nothing to do, and with their owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from dagster_project.batch_loop import CPU_STAGES, Work
from dagster_project.engine_process import EngineProcess
from dagster_project.instance import open_instance
from dagster_project.run import _own_stages
from dagster_project.settings import ROOT, Settings
from resources.lake.home import Home
from resources.lake.lake import Lake

OWNER = """
import sys
from dagster_project.engine_process import EngineProcess
process = EngineProcess("transcript")
print(process._process.pid, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", "")  # put back after what `open_instance` sets
    monkeypatch.delenv("DAGSTER_HOME")
    with open_instance(Settings()) as opened:
        yield opened


def test_its_owner_takes_its_stage_once_it_has_exited(instance: dg.DagsterInstance) -> None:
    work = Work(instance, Settings(), Lake(Home.at(Settings().home)), [])
    process = EngineProcess("transcript")
    assert _own_stages(instance, [process]) == CPU_STAGES
    process.begin(work)
    deadline = time.monotonic() + 120
    while _own_stages(instance, [process]) != CPU_STAGES | {"transcript"}:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.close()


@pytest.mark.usefixtures("instance")
def test_it_exits_when_it_is_closed_without_work() -> None:
    process = EngineProcess("transcript")
    process.close()
    assert process._process.returncode == 0


@pytest.mark.usefixtures("instance")
def test_it_exits_when_its_owner_is_killed() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout
        engines = psutil.Process(int(owner.stdout.readline()))
        os.kill(owner.pid, signal.SIGKILL)
    engines.wait(timeout=120)
