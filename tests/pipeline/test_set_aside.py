"""Episodes that kill their worker, in real processes that die by SIGKILL."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from crashing_batch import KEYS, TABLE, crashing, materialize

from pipeline.crashes import watching
from pipeline.records import Run, record_failure
from pipeline.stage import Failure
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import FAILURES
from speech.errors import NetworkError, NotFound
from tests.landings import open_keys

NOW = datetime.now(UTC)


@pytest.fixture
def dagster_home(tmp_path: Path, storage: dict[str, Any]) -> Path:
    folder = tmp_path / "dagster"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(json.dumps({"telemetry": {"enabled": False}} | storage))
    return folder


@pytest.fixture
def instance(dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        yield instance


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Home.at(str(tmp_path / "home")))


def run(dagster_home: Path, lake: Lake, poisoned: list[str], parent: str = "") -> int | None:
    """The exit code of a run in a process of its own; forked, since importing Dagster takes seconds."""

    def in_child() -> None:
        with dg.DagsterInstance.from_config(str(dagster_home)) as own:
            os._exit(0 if materialize(own, lake.home.uri, parent, poisoned) else 1)

    child = multiprocessing.get_context("fork").Process(target=in_child)
    child.start()
    child.join()
    return child.exitcode


@dg.job
def _idle() -> None: ...


def notes(lake: Lake) -> list[str]:
    return lake.home.names("working", "crashing")


def test_an_episode_that_three_runs_have_died_over_is_set_aside_and_the_others_land(
    dagster_home: Path, instance: dg.DagsterInstance, lake: Lake
) -> None:
    poisoned = KEYS[4]
    assert run(dagster_home, lake, [poisoned]) == -signal.SIGKILL
    assert open_keys(lake, TABLE) == KEYS[:1]
    root = instance.get_runs()[0].run_id

    assert run(dagster_home, lake, [poisoned], root) == -signal.SIGKILL
    assert run(dagster_home, lake, [poisoned], root) == -signal.SIGKILL
    assert open_keys(lake, TABLE) == [key for key in KEYS if key != poisoned]
    assert len(notes(lake)) == 1

    assert run(dagster_home, lake, [poisoned], root) == 1
    (failure,) = [lake.read_file(FAILURES, key) for key in open_keys(lake, FAILURES)]
    assert failure is not None
    (row,) = failure.to_pylist()
    assert (row["episode_id"], row["error_class"], row["retryable"], row["next_retry_at"]) == (
        poisoned,
        "keeps_crashing",
        True,
        None,
    )
    assert row["attempts"] == 3
    assert row["message"].startswith(f"A run ended while crashing worked on {poisoned}")
    assert notes(lake) == []
    others = [lake.history("crashing", key) for key in KEYS if key != poisoned]
    assert [rows.num_rows for rows in others if rows is not None] == [1] * 7


def test_the_failures_of_a_crash_disappear_when_the_episodes_land(
    dagster_home: Path, instance: dg.DagsterInstance, lake: Lake
) -> None:
    assert run(dagster_home, lake, [KEYS[4]]) == -signal.SIGKILL
    assert len(notes(lake)) == 1
    assert materialize(instance, lake.home.uri, instance.get_runs()[0].run_id, [])
    assert open_keys(lake, TABLE) == KEYS
    assert open_keys(lake, FAILURES) == []
    assert notes(lake) == []


def test_suspects_are_handed_over_one_by_one_and_the_most_suspect_last(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    with watching(instance, lake, crashing, "gone-1", KEYS[:4]) as first:
        assert list(first.groups()) == [tuple(KEYS[:4])]
        with watching(instance, lake, crashing, "gone-2", KEYS) as second:
            handed = second.groups()
            assert next(handed) == tuple(KEYS[4:])
            assert second.crashes == dict.fromkeys(KEYS[:4], 1)
            assert [next(handed), next(handed)] == [(KEYS[0],), (KEYS[1],)]
            with watching(instance, lake, crashing, "now", KEYS[:4]) as third:
                assert third.crashes == {KEYS[0]: 1, KEYS[1]: 2, KEYS[2]: 1, KEYS[3]: 1}
                assert list(third.groups()) == [(KEYS[0],), (KEYS[2],), (KEYS[3],), (KEYS[1],)]


def test_crashes_and_errors_count_together(instance: dg.DagsterInstance, lake: Lake) -> None:
    failed = Failure(KEYS[0], NetworkError("the line broke"))
    for name in ("first", "second"):
        record_failure(lake, crashing, failed, Run(name, name, NOW, 1), attempts=1)
    lost = multiprocessing.get_context("fork").Process(target=_begin_and_exit, args=(lake, KEYS[:1]))
    lost.start()
    lost.join()
    with watching(instance, lake, crashing, "now", KEYS[:1]) as watch:
        assert [row.attempts for row in watch.set_aside.values()] == [3]
        assert list(watch.groups()) == []


def _begin_and_exit(lake: Lake, keys: list[str]) -> None:
    with dg.DagsterInstance.ephemeral() as own, watching(own, lake, crashing, "lost", keys) as watch:
        next(watch.groups())
        os._exit(1)


def test_a_run_that_is_still_at_work_casts_no_suspicion(instance: dg.DagsterInstance, lake: Lake) -> None:
    at_work = instance.create_run_for_job(_idle)
    with watching(instance, lake, crashing, at_work.run_id, KEYS) as first:
        assert list(first.groups()) == [tuple(KEYS)]
        with watching(instance, lake, crashing, "another", KEYS) as second:
            assert second.crashes == {}
        assert notes(lake) == [f"{at_work.run_id}.json"]
    assert notes(lake) == []


@pytest.mark.parametrize(("limit_s", "is_suspect"), [(1, True), (3600, False)])
def test_a_run_that_ends_at_its_time_limit_leaves_its_suspect_and_a_cancelled_one_does_not(
    instance: dg.DagsterInstance, lake: Lake, limit_s: int, is_suspect: bool
) -> None:
    tags = {dg.MAX_RUNTIME_SECONDS_TAG: str(limit_s)}
    run = instance.create_run_for_job(_idle, tags=tags, status=dg.DagsterRunStatus.STARTING)
    started = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name=_idle.name)
    instance.report_dagster_event(started, run.run_id, timestamp=time.time() - 60)
    with (
        suppress(dg.DagsterExecutionInterruptedError),
        watching(instance, lake, crashing, run.run_id, KEYS) as watch,
    ):
        next(watch.groups())
        record_failure(
            lake, crashing, Failure(KEYS[0], NotFound("404")), Run(run.run_id, run.run_id, NOW, 8), attempts=1
        )
        raise dg.DagsterExecutionInterruptedError
    instance.report_run_failed(run)
    with watching(instance, lake, crashing, "next", KEYS) as later:
        assert later.crashes == ({KEYS[1]: 1} if is_suspect else {})


def test_an_episode_is_set_aside_after_three_runs_at_their_time_limit(instance: dg.DagsterInstance, lake: Lake) -> None:
    tags = {dg.MAX_RUNTIME_SECONDS_TAG: "1"}
    for _ in range(3):
        run = instance.create_run_for_job(_idle, tags=tags, status=dg.DagsterRunStatus.STARTING)
        started = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, job_name=_idle.name)
        instance.report_dagster_event(started, run.run_id, timestamp=time.time() - 60)
        with suppress(KeyboardInterrupt), watching(instance, lake, crashing, run.run_id, KEYS[:1]) as watch:
            assert watch.set_aside == {}
            next(watch.groups())
            raise KeyboardInterrupt
        instance.report_run_failed(run)
    with watching(instance, lake, crashing, "next", KEYS) as later:
        assert later.crashes == {KEYS[0]: 3}
