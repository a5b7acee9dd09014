"""Where the Dagster instance lies, with which settings, and that several processes may open a fresh one at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project.instance import DEFAULTS, POLL_RUNS, database_url, open_instance, prepare_home
from dagster_project.planning import plan_settings
from dagster_project.settings import ROOT, Settings

OPEN_AT_ONCE = """
import os
import dagster
from dagster_project.instance import open_instance
from dagster_project.settings import Settings

for _ in range(4):
    if os.fork() == 0:
        with open_instance(Settings()) as instance:
            os.write(1, b"%d " % instance.get_runs_count())
        os._exit(0)
assert [os.wait()[1] for _ in range(4)] == [0] * 4
"""
"""Four processes, which have loaded Dagster before."""


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", "")  # put back after what `prepare_home` sets
    monkeypatch.delenv("DAGSTER_HOME")


def test_the_default_home_follows_our_dagster_yaml(tmp_path: Path) -> None:
    own = DEFAULTS.read_text()
    home = prepare_home(Settings())
    assert (home, os.environ["DAGSTER_HOME"]) == (tmp_path / "home" / "dagster", str(home))
    (home / "dagster.yaml").write_text("telemetry: {enabled: true}\n")
    del os.environ["DAGSTER_HOME"]
    prepare_home(Settings())
    assert (home / "dagster.yaml").read_text() == own
    assert {path.name for path in home.iterdir()} == {"dagster.yaml", "history", "schedules"}


OLD_BLOCKS = {
    "block": "event_log_storage:\n  module: resources.event_log\n  class: EventLog\n",
    "with a comment": "event_log_storage:\n  # ours\n  module: resources.event_log\n  class: EventLog\n  config: {}\n",
    "with a gap": "event_log_storage:\n\n# ours\n  module: resources.event_log\n\n  class: EventLog\n",
    "flow": "event_log_storage: {module: resources.event_log, class: EventLog}\n",
}


@pytest.mark.parametrize("old", OLD_BLOCKS.values(), ids=OLD_BLOCKS)
def test_the_event_log_of_an_earlier_version_is_removed_from_a_home_of_ones_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, old: str
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    before, after = "# mine\ntelemetry:\n  enabled: false\n\n", "concurrency:\n  pools: {granularity: op}\n"
    (tmp_path / "dagster.yaml").write_text(before + old + after)
    with open_instance(Settings()) as instance:
        assert type(instance.event_log_storage).__name__ == "SqliteEventLogStorage"
        assert instance.get_concurrency_config().pool_config.pool_granularity.value == "op"  # type: ignore[union-attr]
    assert (tmp_path / "dagster.yaml").read_text() == before + after
    assert "event log of an earlier podlake" in caplog.text


def test_another_event_log_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    text = "event_log_storage:\n  module: mine\n  class: Mine\nnux: {enabled: false}  # not resources.event_log\n"
    (tmp_path / "dagster.yaml").write_text(text)
    prepare_home(Settings())
    assert (tmp_path / "dagster.yaml").read_text() == text


def test_a_home_of_ones_own_keeps_its_dagster_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "own"))
    prepare_home(Settings())
    assert (tmp_path / "own" / "dagster.yaml").exists()
    (tmp_path / "own" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    prepare_home(Settings())
    assert (tmp_path / "own" / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_a_home_with_another_storage_gets_no_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text("storage: {postgres: {postgres_url: {env: NOWHERE}}}\n")
    prepare_home(Settings())
    assert [path.name for path in tmp_path.iterdir()] == ["dagster.yaml"]


def test_the_database_of_jobs_and_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert database_url(Settings()) == f"sqlite:///{Settings().cache_folder}/service.db"
    assert database_url(Settings(database_url="sqlite:////else.db")) == "sqlite:////else.db"
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text("storage: {postgres: {postgres_url: {env: NOWHERE}}}\n")
    with pytest.raises(ValueError, match="NOWHERE"):
        database_url(Settings())
    monkeypatch.setenv("NOWHERE", "postgresql+psycopg2://podlake@db/podlake")
    assert database_url(Settings()) == "postgresql+psycopg2://podlake@db/podlake"


def test_processes_that_open_a_fresh_home_at_once(tmp_path: Path) -> None:
    opened = subprocess.run(
        [sys.executable, "-c", OPEN_AT_ONCE], cwd=ROOT, capture_output=True, timeout=120, check=False
    )
    assert (opened.returncode, opened.stdout.split()) == (0, [b"0"] * 4), opened.stderr
    home = tmp_path / "home" / "dagster"
    for database in ("history/runs.db", "history/runs/index.db", "schedules/schedules.db"):
        with sqlite3.connect(home / database) as made:
            assert made.execute("select count(*) from alembic_version").fetchall() == [(1,)], database
    assert {path.name for path in home.iterdir()} == {"dagster.yaml", "history", "schedules"}


def test_databases_that_were_half_made_when_their_process_died_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home" / "dagster"
    with monkeypatch.context() as dies:
        dies.setattr(Path, "rename", _dies)
        with pytest.raises(KeyboardInterrupt):
            open_instance(Settings())
    assert [path.name for path in home.iterdir()] == ["dagster.yaml"]
    with open_instance(Settings()) as instance:
        assert instance.get_runs_count() == 0
    assert {path.name for path in home.iterdir()} == {"dagster.yaml", "history", "schedules"}


def _dies(*_: object) -> None:
    raise KeyboardInterrupt


def test_sqlite_in_another_place_is_left_to_dagster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "own"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "dagster.yaml").write_text(f"storage: {{sqlite: {{base_dir: {tmp_path / 'else'}}}}}\n")
    prepare_home(Settings())
    assert [path.name for path in (tmp_path / "own").iterdir()] == ["dagster.yaml"]


def test_dagster_takes_our_settings() -> None:
    with open_instance(Settings()) as instance:
        assert not instance.telemetry_enabled
        assert instance.run_monitoring_enabled
        assert (instance.run_retries_enabled, instance.run_retries_max_retries) == (True, 3)
        assert not instance.run_retries_retry_on_asset_or_op_failure
        concurrency = instance.get_concurrency_config()
        pools, queue = concurrency.pool_config, concurrency.run_queue_config
        assert (pools.default_pool_limit, pools.pool_granularity.value) == (1, "run")
        assert queue is not None
        assert queue.max_concurrent_runs == 4


def test_limits_follow_from_the_devices() -> None:
    for gpus, engine_runs in (("0,1,2,3", 5), ("0", 2), ("none", 1)):
        with open_instance(Settings(gpus=gpus)) as instance:
            limits = {pool.name: pool.limit for pool in instance.event_log_storage.get_pool_limits()}
            queue = instance.get_concurrency_config().run_queue_config
            assert queue is not None
            assert (limits.get("gpu", 1), queue.max_concurrent_runs) == (engine_runs, 3 + engine_runs)
            assert limits.get("feeds", 1) == POLL_RUNS
        assert plan_settings(Settings(gpus=gpus)).runs_ahead == {"0,1,2,3": 8, "0": 2, "none": 2}[gpus]
