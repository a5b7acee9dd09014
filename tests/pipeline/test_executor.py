"""Runs that wait for a pool: asleep, to be interrupted, and not for the dead."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.schema import ConcurrencySlotsTable, PendingStepsTable

from dagster_project.in_process import materialize
from dagster_project.instance import open_instance
from dagster_project.settings import ROOT, Settings
from pipeline.executor import in_own_process
from pipeline.run_process import PROCESS_TAG, signature

ASSET, POOL = "sealed_tables", "sealing"
DIES_WITH_A_SLOT = f"""
import os, signal
import dagster as dg
from dagster_project.instance import open_instance
from pipeline.run_process import signature
from dagster_project.settings import Settings

@dg.job
def nothing(): ...

with open_instance(Settings()) as instance:
    run = instance.create_run_for_job(nothing, tags=signature())
    instance.event_log_storage.claim_concurrency_slot({POOL!r}, run.run_id, {ASSET!r})
    print(run.run_id, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
"""Or with a place in the queue for it, where somebody else has the slot."""


SEALS = f"""
import logging
from pipeline.executor import in_own_process
from dagster_project.in_process import materialize
from dagster_project.instance import open_instance
from dagster_project.settings import Settings

logging.basicConfig(level=logging.INFO)
with open_instance(Settings()) as instance:
    materialize(instance, {ASSET!r})
"""


@dg.resource
def broken(_: dg.InitResourceContext) -> None:
    raise OSError("no such disk")


@dg.op(pool=POOL, required_resource_keys={"broken"})
def never() -> None: ...


@dg.job(executor_def=in_own_process, resource_defs={"broken": broken})
def cannot_begin() -> None:
    never()


@dg.op
def first() -> int:
    return 1


@dg.op(pool=POOL)
def second(one: int) -> None: ...


@dg.job(executor_def=in_own_process)
def two_steps() -> None:
    second(first())


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """A real one, whose pool has its one slot."""
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", "")  # put back after what `open_instance` sets
    monkeypatch.delenv("DAGSTER_HOME")
    with open_instance(Settings()) as opened:
        opened.event_log_storage.set_concurrency_slots(POOL, 1)
        yield opened


def holders(instance: dg.DagsterInstance) -> set[str]:
    return instance.event_log_storage.get_concurrency_info(POOL).active_run_ids


def last_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    return instance.get_runs(limit=1)[0]


def test_a_run_signs_itself_and_gives_its_slot_back(instance: dg.DagsterInstance) -> None:
    materialize(instance, ASSET)
    run = last_run(instance)
    assert run.is_success
    assert run.tags[PROCESS_TAG] == signature()[PROCESS_TAG]
    assert holders(instance) == set()


def test_a_slot_that_a_killed_run_holds_is_taken_from_it(instance: dg.DagsterInstance) -> None:
    killed = subprocess.run([sys.executable, "-c", DIES_WITH_A_SLOT], cwd=ROOT, capture_output=True, check=False)
    dead = killed.stdout.decode().strip()
    assert holders(instance) == {dead}, killed.stderr.decode()
    materialize(instance, ASSET)
    assert last_run(instance).is_success
    buried = instance.get_run_by_id(dead)
    assert buried
    assert buried.is_failure


def test_a_later_step_waits_in_the_same_way(instance: dg.DagsterInstance) -> None:
    killed = subprocess.run([sys.executable, "-c", DIES_WITH_A_SLOT], cwd=ROOT, capture_output=True, check=False)
    assert len(holders(instance)) == 1, killed.stderr.decode()
    assert dg.execute_job(dg.reconstructable(two_steps), instance).success
    assert holders(instance) == set()


def test_a_run_that_was_ended_and_then_died_gives_its_slot_back(instance: dg.DagsterInstance) -> None:
    killed = subprocess.run([sys.executable, "-c", DIES_WITH_A_SLOT], cwd=ROOT, capture_output=True, check=False)
    dead = instance.get_run_by_id(killed.stdout.decode().strip())
    assert dead, killed.stderr.decode()
    instance.report_run_canceled(dead)
    assert holders(instance) == {dead.run_id}
    materialize(instance, ASSET)
    assert last_run(instance).is_success


def test_a_slot_that_was_given_to_a_run_that_died_waiting_for_it_is_taken(instance: dg.DagsterInstance) -> None:
    slots = instance.event_log_storage
    assert slots.claim_concurrency_slot(POOL, "somebody", ASSET).is_claimed
    killed = subprocess.run([sys.executable, "-c", DIES_WITH_A_SLOT], cwd=ROOT, capture_output=True, check=False)
    dead = instance.get_run_by_id(killed.stdout.decode().strip())
    assert dead, killed.stderr.decode()
    instance.report_run_canceled(dead)
    slots.free_concurrency_slots_for_run("somebody")
    assert [step.run_id for step in slots.get_concurrency_info(POOL).pending_steps] == [dead.run_id]
    materialize(instance, ASSET)
    assert last_run(instance).is_success


def test_a_slot_that_nobody_was_given_is_taken(instance: dg.DagsterInstance) -> None:
    slots = instance.event_log_storage
    with waiting_for(instance, "somebody") as waiting:
        with slots.index_connection() as index:  # type: ignore[attr-defined]
            index.execute(ConcurrencySlotsTable.update().values(run_id=None, step_key=None))
            index.execute(PendingStepsTable.delete().where(PendingStepsTable.c.run_id == "somebody"))
        assert waiting.wait(timeout=120) == 0


def test_a_pool_that_is_removed_is_not_waited_for(instance: dg.DagsterInstance) -> None:
    with waiting_for(instance, "somebody") as waiting:
        instance.event_log_storage.free_concurrency_slots_for_run("somebody")
        instance.event_log_storage.delete_concurrency_limit(POOL)
        assert waiting.wait(timeout=120) == 0


def test_whoever_waits_says_for_whom_and_hears_an_interrupt(instance: dg.DagsterInstance) -> None:
    with waiting_for(instance, "somebody") as waiting:
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(timeout=60) != 0
    pool = instance.event_log_storage.get_concurrency_info(POOL)
    assert (pool.active_run_ids, pool.pending_run_ids) == ({"somebody"}, set())
    assert last_run(instance).is_failure
    shown = " ".join(log.message for log in instance.all_logs(last_run(instance).run_id))
    assert f"{ASSET} waits for the pool `{POOL}`, taken by run somebody" in shown


def test_whoever_waits_goes_on_when_the_slot_is_free(instance: dg.DagsterInstance) -> None:
    with waiting_for(instance, "somebody") as waiting:
        instance.event_log_storage.free_concurrency_slots_for_run("somebody")
        assert waiting.wait(timeout=120) == 0
    assert holders(instance) == set()


def test_a_run_that_fails_before_its_step_holds_no_slot(instance: dg.DagsterInstance) -> None:
    made = dg.execute_job(dg.reconstructable(cannot_begin), instance, raise_on_error=False)
    assert not made.success
    assert "no such disk" in str([event.event_specific_data for event in made.all_events])
    assert holders(instance) == set()


@contextmanager
def waiting_for(instance: dg.DagsterInstance, holder: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has begun to wait for the slot that the run of that id has."""
    assert instance.event_log_storage.claim_concurrency_slot(POOL, holder, ASSET).is_claimed
    with subprocess.Popen([sys.executable, "-c", SEALS], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if "waits" in line:
                break
        assert said[-1].rstrip().endswith(f"{ASSET} waits for the pool `{POOL}`, taken by run {holder}"), "".join(said)
        try:
            yield process
        finally:
            process.kill()
