"""The planner, rule by rule: what runs, why, in which batches, and what waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.planner import Batch, plan, within_hours
from pipeline.readiness import (
    Commits,
    EngineVersions,
    Episode,
    FailedTry,
    Failures,
    InFlight,
    PlanSettings,
    Readiness,
    readiness,
)
from resources.lake.commits import Commit, engine_version, inputs_version
from resources.lake.graph import EngineSlot, StageGraph, StageSpec
from resources.lake.tables import QUALITY

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)
A, B, C, D = "a", "b", "c", "d"


def stage(name: str, *inputs: str, slot: EngineSlot | None = None, pool: str | None = None) -> StageSpec:
    return StageSpec(
        name=name, tables=(QUALITY,), inputs=inputs, batch_size=2, version="1", engine_slot=slot, pool=pool
    )


GRAPH = StageGraph(
    (
        stage("audio", pool="downloads"),
        stage("hashes", "audio"),
        stage("words", "audio", slot="transcriber"),
        stage("quality", "hashes", "words"),
    )
)
OLD, NEW = engine_version("old", "1"), engine_version("new", "1")
SETTINGS = PlanSettings(
    batch_sizes=dict.fromkeys(GRAPH.names, 2),
    runs_ahead=2,
    ahead_episodes=100,
    engines={"words": EngineVersions(OLD)},
)


def commit(
    key: str, stage: str, data: str = "1", *, inputs: dict[str, str] | None = None, at: datetime = NOW - HOUR
) -> Commit:
    """A landing; `inputs` are the data versions it was made from, by default those that `commit` gives."""
    made_from = inputs or dict.fromkeys(GRAPH[stage].inputs, "1")
    versions = inputs_version({name: _digits(version) for name, version in made_from.items()})
    engine = OLD if stage == "words" else engine_version(None, "1")
    return Commit(key, stage, f"{at:%Y%m%dT%H%M%S%f}-{_digits(data)}-{versions}-{engine}")


def _digits(version: str) -> str:
    return version.rjust(10, "0")


def landed(*commits: Commit) -> Commits:
    return {name: {one.key: one for one in commits if one.stage == name} for name in GRAPH.names}


def everything(*keys: str) -> list[Commit]:
    return [commit(key, name) for key in keys for name in GRAPH.names]


def planned(
    keys: str,
    commits: Commits,
    failures: Failures | None = None,
    in_flight: InFlight | None = None,
    settings: PlanSettings = SETTINGS,
    catalogue: dict[str, Episode] | None = None,
) -> tuple[Batch, ...]:
    episodes = catalogue or {key: Episode() for key in keys}
    return plan(GRAPH, episodes, commits, failures or {}, in_flight or InFlight(), settings, NOW)


def standing(keys: str, commits: Commits, failures: Failures, settings: PlanSettings = SETTINGS) -> Readiness:
    return readiness(GRAPH, {key: Episode() for key in keys}, commits, failures, InFlight(), settings, NOW)


def brief(batches: tuple[Batch, ...]) -> list[tuple[str, str, str]]:
    return [(batch.stage, "".join(batch.keys), batch.reason) for batch in batches]


UP_TO_HASHES = [commit(A, "audio"), commit(A, "hashes")]
DONE = everything(A)
FAILED = NOW - HOUR / 2
"""After the landings of `commit`."""

# What has landed, the failure of `words`, stages in flight for the episode → the stages that run for it, and why.
RULES = {
    "nothing has landed": ([], None, "", {"audio": "missing"}),
    "inputs have landed": ([commit(A, "audio")], None, "", {"hashes": "missing", "words": "missing"}),
    "one of two inputs is missing": (UP_TO_HASHES, None, "", {"words": "missing"}),
    "an input is in flight": (UP_TO_HASHES, None, "words", {}),
    "the stage itself is in flight": ([], None, "audio", {}),
    "an unfinished run has landed the input": (UP_TO_HASHES, None, "audio", {"words": "missing"}),
    "complete": (DONE, None, "", {}),
    "an input has other data": (
        [*DONE, commit(A, "audio", data="2")], None, "",
        {"hashes": "made from other inputs", "words": "made from other inputs"},
    ),
    "an input landed again with the same data": ([*DONE, commit(A, "audio", at=NOW)], None, "", {}),
    "a late landing was made from old data": (
        [*DONE, commit(A, "words", inputs={"audio": "0"}, at=NOW)], None, "", {"words": "made from other inputs"},
    ),
    "the retry is due": (UP_TO_HASHES, FailedTry(FAILED, NOW), "", {"words": "retry after a failure"}),
    "the retry is not due": (UP_TO_HASHES, FailedTry(FAILED, NOW + HOUR), "", {}),
    "the failure is permanent": (UP_TO_HASHES, FailedTry(FAILED, None), "", {}),
    "the failure is older than the landing": (DONE, FailedTry(NOW - 2 * HOUR, NOW), "", {}),
    "the failure is older than the input": (
        UP_TO_HASHES, FailedTry(NOW - 2 * HOUR, None), "", {"words": "missing"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
def test_rule(rule: str) -> None:
    commits, failure, flying, expected = RULES[rule]
    failures = {"words": {A: failure}} if failure else {}
    in_flight = InFlight({flying: {A}}, {flying: 1}) if flying else None
    batches = planned("a", landed(*commits), failures, in_flight)
    assert {batch.stage: batch.reason for batch in batches} == {
        stage: f"1 {reason}" for stage, reason in expected.items()
    }


class TestEngines:
    def test_another_engine_makes_an_output_outdated_within_the_budget(self) -> None:
        settings = replace(SETTINGS, engines={"words": EngineVersions(NEW)}, redo_hours=2.0)
        (batch,) = planned("abc", landed(*everything(A, B, C)), settings=settings)
        assert (batch.stage, batch.keys, batch.reason) == ("words", (A, B), "2 made by another engine")
        assert batch.redo_hours == 2.0
        assert planned("abc", landed(*everything(A, B, C)), settings=replace(settings, redo_hours=0.0)) == ()

    def test_the_engine_of_a_language_counts_for_its_episodes_alone(self) -> None:
        engines = {"words": EngineVersions(OLD, {"zh": NEW, "de": None})}
        catalogue = {A: Episode(language="zh"), B: Episode(language="de"), C: Episode()}
        settings = replace(SETTINGS, engines=engines, redo_hours=9.0)
        batches = planned("", landed(*everything(A, B, C)), settings=settings, catalogue=catalogue)
        assert brief(batches) == [("words", "a", "1 made by another engine")]


class TestFailures:
    def test_every_failure_before_a_moment_is_retried_if_that_is_asked_for(self) -> None:
        commits = landed(commit(A, "audio"), commit(A, "hashes"), commit(B, "audio"), commit(B, "hashes"))
        failures = {"words": {A: FailedTry(NOW - HOUR / 2, None), B: FailedTry(NOW, None)}}
        settings = replace(SETTINGS, retry_before=NOW)
        assert brief(planned("ab", commits, failures, settings=settings)) == [("words", "a", "1 retry after a failure")]

    def test_nothing_runs_behind_a_failure(self) -> None:
        assert planned("a", {}, {"audio": {A: FailedTry(NOW, None)}}) == ()

    def test_finished_is_what_is_complete_or_failed_for_the_last_time(self) -> None:
        failures = {"audio": {B: FailedTry(NOW, None), C: FailedTry(NOW, NOW + HOUR)}}
        assert standing("abcd", landed(*everything(A)), failures).finished == {A, B}

    def test_an_outdated_episode_beyond_the_budget_is_finished(self) -> None:
        settings = replace(SETTINGS, engines={"words": EngineVersions(NEW)})
        assert standing("a", landed(*everything(A)), {}, settings).finished == {A}


class TestBatches:
    def test_no_stage_has_more_unfinished_runs_than_allowed(self) -> None:
        flying = InFlight({"audio": set("x")}, {"audio": 1})
        assert brief(planned("abcde", {}, in_flight=flying)) == [("audio", "ab", "2 missing")]
        assert [batch.keys for batch in planned("abcde", {})] == [(A, B), (C, D)]

    def test_a_short_batch_waits_half_a_minute_while_its_inputs_are_in_flight(self) -> None:
        flying = InFlight({"audio": {B}}, {"audio": 1})
        for waited_s, expected in ((29, []), (30, ["hashes"])):
            audio = commit(A, "audio", at=NOW - timedelta(seconds=waited_s))
            batches = planned("ab", landed(audio, commit(A, "words")), in_flight=flying)
            assert [batch.stage for batch in batches] == expected

    def test_an_idle_engine_does_not_wait_for_a_full_batch_and_a_busy_one_does(self) -> None:
        commits = landed(commit(A, "audio", at=NOW), commit(A, "hashes"))
        idle = InFlight({"audio": {B}}, {"audio": 1})
        busy = InFlight({"audio": {B}, "words": {C}}, {"audio": 1, "words": 1})
        assert [batch.stage for batch in planned("abc", commits, in_flight=idle)] == ["audio", "words"]
        assert [batch.stage for batch in planned("abc", commits, in_flight=busy)] == ["audio"]

    def test_keys_of_an_engine_are_spread_over_its_devices(self) -> None:
        keys = "abcdefghijkl"
        done = landed(*(commit(key, stage) for key in keys for stage in ("audio", "hashes")))
        settings = replace(SETTINGS, batch_sizes=dict.fromkeys(GRAPH.names, 32), runs_ahead=6)
        for devices, sizes in ((1, [12]), (2, [6, 6]), (3, [4, 4, 4]), (8, [4, 4, 4])):
            batches = planned(keys, done, settings=replace(settings, devices=devices))
            assert [len(batch.keys) for batch in batches if batch.stage == "words"] == sizes

    def test_scattered_keys_become_one_batch_and_neighbours_stay(self) -> None:
        done = landed(*everything(C))
        assert [(batch.keys, batch.is_scattered) for batch in planned("abcd", done)] == [((A, B), False), ((D,), False)]
        done = landed(*everything(B))
        assert [(batch.keys, batch.is_scattered) for batch in planned("abc", done)] == [((A, C), True)]

    def test_keys_that_a_run_names_do_not_move(self) -> None:
        flying = InFlight(targets={A})
        batches = planned("abc", landed(*everything(B)), in_flight=flying)
        assert [(batch.keys, batch.is_scattered) for batch in batches] == [((A,), False), ((C,), False)]

    def test_later_stages_have_priority(self) -> None:
        commits = landed(commit(A, "audio"), commit(A, "hashes"))
        assert [(batch.stage, batch.priority) for batch in planned("ab", commits)] == [("audio", 0), ("words", 2)]


class TestBudgets:
    def test_downloads_stop_when_enough_waits_for_the_engines(self) -> None:
        waiting = landed(*(commit(key, name) for key in "abcd" for name in ("audio", "hashes")))
        settings = replace(SETTINGS, ahead_episodes=5)
        audio = [batch for batch in planned("abcdef", waiting, settings=settings) if batch.stage == "audio"]
        assert [batch.keys for batch in audio] == [("e",)]

    def test_engines_can_always_have_their_runs_full(self) -> None:
        assert [batch.keys for batch in planned("abcdef", {}, settings=replace(SETTINGS, ahead_episodes=1))] == [
            (A, B),
            (C, D),
        ]

    def test_downloads_stop_when_enough_bytes_wait(self) -> None:
        commits = landed(commit(A, "audio"), commit(A, "hashes"))
        catalogue = {A: Episode(bytes=100), B: Episode()}
        for limit, expected in ((100, ["words"]), (101, ["audio", "words"])):
            settings = replace(SETTINGS, ahead_bytes=limit)
            batches = planned("", commits, settings=settings, catalogue=catalogue)
            assert [batch.stage for batch in batches] == expected

    def test_what_another_engine_makes_again_comes_last_and_stops_no_download(self) -> None:
        settings = replace(SETTINGS, engines={"words": EngineVersions(NEW)}, redo_hours=9.0, runs_ahead=1)
        new = [commit(D, "audio"), commit(D, "hashes")]
        batches = planned("abcde", landed(*everything(A, B, C), *new), settings=replace(settings, ahead_episodes=1))
        assert [(batch.stage, batch.keys) for batch in batches] == [("audio", ("e",)), ("words", (A, D))]

    def test_a_night_takes_the_first_episodes_that_fit(self) -> None:
        catalogue = {key: Episode(hours=hours) for key, hours in ((A, 2.0), (B, 3.0), (C, 1.0))}
        found = readiness(GRAPH, catalogue, {}, {}, InFlight(), SETTINGS, NOW)
        assert within_hours(found, 5.0) == {A: 2.0, B: 3.0}
        assert within_hours(found, 1.0) == {A: 2.0}


OPTIONAL = StageGraph(
    (
        *(one for one in GRAPH if one.name != "quality"),
        stage("notes", pool="downloads"),
        replace(stage("quality", "hashes", "words"), optional_inputs=("notes",)),
    )
)


def with_notes(commits: list[Commit], failed: FailedTry | None = None, **in_flight: set[str]) -> dict[str, str]:
    """Stage → keys that run next, of two episodes that have all but `quality`; `notes` is read by it if it has landed."""
    made = {**landed(*commits), "notes": {one.key: one for one in commits if one.stage == "notes"}}
    failures = {"notes": {A: failed, B: failed}} if failed else {}
    settings = replace(SETTINGS, batch_sizes=dict.fromkeys(OPTIONAL.names, 2))
    catalogue = {A: Episode(), B: Episode()}
    batches = plan(OPTIONAL, catalogue, made, failures, InFlight(keys=in_flight), settings, NOW)
    return {batch.stage: "".join(batch.keys) for batch in batches}


def test_an_optional_input_is_awaited_while_it_can_run_and_done_without_after_a_failure() -> None:
    before = [commit(key, name) for key in (A, B) for name in ("audio", "hashes", "words")]
    notes = [Commit(key, "notes", commit(key, "audio").stamp) for key in (A, B)]
    assert with_notes(before) == {"notes": "ab"}
    assert with_notes(before, notes={A}) == {"notes": "b"}
    assert with_notes([*before, *notes]) == {"quality": "ab"}
    assert with_notes(before, FailedTry(NOW, None)) == {"quality": "ab"}
    assert with_notes(before, FailedTry(NOW, NOW + HOUR)) == {"quality": "ab"}


def test_what_lands_later_at_an_optional_input_makes_its_reader_outdated() -> None:
    before = [commit(key, name) for key in (A, B) for name in ("audio", "hashes", "words")]
    notes = [Commit(key, "notes", commit(key, "audio").stamp) for key in (A, B)]
    of_all = {"hashes": "1", "words": "1", "notes": "1"}
    without = commit(A, "quality"), commit(B, "quality", inputs=of_all)
    assert with_notes([*before, *notes, *without]) == {"quality": "a"}
    other = Commit(B, "notes", commit(B, "audio", "2", at=NOW).stamp)
    assert with_notes([*before, notes[0], other, commit(A, "quality", inputs=of_all), without[1]]) == {"quality": "b"}
    assert with_notes([*before, *(commit(key, "quality") for key in (A, B))], FailedTry(NOW, None)) == {}


def test_another_rule_is_applied_without_a_budget() -> None:
    settings = replace(SETTINGS, rules={"quality": {engine_version("rule", "1")}})
    assert [
        (one.stage, one.keys, one.reason) for one in planned("ab", landed(*everything(A, B)), settings=settings)
    ] == [("quality", (A, B), "2 made by another rule")]
    same = replace(SETTINGS, rules={"quality": {engine_version("rule", "1"), engine_version(None, "1")}})
    assert planned("ab", landed(*everything(A, B)), settings=same) == ()


def test_what_an_optional_stage_downloads_takes_nothing_from_the_budget_for_audio() -> None:
    settings = replace(SETTINGS, batch_sizes=dict.fromkeys(OPTIONAL.names, 2), ahead_episodes=2)
    catalogue = {key: Episode() for key in (A, B, C, D)}
    flying = InFlight(keys={"notes": {A, B, C, D}})
    batches = plan(OPTIONAL, catalogue, {}, {}, flying, settings, NOW)
    assert sum(len(batch.keys) for batch in batches if batch.stage == "audio") == 4
