"""Which process works on a run, on systems with and without /proc."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from pipeline import run_process
from pipeline.run_process import PROCESS_TAG, UNTAGGED_LIMIT_S, fail_orphaned_runs, process_tags
from tests.instances import instance_for_test


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with instance_for_test() as made:
        yield made


@pytest.fixture(params=["/proc", "/nowhere"])
def _proc(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_process, "_PROC", Path(request.param))


@pytest.mark.usefixtures("_proc")
def test_a_run_fails_when_its_process_has_exited(instance: dg.DagsterInstance) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = run_process._start_time(process.pid)
        run = _made(instance, {PROCESS_TAG: f"{_host()}:{process.pid}:{started}"})
        own, untagged = _made(instance, process_tags()), _made(instance, {})
        assert fail_orphaned_runs(instance) == []
    assert fail_orphaned_runs(instance) == [run.run_id]
    assert fail_orphaned_runs(instance) == []
    assert [_is_finished(instance, one) for one in (run, own, untagged)] == [True, False, False]


@pytest.mark.usefixtures("_proc")
def test_a_reused_pid_is_another_process(instance: dg.DagsterInstance) -> None:
    run = _made(instance, {PROCESS_TAG: f"{_host()}:{os.getpid()}:long ago"})
    assert fail_orphaned_runs(instance) == [run.run_id]


def test_a_zombie_has_exited(instance: dg.DagsterInstance) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = _made(instance, {PROCESS_TAG: f"{_host()}:{process.pid}:{run_process._start_time(process.pid)}"})
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
    assert fail_orphaned_runs(instance) == [run.run_id]
    process.communicate()


@pytest.mark.usefixtures("_proc")
def test_the_start_time_does_not_depend_on_time_zone_and_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    before = process_tags()
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert process_tags() == before


def test_a_run_that_ends_while_it_is_looked_at_stays_as_it_ended(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = _made(instance, {PROCESS_TAG: f"{_host()}:{os.getpid()}:long ago"})
    has_exited = run_process.has_exited

    def ends_first(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
        instance.report_run_canceled(run)
        return has_exited(instance, run)

    monkeypatch.setattr(run_process, "has_exited", ends_first)
    assert fail_orphaned_runs(instance) == []
    assert instance.get_run_by_id(run.run_id).status is dg.DagsterRunStatus.CANCELED  # type: ignore[union-attr]


@pytest.mark.parametrize(("age_s", "is_failed"), [(UNTAGGED_LIMIT_S / 2, False), (UNTAGGED_LIMIT_S + 5, True)])
def test_a_stage_run_that_was_killed_before_its_tag_fails(
    instance: dg.DagsterInstance, age_s: float, is_failed: bool
) -> None:
    tags = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "b"}
    runs = [
        instance.create_run_for_job(_idle, tags=own, status=dg.DagsterRunStatus.STARTING)
        for own in (tags, {}, tags | process_tags())
    ]
    for run in runs:
        event = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name=_idle.name)
        instance.report_dagster_event(event, run.run_id, timestamp=time.time() - age_s)
    assert fail_orphaned_runs(instance) == ([runs[0].run_id] if is_failed else [])


@dg.job
def _idle() -> None: ...


def test_a_process_of_another_machine_is_left_alone(instance: dg.DagsterInstance) -> None:
    _made(instance, {PROCESS_TAG: f"elsewhere:{2**22}:0"})
    assert fail_orphaned_runs(instance) == []


def test_a_second_try_is_not_taken_for_the_dead_run_whose_tags_it_copies(instance: dg.DagsterInstance) -> None:
    dead = _made(instance, {PROCESS_TAG: f"{_host()}:{os.getpid()}:long ago"})
    assert fail_orphaned_runs(instance) == [dead.run_id]
    again = _made(instance, dict(dead.tags), parent_run_id=dead.run_id, root_run_id=dead.run_id)
    assert fail_orphaned_runs(instance) == []
    instance.add_run_tags(again.run_id, {PROCESS_TAG: f"{_host()}:{os.getpid()}:later, and gone"})
    assert fail_orphaned_runs(instance) == [again.run_id]


def _made(instance: dg.DagsterInstance, tags: dict[str, str], **origin: str) -> dg.DagsterRun:
    @dg.job
    def nothing() -> None:
        """Never carried out."""

    return instance.create_run_for_job(nothing, tags=tags, **origin)  # type: ignore[arg-type]


def _is_finished(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    found = instance.get_run_by_id(run.run_id)
    return found is not None and found.is_finished


def _host() -> str:
    return process_tags()[PROCESS_TAG].partition(":")[0]
