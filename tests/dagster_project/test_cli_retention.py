"""`podlake retention`, and how `podlake status` and the batch loop say that the disk is short of space."""

from __future__ import annotations

import logging
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from assets.stages import EPISODE_GRAPH
from dagster_project.batch_loop import _log_pause
from dagster_project.cli import main
from pipeline.readiness import Episode, InFlight, PlanSettings, readiness
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import ACQUISITIONS, REMOVED_AUDIO
from tests.landings import land, land_stage

KEY = "show-20260101-00000001"


def podlake(*arguments: str) -> str:
    ran = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert ran.exit_code == 0, ran.output
    return ran.output


def test_a_dry_run_lists_and_a_run_removes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("PODLAKE_HOME", str(home))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    path = home / "audio" / "aa" / f"{'a' * 64}.mp3"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * 2_000_000)
    lake = Lake(Home.at(str(home)))
    land(lake, ACQUISITIONS, KEY, [{"audio_sha256": "a" * 64, "fetched_at": datetime.now(UTC) - timedelta(days=9)}])
    for stage in EPISODE_GRAPH.names[1:]:
        land_stage(lake, stage, KEY, {})
    assert "All audio is kept." in podlake("retention")
    monkeypatch.setenv("PODLAKE_KEEP_AUDIO_DAYS", "8")
    shown = podlake("retention", "--dry-run")
    assert shown.startswith("1 files of complete episodes, 0.002 GB; no copy stays, and all rows.")
    assert f"{KEY}  2.0" in " ".join(shown.split(" "))
    assert path.exists()
    code = "import sys; from dagster_project.cli import main; main(sys.argv[1:])"  # the settings are read on import
    ran = subprocess.run([sys.executable, "-c", code, "retention"], capture_output=True, text=True, check=True)
    assert "1 files are removed." in ran.stdout
    assert not path.exists()
    (row,) = REMOVED_AUDIO.rows_of(lake.read_file(REMOVED_AUDIO, "all"))
    assert (row.audio_sha256, row.bytes, row.reason, row.copy_uri) == ("a" * 64, 2_000_000, "age", None)


def test_status_says_that_downloads_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path))
    assert "pause" not in podlake("status")
    monkeypatch.setenv("PODLAKE_MIN_FREE_GB", "1e9")
    assert f"Admission and downloads pause: {tmp_path} has " in podlake("status")


def test_a_run_says_once_that_downloads_pause_and_that_they_go_on(caplog: pytest.LogCaptureFixture) -> None:
    def found(shortage: str | None):
        settings = PlanSettings(batch_sizes={}, shortage=shortage)
        return readiness(EPISODE_GRAPH, {KEY: Episode()}, {}, {}, InFlight(), settings, datetime.now(UTC))

    caplog.set_level(logging.INFO, "podlake")
    state = False
    for shortage in (None, "The disk is full.", "The disk is full.", None):
        state = _log_pause(found(shortage), was_paused=state)
    assert [record.message for record in caplog.records] == [
        "Downloads pause, and go on when there is space again: The disk is full.",
        "Downloads go on",
    ]
