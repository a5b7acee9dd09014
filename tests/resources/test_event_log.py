"""The event log with open connections: the same files as Dagster's own, whole whatever happens to the process."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from resources.event_log import KEPT_OPEN, EventLog

ROOT = Path(__file__).parents[2]

KILLS_ITSELF = """
import os, signal, sys
import dagster as dg
with dg.DagsterInstance.get() as instance:
    for n in range(20):
        instance.report_runless_asset_event(dg.AssetMaterialization("words", partition=str(n)))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as instance:
        yield instance


@dg.asset
def words() -> None:
    """An asset whose runs are logged."""


def partitions(instance: dg.DagsterInstance) -> list[str]:
    records = instance.fetch_materializations(dg.AssetKey("words"), limit=1000).records
    return sorted(record.partition_key or "" for record in records)


def report(instance: dg.DagsterInstance, partition: str) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization("words", partition=partition))


def open_databases(home: Path) -> int:
    links = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return len({link for link in links if link.suffix == ".db" and link.is_relative_to(home)})


def test_our_instances_have_it(instance: dg.DagsterInstance) -> None:
    assert type(instance.event_log_storage) is EventLog


def test_dagsters_own_reads_what_it_has_written_and_the_other_way_round(home: Path) -> None:
    with dg.DagsterInstance.get() as ours:
        run_id = dg.materialize([words], instance=ours).run_id
        logged = [entry.dagster_event_type for entry in ours.all_logs(run_id)]
    (home / "dagster.yaml").write_text("")
    with dg.DagsterInstance.get() as stock:
        assert type(stock.event_log_storage) is SqliteEventLogStorage
        assert [entry.dagster_event_type for entry in stock.all_logs(run_id)] == logged
        assert len(stock.fetch_materializations(dg.AssetKey("words"), limit=9).records) == 1
        report(stock, "theirs")
    (home / "dagster.yaml").write_text((ROOT / "dagster.yaml").read_text())
    with dg.DagsterInstance.get() as ours:
        assert partitions(ours) == ["", "theirs"]


def test_two_instances_write_at_the_same_time(instance: dg.DagsterInstance) -> None:
    with dg.DagsterInstance.get() as other, ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: report((instance, other)[n % 2], f"{n:02}"), range(40)))
        assert partitions(other) == partitions(instance) == [f"{n:02}" for n in range(40)]


def test_a_killed_process_has_logged_what_it_logged(instance: dg.DagsterInstance) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLS_ITSELF], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert partitions(instance) == sorted(str(n) for n in range(20))


def test_it_keeps_only_so_many_databases_open(instance: dg.DagsterInstance, home: Path) -> None:
    for n in range(KEPT_OPEN + 3):
        assert instance.all_logs(f"run-{n}") == []
    assert open_databases(home) == KEPT_OPEN + 1
    instance.dispose()
    assert open_databases(home) == 0


def test_what_is_wiped_is_gone_and_it_goes_on(instance: dg.DagsterInstance) -> None:
    report(instance, "old")
    instance.event_log_storage.wipe()
    report(instance, "new")
    assert partitions(instance) == ["new"]
