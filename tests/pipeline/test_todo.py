"""What is left to do, told from the files of the lake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dagster_project.stages import STAGES
from partitions.definitions import EPISODES
from pipeline.records import Run
from pipeline.stage import Cost, Failure, Landing
from pipeline.todo import left_to_do
from resources.lake.commits import new_commit
from resources.lake.compaction import seal
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import FAILURES, WORDS
from resources.lake.tries import Tries
from speech.errors import NetworkError, NotFound
from tests.landings import land_arrow, land_outcome

A, B, C = (f"show-2026010{n}-0000000{n}" for n in (1, 2, 3))
COST = Cost("a" * 64, "f" * 16)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Home.at(str(tmp_path)))


def land(lake: Lake, stage: str, key: str, audio_sha256: str = "a" * 64) -> None:
    outcome = Landing(key, {}, Cost(audio_sha256, "f" * 16))
    land_outcome(lake, STAGES[stage], outcome, Run("run", "run", datetime.now(UTC), 1))


def fail(lake: Lake, stage: str, key: str, error: Exception) -> None:
    land_outcome(lake, STAGES[stage], Failure(key, error), Run("run-2", "run-2", datetime.now(UTC), 1))


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
    rows = lake.read_file(FAILURES, name)
    assert rows is not None
    past = {**rows.to_pylist()[0], "next_retry_at": datetime.now(UTC) - timedelta(seconds=1)}
    land_arrow(lake, FAILURES, name, FAILURES.of([past]))


def test_a_failure_upstream_holds_back_only_what_never_landed_there(lake: Lake) -> None:
    land(lake, "audio", A)
    fail(lake, "audio", A, NetworkError("on a later try"))
    fail(lake, "audio", B, NetworkError("at once"))
    assert left(lake, "transcript") == [A]


def test_other_data_upstream_makes_it_outdated_and_a_failure_or_a_repeated_landing_does_not(lake: Lake) -> None:
    for stage in ("audio", "transcript"):
        land(lake, stage, A)
        land(lake, stage, B)
    fail(lake, "audio", B, NetworkError("the server was away"))
    land(lake, "audio", A)
    assert left(lake, "transcript") == []
    land(lake, "audio", A, audio_sha256="b" * 64)
    assert left(lake, "transcript") == [A]


def test_a_landing_made_from_old_data_is_outdated_however_late_it_lands(lake: Lake) -> None:
    land(lake, "audio", A)
    land(lake, "transcript", A)
    from_old = lake.current("transcript", [A])[A]
    land(lake, "audio", A, audio_sha256="b" * 64)
    late = new_commit(A, data="d" * 10, inputs=from_old.inputs_version, engine=from_old.engine_version, after=from_old)
    lake.write_rows(late, [(WORDS, WORDS.schema.empty_table())])
    lake.commit("transcript", late, lake.runs("transcript", [A])[A])
    assert left(lake, "transcript") == [A]


def test_a_sealed_episode_is_done(lake: Lake) -> None:
    for stage in STAGES.values():
        if stage.partitions is EPISODES:
            land(lake, stage.name, A)
    list(seal(lake, older_than=timedelta(0)))
    assert left(lake, "audio") == [B, C]
    assert left(lake, "quality") == []
    land(lake, "audio", A, audio_sha256="b" * 64)
    assert left(lake, "transcript") == [A]
