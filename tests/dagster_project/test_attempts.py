"""What the runs of a request say: which attempt was the last, why it ended, and when the next one is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.attempts import (
    ATTEMPT_TAG,
    RETRY_AFTER,
    attempt_tags,
    end_runs,
    failure_of,
    is_due,
    last_attempt,
    next_attempt_at,
    runs_of,
    state_of_runs,
)
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import FAILURES
from resources.lake.tables.pipeline import FailureRow
from tests.instances import instance_for_test
from tests.landings import filled

TAG = "podlake/test"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dg.job
def nothing() -> None: ...


def test_runs_are_those_of_the_request_and_the_newest_comes_first() -> None:
    with instance_for_test() as instance:
        for key, attempt in (("a", 1), ("b", 1), ("a", 2)):
            instance.create_run_for_job(nothing, tags=attempt_tags(TAG, key, attempt, timedelta(minutes=30)))
        found = runs_of(instance, TAG, ["a", "c"])
        assert list(found) == ["a"]
        assert [run.dagster_run.tags[ATTEMPT_TAG] for run in found["a"]] == ["2", "1"]
        assert (last_attempt(found["a"]), last_attempt([])) == (2, 0)
        assert found["a"][0].dagster_run.tags[dg.MAX_RUNTIME_SECONDS_TAG] == "1800"


def test_runs_that_are_over_are_not_ended_again() -> None:
    with instance_for_test() as instance:
        for attempt in (1, 2):
            run = instance.create_run_for_job(nothing, tags=attempt_tags(TAG, "a", attempt, timedelta(minutes=30)))
            if attempt == 1:
                instance.report_run_failed(run)
        end_runs(instance, runs_of(instance, TAG, ["a"])["a"], "Nobody wants it.")
        ended = [run.dagster_run.status for run in runs_of(instance, TAG, ["a"])["a"]]
        assert ended == [dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE]


def test_an_older_failure_is_not_the_reason_why_a_run_ended(tmp_path: Path) -> None:
    lake = Lake(Home.at(str(tmp_path)))
    with instance_for_test() as instance:
        for attempt in (1, 2):
            run = instance.create_run_for_job(nothing, tags=attempt_tags(TAG, "a", attempt, timedelta(minutes=30)))
            if attempt == 1:
                row = {"episode_id": "a", "stage": "hashes", "message": "no audio", "run_id": run.run_id}
                lake.replace(
                    FAILURES, FAILURES.landing_key("a", "hashes"), FAILURES.of([FailureRow(**filled(FAILURES, row))])
                )
            instance.report_run_failed(run)
        second, first = runs_of(instance, TAG, ["a"])["a"]
        found = failure_of(lake, ["audio", "hashes"], "a", first)
        assert found
        assert found.message == "no audio"
        assert failure_of(lake, ["audio", "hashes"], "a", second) is None
        assert second.end_time
        assert next_attempt_at(second).timestamp() == pytest.approx(second.end_time + RETRY_AFTER.total_seconds())


def test_an_attempt_that_does_not_count_is_followed_by_another(tmp_path: Path) -> None:
    lake = Lake(Home.at(str(tmp_path)))

    def state(**more: str) -> str:
        runs = runs_of(instance, TAG, ["a"]).get("a", [])
        return state_of_runs(lake, ["hashes"], "a", runs, is_cancelled=False, **more).state

    with instance_for_test() as instance:
        assert state() == "pending"
        for attempt in (1, 2, 3):
            run = instance.create_run_for_job(nothing, tags=attempt_tags(TAG, "a", attempt, timedelta(minutes=30)))
            row = {"episode_id": "a", "stage": "hashes", "error_class": "busy", "retryable": True, "run_id": run.run_id}
            lake.replace(
                FAILURES, FAILURES.landing_key("a", "hashes"), FAILURES.of([FailureRow(**filled(FAILURES, row))])
            )
            assert state() == "pending"
            instance.report_run_failed(run)
            assert state() == ("pending" if attempt < 3 else "failed")
        assert state(does_not_count="busy") == "pending"
        assert state(does_not_count="other") == "failed"


@pytest.mark.parametrize(
    ("state", "run_id", "retry_at", "expected"),
    [
        ("pending", None, None, True),
        ("pending", "queued", None, False),
        ("pending", "failed", NOW, True),
        ("pending", "failed", NOW + timedelta(seconds=1), False),
        ("failed", "failed", None, False),
        ("processing", "started", None, False),
    ],
)
def test_an_attempt_is_due(state: str, run_id: str | None, retry_at: datetime | None, expected: bool) -> None:
    assert is_due(state, run_id, retry_at, NOW) is expected
