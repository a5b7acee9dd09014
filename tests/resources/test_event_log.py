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


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b", "c", "d"]))
def noises() -> None:
    """An asset of which a run lands many partitions."""


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


@pytest.mark.parametrize("batch_size", ["0", "2", "500"])
def test_what_a_run_is_to_land_is_logged_the_same_in_one_go(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, batch_size: str
) -> None:
    batches: list[int] = []
    store = EventLog.store_event_batch
    monkeypatch.setattr(EventLog, "store_event_batch", lambda *args: (batches.append(len(args[1])), store(*args)))
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", batch_size)
    ends = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "d"}
    run = instance.create_run_for_job(dg.Definitions([noises]).resolve_implicit_global_asset_job_def(), tags=ends)
    log = instance.event_log_storage
    logged = [entry.get_dagster_event() for entry in instance.all_logs(run.run_id)]
    assert {event.event_type for event in logged} == {dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED}
    assert sorted(event.partition or "" for event in logged) == list("abcd")
    waiting = log.get_latest_asset_partition_materialization_attempts_without_materializations(noises.key)
    assert {key: run_id for key, (run_id, _) in waiting.items()} == dict.fromkeys("abcd", run.run_id)
    assert instance.get_asset_records([noises.key])[0].asset_entry.last_run_id == run.run_id
    assert batches == {"0": [], "2": [2, 2], "500": [4]}[batch_size]


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
