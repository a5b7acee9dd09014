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
from resources.lake.tables.lessons import (
    DUB_AUDIO,
    DUB_HEARINGS,
    DUB_LINES,
    DUB_TIMES,
    DUBBED_VIDEOS,
    LESSON_SENTENCES,
)
from resources.lake.tables.studio import PODCAST_AUDIO, PODCAST_HEARINGS, SCRIPT_TURNS, SCRIPTS, SPEECH_LINES
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


@pytest.mark.parametrize(
    ("check", "table", "rows", "detail"),
    [
        ("podcast_words_understood", PODCAST_HEARINGS,
         [{"word_error_rate": 0.826, "n_script_words": 46, "heard_text": "Welcome"}], "83 % of 46 words differ: Welcome"),
        ("podcast_loudness", PODCAST_AUDIO, [{"loudness_lufs": -23, "true_peak_dbtp": -1.25}], "-23.0 LUFS, -1.2 dBTP"),
        ("dub_words_understood", DUB_HEARINGS,
         [{"word_error_rate": 0.5, "n_words": 4, "heard_text": "Hola"}], "50 % of 4 words differ: Hola"),
        ("dub_lasts_as_long", DUBBED_VIDEOS, [{"duration_ms": 61_000, "source_ms": 60_000}], "61.0 s instead of 60.0 s"),
        ("dub_mostly_unstretched", DUB_AUDIO,
         [{"unstretched_share": 0.5, "highest_speed": 1}], "50 % of the lines are not stretched"),
        ("dub_is_in_time", DUB_AUDIO,
         [{"unstretched_share": 1, "highest_speed": 1.5, "longest_overflow_ms": 700}], "speed 1.50, 700 ms too long"),
        ("dub_is_in_time", DUB_TIMES, [{"chunk_idx": 3, "delay_ms": 20}], "chunk 3 begins 20 ms late"),
        ("dub_lines_are_said", DUB_LINES, [{"spoken_text": "Hola, mundo", "duration_ms": 100}],
         "line 0 has 100 ms for 11 letters"),
        ("dub_lines_are_said", DUB_LINES,
         [{"sentence_idx": n, "spoken_text": one, "duration_ms": 900} for n, one in enumerate(("Hola.", "Bien."))],
         "2 texts have the same sound: Bien."),
        ("lesson_sentences_have_all_words", LESSON_SENTENCES, [{"first_word_idx": 2, "n_words": 1}],
         "sentence 0 begins with word 2, not 0"),
    ],
)  # fmt: skip
def test_podcasts_and_dubs_are_checked(lake, check, table, rows, detail) -> None:
    land(lake, table, "made-20260102-1a2b3c4d", rows)
    assert found(lake)[check] == [f"made-20260102-1a2b3c4d: {detail}"]


def test_turns_of_podcasts_are_checked(lake) -> None:
    key, other = "studio-20260102-1a2b3c4d", "studio-20260103-1a2b3c4d"
    land(lake, SCRIPTS, key, [{"script": "[S1] Hello. [S2] Hi!"}])
    land(lake, SCRIPT_TURNS, key, [{"speaker": "S1", "text": "Hello.", "spoken_text": "Hello."}])
    land(lake, SPEECH_LINES, key, [{"duration_ms": 90}])
    land(lake, SCRIPTS, other, [{"script": "[S1] Hi!"}])
    land(lake, SCRIPT_TURNS, other, [{"speaker": "S1", "text": "Hi!", "spoken_text": "Hi!"}])
    land(lake, SPEECH_LINES, other, [{"duration_ms": 90}])
    assert found(lake) == {
        "podcast_turns_are_the_script": [f"{key}: 10 characters of turns, 20 of the script"],
        "podcast_lines_are_said": [f"{key}: turn 0 has 90 ms for 6 letters"],
    }


def test_lines_that_differ_in_signs_alone_may_sound_alike(lake) -> None:
    texts = ("Sí.", "¡Sí!", "sí")
    lines = [{"sentence_idx": n, "spoken_text": one, "duration_ms": 400} for n, one in enumerate(texts)]
    land(lake, DUB_LINES, "lesson-20260102-1a2b3c4d", lines)
    assert found(lake) == {}


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
