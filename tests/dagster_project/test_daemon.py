"""The real daemon, its real launcher, and runs that automation asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from assets.stages import STAGES
from dagster_project.backfills import request_backfill
from dagster_project.definitions import build
from dagster_project.instance import open_instance
from dagster_project.settings import ROOT, Settings
from pipeline.records import Run
from pipeline.stage import Failure
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import ACQUISITIONS
from speech.errors import NotFound
from tests.landings import land_outcome, open_keys

SOUND = ROOT / "demo" / "audio" / "the-sound-of-rain.flac"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that it is put back: opening the instance sets it
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("JOB_TIMEOUT_HOURS", "0.5")
    return Settings()


def test_the_daemon_runs_what_the_sensor_and_a_retry_ask_for(settings: Settings, tmp_path: Path) -> None:
    lake = Lake(Home.at(settings.home))
    with open_instance(settings) as instance:
        assert "max_runtime_seconds: 1800 " in (Path(settings.home) / "dagster" / "dagster.yaml").read_text()
        new, failed = _two_episodes(instance, settings, lake)
        backfill_id = request_backfill(instance, settings, {"audio": [failed]}, "a retry")
        with _daemon(tmp_path / "daemon.log"):
            _until(lambda: sorted(open_keys(lake, ACQUISITIONS)) == sorted([new, failed]))
            _until(lambda: all(run.is_finished for run in _runs(instance, "audio")))
        runs = _runs(instance, "audio")
    assert sorted(run.tags.get("dagster/backfill", "") for run in runs) == ["", backfill_id]
    assert {run.status for run in runs} == {dg.DagsterRunStatus.SUCCESS}
    assert {run.tags["dagster/max_runtime"] for run in runs} == {"1800"}


def _two_episodes(instance: dg.DagsterInstance, settings: Settings, lake: Lake) -> tuple[str, str]:
    """One that nobody has tried, and one whose file was missing when it was tried."""
    catalogue = Catalogue(lake)
    for n in (1, 2):
        target = Path(settings.home) / f"{n}.flac"
        target.write_bytes(SOUND.read_bytes())
        catalogue.add_single(str(target), f"Rain {n}", "en")
    job = build(settings).resolve_implicit_global_asset_job_def()
    for asset, partition in (("feeds", None), ("episodes", "singles")):
        assert job.execute_in_process(
            instance=instance, asset_selection=[dg.AssetKey(asset)], partition_key=partition
        ).success
    new, failed = instance.get_dynamic_partitions("episodes")
    run = Run("run", "run", datetime.now(UTC), 1)
    land_outcome(lake, STAGES["audio"], Failure(failed, NotFound("no such file")), run)
    return new, failed


@contextmanager
def _daemon(log: Path) -> Iterator[None]:
    """Dagster's daemon, with the sensor `episode_flow` switched on."""
    dagster = [sys.executable, "-m", "dagster"]
    where = ["-w", str(ROOT / "workspace.yaml")]
    subprocess.run([*dagster, "sensor", "start", "episode_flow", *where], cwd=ROOT, check=True, capture_output=True)
    command = [sys.executable, "-m", "dagster._daemon", "run", *where]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _runs(instance: dg.DagsterInstance, asset: str) -> list[dg.DagsterRun]:
    return [
        run
        for run in instance.get_runs()
        if run.asset_selection == {dg.AssetKey(asset)} and "dagster/max_runtime" in run.tags
    ]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.5)
