"""What is left to do, told from the files of the lake."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dagster_project.stages import STAGES
from pipeline.records import Run, record
from pipeline.stage import Cost, Failure, Landing
from pipeline.todo import left_to_do
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import FAILURES, QUALITY
from resources.lake.tries import Tries
from speech.errors import NetworkError, NotFound
from tests.landings import filled

A, B, C = (f"show-2026010{n}-0000000{n}" for n in (1, 2, 3))
COST = Cost("a" * 64, "f" * 16)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Home.at(str(tmp_path)))


def land(lake: Lake, stage: str, key: str) -> None:
    record(lake, STAGES[stage], Landing(key, {}, COST), Run("run", "run", datetime.now(UTC), 1), write_ms=1, attempts=1)


def fail(lake: Lake, stage: str, key: str, error: Exception) -> None:
    record(
        lake, STAGES[stage], Failure(key, error), Run("run-2", "run-2", datetime.now(UTC), 1), write_ms=1, attempts=1
    )


def left(lake: Lake, stage: str, *, failed_too: bool = False) -> list[str]:
    return left_to_do(Tries.listed(lake), STAGES[stage], [A, B, C], failed_too=failed_too)


def test_a_stage_waits_for_all_of_its_upstream(lake: Lake) -> None:
    assert left(lake, "audio") == [A, B, C]
    assert left(lake, "transcript") == []
    land(lake, "audio", A)
    land(lake, "audio", B)
    assert left(lake, "audio") == [C]
    assert left(lake, "transcript") == [A, B]
    land(lake, "transcript", A)
    land(lake, "diarization", B)
    assert left(lake, "turns") == []
    land(lake, "diarization", A)
    assert left(lake, "turns") == [A]


def test_what_failed_waits_until_it_is_due_and_for_ever_where_that_is_pointless(lake: Lake) -> None:
    fail(lake, "audio", A, NotFound("404"))
    fail(lake, "audio", B, NetworkError("the line broke"))
    assert left(lake, "audio") == [C]
    assert left(lake, "audio", failed_too=True) == [A, B, C]
    make_due(lake, f"{B}.audio")
    assert left(lake, "audio") == [B, C]


def make_due(lake: Lake, name: str) -> None:
    rows = lake.read(FAILURES, name)
    assert rows is not None
    past = {**rows.to_pylist()[0], "next_retry_at": datetime.now(UTC) - timedelta(seconds=1)}
    lake.land(FAILURES, name, FAILURES.of([past]))


def test_a_failure_upstream_holds_back_only_what_never_landed_there(lake: Lake) -> None:
    land(lake, "audio", A)
    fail(lake, "audio", A, NetworkError("on a later try"))
    fail(lake, "audio", B, NetworkError("at once"))
    assert left(lake, "transcript") == [A]


def test_a_newer_landing_upstream_makes_it_outdated_and_a_newer_failure_does_not(lake: Lake) -> None:
    for stage in ("audio", "transcript"):
        land(lake, stage, A)
        land(lake, stage, B)
    fail(lake, "audio", B, NetworkError("the server was away"))
    assert left(lake, "transcript") == []
    land(lake, "audio", A)
    assert left(lake, "transcript") == [A]


def test_files_that_are_newer_but_hold_no_newer_rows_make_nothing_outdated(lake: Lake) -> None:
    land(lake, "audio", A)
    land(lake, "transcript", A)
    os.utime(lake.home.path("lake", "stage_runs", "open", f"{A}.audio.parquet"))
    assert left(lake, "transcript") == []


def test_a_sealed_episode_is_done(lake: Lake) -> None:
    with lake.home.writing("lake", "quality", "sealed", "1.parquet") as stream:
        pq.write_table(QUALITY.of([filled(QUALITY, {"episode_id": A})]), stream)
    assert left(lake, "audio") == [B, C]
    assert left(lake, "quality") == []
