"""Every check of the lake passes on what the pipeline lands, and finds what it is for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from click.testing import CliRunner

from assets.lake.checks import lake_checks
from dagster_project.cli import main
from partitions.definitions import EPISODES as EPISODE_KEYS
from partitions.definitions import add_keys
from pipeline.dagster_internals import PARTITION_TAG
from resources.lake.checks import checks, run_checks
from resources.lake.lake import Lake
from resources.lake.tables import (
    CHECK_RESULTS,
    EPISODES,
    HASHES,
    POLLS,
    QUALITY,
    SEGMENTS,
    SUBSCRIPTIONS,
    TABLES,
    TURNS,
    WORDS,
)
from resources.lake.warehouse import connect
from tests.instances import instance_for_test
from tests.landings import land
from tests.talks import BREAD, RAIN, land_talks

NOW = datetime.now(UTC)
OF = {"episode_id": RAIN, "audio_sha256": "ab" * 32}


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake(land_talks(tmp_path).home)
    land(lake, SUBSCRIPTIONS, "all", [{"feed_id": one, "url": "u", "added_at": NOW} for one in ("show", "radio")])
    return lake


def found(lake: Lake) -> dict[str, list[str]]:
    """Check → examples, of the checks that fail."""
    with connect(lake.home) as connection:
        return {row.check_name: list(row.examples) for row in run_checks(connection) if row.n_wrong}


def quality(**values: Any) -> dict[str, Any]:
    return (
        OF | {"duration_ms": 90_000, "speech_ms": 80_000, "n_words": 200, "words_per_minute": 150, "flags": []} | values
    )


def test_all_pass_on_what_the_pipeline_lands(lake) -> None:
    assert found(lake) == {}


def test_each_names_what_is_wrong(lake) -> None:
    land(lake, HASHES, RAIN, [OF | {"duration_ms": 5_000, "sha256": "a"}])
    words = lake.read(WORDS, RAIN).to_pylist()
    land(lake, WORDS, RAIN, [*words, words[0]])
    segments = [{"segment_idx": 0, "speaker": "S1", "start_ms": 1_000, "end_ms": 9_000}]
    land(lake, SEGMENTS, RAIN, [OF | one for one in segments])
    wrong = found(lake)
    del wrong["words_in_one_turn"]  # the words are 16 now, and the turns those of 15
    assert wrong == {
        "segments_inside_audio": [f"{RAIN}: segment 0 from 1000 to 9000 ms"],
        "unique_keys_of_transcript": [f"{RAIN}: 2 rows of words with one key"],
    }
    land(lake, WORDS, RAIN, [words[0] | {"start_ms": 400, "end_ms": 100}, words[1] | {"end_ms": 6_001}])
    assert found(lake)["words_in_time_order"] == [
        f"{RAIN}: word 0 from 400 to 100 ms",
        f"{RAIN}: word 1 from 400 to 6001 ms",
    ]


def test_a_word_without_turn_is_found(lake) -> None:
    turns = lake.read(TURNS, RAIN).to_pylist()
    land(lake, TURNS, RAIN, turns[:-1])
    assert found(lake) == {"words_in_one_turn": [f"{RAIN}: 15 words, 15 with a speaker's row, 14 in turns"]}


@pytest.mark.parametrize(
    ("check", "row"),
    [
        ("duration_as_declared", quality(flags=["duration_differs"])),
        ("language_as_declared", quality(language_agrees=False, language_declared="en", language_detected="de")),
        ("speakers_within_limit", quality(speakers_saturated=True, n_speakers=4)),
        ("plausible_rate", quality(words_per_minute=500)),
        ("text_and_speech", quality(n_words=0)),
        ("text_and_speech", quality(speech_ms=0, words_per_minute=None)),
    ],
)
def test_quality_is_checked(lake, check, row) -> None:
    episode = {"episode_id": RAIN, "duration_declared_ms": 60_000}
    land(lake, EPISODES, "show", [episode])
    land(lake, QUALITY, RAIN, [row])
    assert list(found(lake)) == [check]


def test_a_feed_that_is_no_longer_polled_is_found(lake) -> None:
    old = NOW - timedelta(days=10)
    land(
        lake, SUBSCRIPTIONS, "all", [{"feed_id": one, "url": "u", "added_at": old} for one in ("show", "radio", "new")]
    )
    land(lake, POLLS, "show", [{"last_polled_at": NOW - timedelta(days=4)}])
    land(lake, POLLS, "radio", [{"last_polled_at": NOW}])
    assert [one.split(":")[0] for one in found(lake)["feeds_are_polled"]] == ["new", "show"]


def test_a_week_with_many_more_hours_than_usual_is_found(lake) -> None:
    monday = NOW - timedelta(days=NOW.weekday())
    hours = dict.fromkeys(range(2, 12), 1) | {1: 9}
    rows = [
        {
            "episode_id": f"show-{week}",
            "duration_declared_ms": count * 3_600_000,
            "published_at": monday - timedelta(weeks=week),
        }
        for week, count in hours.items()
    ]
    land(lake, EPISODES, "show", rows)
    assert found(lake)["usual_hours"] == ["show: 9.0 hours last week, usually 1.0"]


def test_every_check_is_of_an_asset_and_says_what_holds() -> None:
    assets = {table.asset for table in TABLES.values()}
    for check in checks():
        assert check.asset in assets
        assert check.description.endswith(".")


def evaluated(lake: Lake, instance: dg.DagsterInstance, tags: dict[str, str] | None = None) -> dict[str, Any]:
    """Check → its evaluation, by the job of all checks, or by a run over partitions with these tags."""
    assets = [dg.AssetSpec(name) for name in sorted({check.asset for check in checks()})]
    found = lake_checks()
    job = dg.Definitions(
        assets=assets, asset_checks=found, resources={"lake": lake},
        jobs=[dg.define_asset_job("check", dg.AssetSelection.checks(*found))],
    ).resolve_job_def("check")  # fmt: skip
    result = job.execute_in_process(instance=instance, tags=tags, raise_on_error=False)
    return {one.check_name: one for one in result.get_asset_check_evaluations()}


def test_the_ui_and_the_status_show_what_fails(lake) -> None:
    land(lake, QUALITY, RAIN, [quality(words_per_minute=500)])
    with instance_for_test() as instance:
        evaluations = evaluated(lake, instance)
    assert set(evaluations) == {check.name for check in checks()}
    assert [name for name, one in evaluations.items() if not one.passed] == ["plausible_rate"]
    rate = evaluations["plausible_rate"]
    assert (rate.asset_key, rate.metadata["checked"].value) == (dg.AssetKey("quality"), "the whole lake")
    (record,) = rate.metadata["examples"].records
    assert record.data == {"partition": RAIN, "wrong": "500 words a minute of speech"}
    environment = {"PODLAKE_HOME": str(lake.home.root)}
    status = CliRunner().invoke(main, ["status"], env=environment).output
    assert "plausible_rate  warning       1" in status
    answer = CliRunner().invoke(main, ["check"], env=environment)
    assert (answer.exit_code, "warning  plausible_rate: 1 times" in answer.output) == (0, True)
    land(lake, SEGMENTS, RAIN, [OF | {"segment_idx": 0, "speaker": "S1", "start_ms": 5, "end_ms": 4}])
    assert CliRunner().invoke(main, ["check"], env=environment).exit_code == 1


def test_a_run_checks_its_own_partitions_and_tells_what_is_wrong_elsewhere(lake) -> None:
    land(lake, QUALITY, RAIN, [quality(words_per_minute=500)])
    with instance_for_test() as instance:
        add_keys(instance, EPISODE_KEYS, [BREAD, RAIN])
        of_rain = evaluated(lake, instance, {PARTITION_TAG: RAIN})["plausible_rate"]
        assert (of_rain.passed, of_rain.metadata["checked"].value) == (False, "1 partitions of this run")
        assert evaluated(lake, instance, {PARTITION_TAG: BREAD})["plausible_rate"].passed
        assert lake.read_file(CHECK_RESULTS, "all") is None, "a run of some partitions says nothing of the lake"
        evaluated(lake, instance)
        of_bread = evaluated(lake, instance, {PARTITION_TAG: BREAD})["plausible_rate"]
        assert (of_bread.passed, of_bread.metadata["wrong"].value) == (False, 0)


def test_an_error_blocks_the_later_assets_of_its_run() -> None:
    blocking = {spec.name: spec.blocking for one in lake_checks() for spec in one.check_specs}
    assert blocking == {check.name: check.is_error for check in checks()}
