"""The batch contract, on a real Dagster instance with real Parquet."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any

import boto3
import dagster as dg
import pyarrow as pa
import pytest

from partitions.definitions import EPISODES, add_keys
from pipeline.asset_definition import as_asset
from pipeline.contract import ENGINE_RESTARTS, report_if_unknown
from pipeline.dagster_internals import move_to_end
from pipeline.run_keys import key_tags
from pipeline.stage import Batch, Cost, Failure, Landing, Outcome, Stage, Unchanged, each
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import FAILURES, SPEAKERS, Table
from speech.errors import EngineFailed, EngineUnavailable, NetworkError, NotFound, OutOfMemory, UpstreamMissing
from tests.instances import instance_for_test
from tests.landings import open_keys
from tests.object_store import s3_server
from tests.postgres import postgres_storage

KEYS = [f"show-2026010{n}-0000000{n}" for n in range(1, 7)]
GONE, FLAKY = KEYS[1], KEYS[4]
SHA = "a" * 64
SPEAKER = {"speaker": "S1", "speech_ms": 1, "n_segments": 1, "first_ms": 0, "embedding": None, "embedding_model": None}


class World:
    """What the toy stages do, and what they were asked to do."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake
        self.asked: Counter[tuple[str, str]] = Counter()
        self.errors: dict[tuple[str, str], Exception] = {}
        self.sha = dict.fromkeys(KEYS, SHA)

    def do(self, name: str, key: str) -> None:
        self.asked[name, key] += 1
        if (name, key) in self.errors:
            raise self.errors[name, key]


def toy(name: str, upstream: tuple[str, ...] = ()) -> Stage:
    """A stage that counts what it is asked to do and lands two speakers per episode."""
    table = replace(SPEAKERS, name=f"{name}_rows", asset=name)
    row = {"speech_ms": 1, "n_segments": 1, "first_ms": 0, "embedding": None, "embedding_model": None}

    def work(batch: Batch, world: World) -> Iterator[Outcome]:
        def one(key: str) -> Landing:
            world.do(name, key)
            rows = [{**row, "speaker": "S1"}, {**row, "speaker": "S2"}]
            return Landing(key, {table.name: rows}, Cost(world.sha[key], "f" * 16, audio_ms=10_000, engine_ms=100))

        return each(batch.keys, one)

    work.__name__ = name
    declare = Stage(
        tables=(table,),
        ui_metadata=lambda landed: {"rows": landed[table.name].num_rows},
        group="toys",
        version="1",
        inputs=upstream,
    )
    return declare(work)


FIRST, SECOND = toy("first"), toy("second", upstream=("first",))


@pytest.fixture(params=["sqlite", "postgres", "postgres and s3"])
def place(request: pytest.FixtureRequest) -> str:
    """Where Dagster keeps its events and, if it is not the local disk, the home."""
    return str(request.param)


@pytest.fixture
def storage(place: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    if place == "sqlite":
        return {}
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "500")
    return postgres_storage(request.getfixturevalue("postgres"), f"contract_{time.monotonic_ns()}")


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    with s3_server() as environment:
        yield environment


@pytest.fixture
def world(place: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    if not place.endswith("s3"):
        return World(Lake(Home.at(str(tmp_path / "home"))))
    for name, value in {**request.getfixturevalue("s3"), "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="contract")
    return World(Lake(Home.at(f"s3://contract/{tmp_path.name}")))


@pytest.fixture(autouse=True)
def _live(instance: dg.DagsterInstance) -> None:
    add_keys(instance, EPISODES, KEYS)


def materialize(
    instance: dg.DagsterInstance,
    world: World,
    names: list[str],
    keys: list[str],
    *,
    code_version: str = "1",
    parent: str | None = None,
) -> dg.ExecuteInProcessResult:
    assets = [as_asset(one, batch_size=6, code_version=code_version) for one in (FIRST, SECOND)]
    tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    if parent:
        tags |= {"dagster/parent_run_id": parent, "dagster/root_run_id": parent}
    return dg.materialize(
        assets,
        selection=names,
        instance=instance,
        resources={"lake": world.lake, "world": world},
        tags=tags,
        raise_on_error=False,
    )


def events(instance: dg.DagsterInstance, name: str) -> Counter[str]:
    records = instance.fetch_materializations(dg.AssetKey(name), limit=1000).records
    return Counter(record.partition_key for record in records)


def status(instance: dg.DagsterInstance, name: str, key: str) -> str:
    found = instance.get_status_by_partition(dg.AssetKey(name), [key], EPISODES)
    return str((found or {}).get(key))


def row(world: World, table: Table, key: str) -> dict[str, object] | None:
    found = world.lake.read(table, key) if table.is_sealable else world.lake.read_file(table, key)
    return found.to_pylist()[-1] if found is not None else None


def test_a_batch_of_good_episodes_lands_each_once_and_the_next_step_goes_on(
    instance: dg.DagsterInstance, world: World
) -> None:
    result = materialize(instance, world, ["first", "second"], KEYS)
    assert result.success
    assert events(instance, "first") == events(instance, "second") == Counter(KEYS)
    assert set(world.asked.values()) == {1}
    record = instance.fetch_materializations(dg.AssetKey("second"), limit=1).records[0]
    tags = record.asset_materialization.tags
    assert tags["dagster/code_version"] == "1"
    commits = {name: world.lake.current(name, KEYS)[str(record.partition_key)] for name in ("first", "second")}
    assert tags["dagster/data_version"] == commits["second"].data_version
    assert tags["dagster/input_data_version/first"] == commits["first"].data_version
    assert record.asset_materialization.metadata["rows"].value == 2
    assert record.asset_materialization.metadata["rtfx"].value == 100.0


def test_six_with_two_failures_four_green_two_red_and_then_only_what_is_left(
    instance: dg.DagsterInstance, world: World
) -> None:
    world.errors = {("first", GONE): NotFound("404 from the server"), ("first", FLAKY): NetworkError("the line broke")}
    result = materialize(instance, world, ["first", "second"], KEYS)
    good = [key for key in KEYS if key not in (GONE, FLAKY)]

    assert not result.success
    failure = result.failure_data_for_node("first")
    assert failure is not None
    assert "404 from the server" in str(failure.user_failure_data.description)
    assert events(instance, "first") == Counter(good)
    assert events(instance, "second") == Counter()
    assert [status(instance, "first", key) for key in KEYS] == [
        "AssetPartitionStatus.FAILED" if key in (GONE, FLAKY) else "AssetPartitionStatus.MATERIALIZED" for key in KEYS
    ]
    assert open_keys(world.lake, FIRST.tables[0]) == good
    assert world.asked["first", GONE] == 1
    assert world.asked["first", FLAKY] == 3

    gone = row(world, FAILURES, f"{GONE}.first")
    flaky = row(world, FAILURES, f"{FLAKY}.first")
    assert gone is not None
    assert (gone["error_class"], gone["retryable"], gone["attempts"], gone["next_retry_at"]) == (
        "http_not_found",
        False,
        1,
        None,
    )
    assert flaky is not None
    assert (flaky["error_class"], flaky["retryable"], flaky["attempts"]) == ("network", True, 1)
    assert flaky["next_retry_at"] > flaky["last_at"]

    del world.errors["first", FLAKY]
    again = materialize(instance, world, ["first"], KEYS, parent=result.run_id)
    assert not again.success
    assert {key: world.asked["first", key] for key in good} == dict.fromkeys(good, 1)
    assert events(instance, "first") == Counter([*good, FLAKY])
    assert row(world, FAILURES, f"{FLAKY}.first") is None


def test_a_fresh_materialization_does_the_work_again(instance: dg.DagsterInstance, world: World) -> None:
    materialize(instance, world, ["first"], KEYS[:2])
    materialize(instance, world, ["first"], KEYS[:2])
    assert dict(world.asked) == {("first", KEYS[0]): 2, ("first", KEYS[1]): 2}
    assert events(instance, "first") == Counter({KEYS[0]: 2, KEYS[1]: 2})
    history = world.lake.history("first", KEYS[0])
    assert history["outcome"].to_pylist() == ["landed", "landed"]


def test_a_missing_upstream_is_a_failure_that_names_it(instance: dg.DagsterInstance, world: World) -> None:
    materialize(instance, world, ["first"], KEYS[:1])
    result = materialize(instance, world, ["second"], KEYS[:2])
    assert not result.success
    assert events(instance, "second") == Counter(KEYS[:1])
    missing = row(world, FAILURES, f"{KEYS[1]}.second")
    assert missing is not None
    assert missing["error_class"] == "upstream_missing"
    assert "Materialize first first" in missing["message"]
    assert world.asked["second", KEYS[1]] == 0


def test_an_error_nobody_foresaw_costs_only_its_episode(instance: dg.DagsterInstance, world: World) -> None:
    world.errors = {("first", GONE): ZeroDivisionError("division by zero")}
    materialize(instance, world, ["first"], KEYS)
    assert events(instance, "first") == Counter(key for key in KEYS if key != GONE)
    bug = row(world, FAILURES, f"{GONE}.first")
    assert bug is not None
    assert (bug["error_class"], bug["message"]) == ("bug", "ZeroDivisionError: division by zero")


def engine_like(world: World, broken: str, error: Exception) -> Stage:
    """The stage as an engine runs it: one generator over the batch, which an unexpected error ends."""

    def work(batch: Batch, world: World) -> Iterator[Outcome]:
        world.asked["starts", ""] += 1
        for key in batch.keys:
            world.asked["first", key] += 1
            if key == broken:
                raise error
            yield Landing(key, {"first_rows": [SPEAKER]}, Cost(SHA, "f" * 16))

    return replace(FIRST, work=work)


def materialize_stage(instance: dg.DagsterInstance, world: World, stage: Stage) -> bool:
    tags = key_tags(KEYS)
    resources = {"lake": world.lake, "world": world}
    asset = as_asset(stage, batch_size=6, code_version="1")
    return dg.materialize([asset], instance=instance, resources=resources, tags=tags, raise_on_error=False).success


def test_an_unexpected_error_fails_one_suspect_and_the_engine_restarts_for_the_others(
    instance: dg.DagsterInstance, world: World
) -> None:
    broken = KEYS[2]
    assert not materialize_stage(
        instance, world, engine_like(world, broken, RuntimeError("CUDA error: an illegal access"))
    )
    assert open_keys(world.lake, FIRST.tables[0]) == [key for key in KEYS if key != broken]
    assert world.asked["starts", ""] == 2
    assert {world.asked["first", key] for key in KEYS} == {1}
    assert open_keys(world.lake, FAILURES) == [f"{broken}.first"]
    failure = row(world, FAILURES, f"{broken}.first")
    assert failure is not None
    assert (failure["error_class"], failure["retryable"], failure["attempts"]) == ("bug", True, 1)
    assert failure["next_retry_at"] is not None


def test_an_unchanged_episode_that_cannot_be_kept_costs_only_itself(instance: dg.DagsterInstance, world: World) -> None:
    """As the failure of an object store when an old failure is removed."""

    def work(batch: Batch) -> Iterator[Outcome]:
        yield Unchanged(GONE, "it has never landed, so it cannot be kept")
        yield from (Landing(key, {"first_rows": [SPEAKER]}, Cost(SHA, "f" * 16)) for key in batch.keys if key != GONE)

    result = dg.materialize(
        [as_asset(replace(FIRST, work=work), batch_size=6, code_version="1")],
        instance=instance,
        resources={"lake": world.lake, "world": world},
        tags={"dagster/asset_partition_range_start": KEYS[0], "dagster/asset_partition_range_end": KEYS[-1]},
        raise_on_error=False,
    )
    assert not result.success
    assert events(instance, "first") == Counter(key for key in KEYS if key != GONE)
    assert open_keys(world.lake, FAILURES) == [f"{GONE}.first"]


def test_an_episode_with_an_unexpected_error_is_set_aside_after_three_runs(
    instance: dg.DagsterInstance, world: World
) -> None:
    stage = engine_like(world, KEYS[2], RuntimeError("CUDA error"))
    for _ in range(3):
        materialize_stage(instance, world, stage)
    failure = row(world, FAILURES, f"{KEYS[2]}.first")
    assert failure is not None
    assert (failure["attempts"], failure["next_retry_at"]) == (3, None)


def test_an_episode_for_which_memory_did_not_suffice_is_tried_again_in_the_step(
    instance: dg.DagsterInstance, world: World
) -> None:
    """As on a GPU that another engine had filled: the next try finds its memory free."""

    def work(batch: Batch, world: World) -> Iterator[Outcome]:
        world.asked["starts", ""] += 1
        for key in batch.keys:
            world.asked["first", key] += 1
            if key in (GONE, FLAKY) and world.asked["first", key] == 1:
                yield Failure(key, OutOfMemory(f"{key}: CUDA out of memory"))
            else:
                yield Landing(key, {"first_rows": [SPEAKER]}, Cost(SHA, "f" * 16))

    assert materialize_stage(instance, world, replace(FIRST, work=work))
    assert world.asked["starts", ""] == 2
    assert {key: world.asked["first", key] for key in KEYS} == {key: 2 if key in (GONE, FLAKY) else 1 for key in KEYS}
    assert events(instance, "first") == Counter(KEYS)
    assert open_keys(world.lake, FAILURES) == []


def test_the_suspect_is_the_episode_that_the_engine_names(instance: dg.DagsterInstance, world: World) -> None:
    def work(batch: Batch) -> Iterator[Outcome]:
        if KEYS[3] in batch.keys:
            raise EngineFailed(KEYS[3], RuntimeError("CUDA error"))
        yield from (Landing(key, {"first_rows": [SPEAKER]}, Cost(SHA, "f" * 16)) for key in batch.keys)

    assert not materialize_stage(instance, world, replace(FIRST, work=work))
    assert open_keys(world.lake, FAILURES) == [f"{KEYS[3]}.first"]
    failure = row(world, FAILURES, f"{KEYS[3]}.first")
    assert failure is not None
    assert failure["message"] == "RuntimeError: CUDA error"


def test_an_engine_that_fails_on_every_episode_is_not_started_for_each_of_them(
    instance: dg.DagsterInstance, world: World
) -> None:
    def work(batch: Batch, world: World) -> Iterator[Outcome]:
        world.asked["starts", ""] += 1
        raise RuntimeError("the driver is gone")
        yield

    assert not materialize_stage(instance, world, replace(FIRST, work=work))
    assert world.asked["starts", ""] == 1 + ENGINE_RESTARTS
    assert open_keys(world.lake, FAILURES) == [f"{key}.first" for key in KEYS]


def test_an_error_while_landing_is_a_retryable_failure_of_that_episode(
    instance: dg.DagsterInstance, world: World
) -> None:
    guarded = replace(FIRST, ui_metadata=_fail_for(GONE, OSError(5, "Input/output error")))
    assert not materialize_stage(instance, world, guarded)
    assert open_keys(world.lake, FAILURES) == [f"{GONE}.first"]
    failure = row(world, FAILURES, f"{GONE}.first")
    assert failure is not None
    assert (failure["error_class"], failure["retryable"]) == ("storage", True)
    assert failure["next_retry_at"] > failure["last_at"]
    assert events(instance, "first") == Counter(key for key in KEYS if key != GONE)


def test_threads_that_write_their_landings_land_each_once(instance: dg.DagsterInstance, world: World) -> None:
    table = FIRST.tables[0]
    written_by: dict[str, str] = {}

    def ui_metadata(tables: Mapping[str, pa.Table]) -> Mapping[str, object]:
        [key] = set(tables[table.name]["episode_id"].to_pylist())
        written_by[key] = current_thread().name
        return _fail_for(GONE, OSError(5, "Input/output error"))(tables)

    def work(batch: Batch, world: World) -> Iterator[Outcome]:
        def one(key: str) -> Landing:
            world.do("first", key)
            return Landing(key, {table.name: [SPEAKER]}, Cost(SHA, "f" * 16))

        return each(batch.keys, one, workers=3, write=batch.write)

    world.errors = {("first", FLAKY): NetworkError("reset by the server")}
    assert not materialize_stage(instance, world, replace(FIRST, work=work, ui_metadata=ui_metadata))
    good = [key for key in KEYS if key not in (GONE, FLAKY)]
    assert main_thread().name not in written_by.values()
    assert open_keys(world.lake, FAILURES) == sorted([f"{GONE}.first", f"{FLAKY}.first"])
    assert events(instance, "first") == Counter(good)
    assert {key: found.attempts for key, found in world.lake.runs("first", KEYS).items()} == dict.fromkeys(good, 1)


def test_a_failure_that_cannot_be_recorded_does_not_end_the_batch(
    instance: dg.DagsterInstance, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.errors = {("first", GONE): NotFound("404 from the server")}
    replace_rows = Lake.replace

    def refuse(lake: Lake, table: Table, key: str, rows: pa.Table) -> None:
        if table is FAILURES and key == f"{GONE}.first":
            raise OSError("the disk is full")
        replace_rows(lake, table, key, rows)

    monkeypatch.setattr(Lake, "replace", refuse)
    materialize(instance, world, ["first"], KEYS)
    assert events(instance, "first") == Counter(key for key in KEYS if key != GONE)


def test_an_event_that_cannot_be_logged_is_no_failure_of_the_episode(
    instance: dg.DagsterInstance, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("the database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(dg.AssetExecutionContext, "log_event", refuse)
        materialize(instance, world, ["first"], KEYS[:1])
    assert open_keys(world.lake, FIRST.tables[0]) == KEYS[:1]
    assert open_keys(world.lake, FAILURES) == []
    assert report_if_unknown(instance, world.lake, FIRST, KEYS[0], "1")
    assert events(instance, "first") == Counter(KEYS[:1])


def _fail_for(key: str, error: Exception) -> Callable[[Mapping[str, pa.Table]], Mapping[str, object]]:
    def ui_metadata(tables: Mapping[str, pa.Table]) -> Mapping[str, object]:
        if key in tables["first_rows"]["episode_id"].to_pylist():
            raise error
        return {}

    return ui_metadata


def test_each_works_only_a_few_keys_ahead_of_what_was_taken() -> None:
    begun: list[int] = []

    def do(key: str) -> Landing:
        begun.append(int(key))
        return Landing(key, {})

    outcomes = each([str(n) for n in range(100)], do, workers=2)
    for taken in range(1, 20):
        next(outcomes)
        assert len(begun) <= taken + 4
    outcomes.close()
    assert len(begun) < 30


def test_a_batch_reads_the_landing_that_it_was_given_until_another_has_replaced_it(
    instance: dg.DagsterInstance, world: World
) -> None:
    materialize(instance, world, ["first"], KEYS[:1])
    given = world.lake.runs("first", KEYS[:1])
    batch = Batch((KEYS[0],), {"first": given})
    assert len(batch.rows(world.lake, FIRST.tables[0], KEYS[0])) == 2
    materialize(instance, world, ["first"], KEYS[:1])
    assert {row.run_id for row in batch.rows(world.lake, FIRST.tables[0], KEYS[0])} == {given[KEYS[0]].run_id}
    world.lake.home.remove("lake", "first_rows", "open", f"{given[KEYS[0]].commit.name}.parquet")
    with pytest.raises(UpstreamMissing, match="has landed again"):
        batch.rows(world.lake, FIRST.tables[0], KEYS[0])


def test_an_engine_that_cannot_load_fails_the_step_and_no_episode(instance: dg.DagsterInstance, world: World) -> None:
    def unavailable(batch: Batch, world: World) -> Iterator[Outcome]:
        raise EngineUnavailable("pip install podlake[nemo]")
        yield

    broken = as_asset(replace(FIRST, work=unavailable), batch_size=6, code_version="1")
    tags = {"dagster/asset_partition_range_start": KEYS[0], "dagster/asset_partition_range_end": KEYS[1]}
    given = {"lake": world.lake, "world": world}
    result = dg.materialize([broken], instance=instance, resources=given, tags=tags, raise_on_error=False)
    assert not result.success
    failure = result.failure_data_for_node("first")
    assert failure is not None
    assert failure.user_failure_data.description == "pip install podlake[nemo]"
    assert open_keys(world.lake, FAILURES) == []


def test_failures_in_a_row_are_counted_and_set_aside(instance: dg.DagsterInstance, world: World) -> None:
    world.errors = {("first", KEYS[0]): NetworkError("the line broke")}
    for _ in range(6):
        materialize(instance, world, ["first"], KEYS[:1])
    last = row(world, FAILURES, f"{KEYS[0]}.first")
    assert last is not None
    assert (last["attempts"], last["next_retry_at"]) == (6, None)
    world.errors = {}
    materialize(instance, world, ["first"], KEYS[:1])
    assert row(world, FAILURES, f"{KEYS[0]}.first") is None


def test_a_landing_without_an_event_is_reported_once(instance: dg.DagsterInstance, world: World) -> None:
    materialize(instance, world, ["first"], KEYS[:1])
    with instance_for_test() as forgetful:
        add_keys(forgetful, EPISODES, KEYS)
        assert report_if_unknown(forgetful, world.lake, FIRST, KEYS[0], "1")
        assert not report_if_unknown(forgetful, world.lake, FIRST, KEYS[0], "1")
        assert events(forgetful, "first") == Counter(KEYS[:1])
        known = forgetful.fetch_materializations(dg.AssetKey("first"), limit=1).records[0].asset_materialization
        assert known.metadata["rows"].value == 2
    assert not report_if_unknown(instance, world.lake, FIRST, KEYS[0], "1")


def test_a_changed_code_version_makes_exactly_what_it_made_outdated(instance: dg.DagsterInstance, world: World) -> None:
    materialize(instance, world, ["first"], KEYS[:3], code_version="1")
    materialize(instance, world, ["first"], KEYS[:1], code_version="2")
    records = instance.fetch_materializations(dg.AssetKey("first"), limit=10).records
    versions = {
        record.partition_key: record.asset_materialization.tags["dagster/code_version"] for record in reversed(records)
    }
    assert versions == {KEYS[0]: "2", KEYS[1]: "1", KEYS[2]: "1"}


def test_scattered_keys_are_moved_together(instance: dg.DagsterInstance) -> None:
    move_to_end(instance, EPISODES, [KEYS[1], KEYS[4]])
    order = instance.get_dynamic_partitions("episodes")
    assert order == [KEYS[0], KEYS[2], KEYS[3], KEYS[5], KEYS[1], KEYS[4]]
