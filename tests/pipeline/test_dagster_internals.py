"""What we rely on of Dagster beyond its public interface: each private name and each tag, on real instances."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions import data_version
from dagster._core.events import RunFailureReason
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, BulkActionStatus
from dagster._core.storage import tags
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from partitions.definitions import EPISODES, add_keys
from pipeline import dagster_internals as internals
from tests.instances import instance_for_test

ROOT = Path(__file__).parents[2]
PRODUCT = ("assets", "bench", "dagster_project", "demo", "partitions", "pipeline", "resources", "speech")
PRIVATE_IMPORT = re.compile(r"^\s*(?:from (dagster\._\S*) import (\([^)]*\)|.*)|import (dagster\._\S*))", re.MULTILINE)


TOY = """
import os, signal
import dagster as dg

@dg.asset
def good(): ...

@dg.asset
def interrupted():
    os.kill(os.getpid(), signal.SIGINT)

defs = dg.Definitions([good, interrupted], executor=dg.in_process_executor)
"""


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with instance_for_test() as made:
        add_keys(made, EPISODES, ["a", "b", "c"])
        yield made


@dg.asset(partitions_def=EPISODES)
def words() -> None: ...


def test_only_one_module_imports_private_names_and_at_most_ten() -> None:
    found: dict[str, list[str]] = {}
    for path in (path for folder in PRODUCT for path in (ROOT / folder).rglob("*.py")):
        for _, names, module in PRIVATE_IMPORT.findall(path.read_text()):
            of_module = found.setdefault(str(path.relative_to(ROOT)), [])
            of_module += [module] if module else re.findall(r"\w+", names.partition("#")[0])
    assert list(found) == ["pipeline/dagster_internals.py"]
    assert len(found["pipeline/dagster_internals.py"]) <= 10


def test_tags_have_dagster_s_names() -> None:
    ours = [
        internals.PARTITION_TAG, internals.RANGE_START_TAG, internals.RANGE_END_TAG, internals.ROOT_RUN_ID_TAG,
        internals.PRIORITY_TAG, internals.CODE_VERSION_TAG, internals.DATA_VERSION_TAG,
        internals.DATA_VERSION_IS_GIVEN_TAG, internals.INPUT_DATA_VERSION_TAG, internals.INPUT_EVENT_POINTER_TAG,
        internals.NO_EVENT_POINTER,
    ]  # fmt: skip
    assert ours == [
        tags.PARTITION_NAME_TAG, tags.ASSET_PARTITION_RANGE_START_TAG, tags.ASSET_PARTITION_RANGE_END_TAG,
        tags.ROOT_RUN_ID_TAG, tags.PRIORITY_TAG, data_version.CODE_VERSION_TAG, data_version.DATA_VERSION_TAG,
        data_version.DATA_VERSION_IS_USER_PROVIDED_TAG, data_version.INPUT_DATA_VERSION_TAG_PREFIX,
        data_version.INPUT_EVENT_POINTER_TAG_PREFIX, data_version.NULL_EVENT_POINTER,
    ]  # fmt: skip
    version_of_input = data_version.get_input_data_version_tag(dg.AssetKey("audio"))
    assert version_of_input == f"{internals.INPUT_DATA_VERSION_TAG}/audio"


def test_unfinished_statuses_are_dagster_s() -> None:
    assert set(internals.UNFINISHED) == set(NOT_FINISHED_STATUSES)
    assert set(internals._ACTIVE) == set(BulkActionStatus) - set(BULK_ACTION_TERMINAL_STATUSES)


def test_reasons_of_failed_runs_have_dagster_s_names() -> None:
    assert {reason.value for reason in RunFailureReason} >= {"UNEXPECTED_TERMINATION", "RUN_EXCEPTION"}


def test_an_asset_of_a_module_runs_in_this_process(
    instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy_definitions.py").write_text(TOY)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])  # Dagster removes the first entry
    assert internals.execute_assets(instance, "toy_definitions", ["good"], {"our": "tag"}, {}) is None
    failed = internals.execute_assets(instance, "toy_definitions", ["interrupted"], {}, {})
    assert failed
    reason = failed.job_failure_data.failure_reason
    assert reason
    assert reason.value == "UNEXPECTED_TERMINATION"
    last, first = instance.get_runs()
    assert (first.tags["our"], first.is_success, last.is_failure) == ("tag", True, True)


def test_the_times_of_last_events(instance: dg.DagsterInstance) -> None:
    for key in ("a", "a", "b"):
        instance.report_runless_asset_event(dg.AssetMaterialization("words", partition=key))
    instance.report_runless_asset_event(dg.AssetMaterialization("others", partition="c"))
    found = internals.last_event_times(instance, words.key)
    assert set(found) == {"a", "b"}
    assert found["a"] < found["b"] <= datetime.now(UTC)
    assert datetime.now(UTC) - found["a"] < timedelta(minutes=5)


def test_keys_move_and_leave(instance: dg.DagsterInstance) -> None:
    internals.move_to_end(instance, EPISODES, ["a"])
    assert list(instance.get_dynamic_partitions("episodes")) == ["b", "c", "a"]
    internals.remove_keys(instance, EPISODES, ["c"])
    assert list(instance.get_dynamic_partitions("episodes")) == ["b", "a"]


def test_a_backfill_is_active_until_it_has_ended(instance: dg.DagsterInstance) -> None:
    backfill_id = internals.add_backfill(instance, {"words": (EPISODES, ["a", "b"])}, {"our": "tag"}, "a title")
    assert list(internals.active_backfills(instance)) == [({"words": {"a", "b"}}, {"words": {"a", "b"}})]
    backfill = instance.get_backfill(backfill_id)
    assert backfill
    assert (backfill.title, backfill.tags["our"]) == ("a title", "tag")
    instance.update_backfill(backfill.with_status(BulkActionStatus.CANCELED))
    assert list(internals.active_backfills(instance)) == []


def test_runs_in_threads_do_not_configure_logging_again(monkeypatch: pytest.MonkeyPatch) -> None:
    configured: list[object] = []
    with instance_for_test() as instance:
        monkeypatch.setattr("logging.config.dictConfig", configured.append)
        instance.get_handlers()
        internals.allow_runs_in_threads(instance)
        assert len(configured) == 2  # each run would configure it
        instance.get_handlers()
        assert len(configured) == 2


def test_runs_in_threads_do_not_redirect_the_output_of_the_process(capfd: pytest.CaptureFixture[str]) -> None:
    @dg.op
    def work() -> None:
        outputs.append(os.fstat(1))

    @dg.job
    def job() -> None:
        work()

    with capfd.disabled(), instance_for_test() as instance:
        outputs = [os.fstat(1)]
        job.execute_in_process(instance=instance)
        internals.allow_runs_in_threads(instance)
        job.execute_in_process(instance=instance)
    before, redirected, kept = outputs
    assert os.path.samestat(before, kept)
    assert not os.path.samestat(before, redirected)


def _two_events(context: dg.AssetExecutionContext, how: str) -> None:
    events = [
        dg.AssetMaterialization("words", partition=key, metadata={"n": n}, tags={internals.DATA_VERSION_TAG: f"v{n}"})
        for n, key in enumerate("ab")
    ]
    if how == "together":
        internals.log_materializations(context, events)
    else:
        for event in events:
            context.log_event(event)


@pytest.mark.parametrize("how", ["together", "one by one"])
def test_events_that_are_logged_together_are_as_those_that_dagster_logs(instance: dg.DagsterInstance, how: str) -> None:
    @dg.multi_asset(specs=[dg.AssetSpec("words", partitions_def=EPISODES, skippable=True)], name="words_step")
    def words_step(context):  # type: ignore[no-untyped-def]
        _two_events(context, how)
        yield from ()

    result = dg.materialize([words_step], instance=instance, partition_key="c")
    made = [event.partition for event in result.get_asset_materialization_events()]
    assert made == ["a", "b"]
    in_run = instance.get_records_for_run(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION).records
    assert [record.partition_key for record in in_run] == ["a", "b"]
    assert {record.event_log_entry.step_key for record in in_run} == {"words_step"}
    latest = instance.get_latest_materialization_event(dg.AssetKey("words"))
    assert latest is not None
    assert latest.dagster_event is not None
    assert latest.dagster_event.partition == "b"
    found = instance.fetch_materializations(dg.AssetKey("words"), limit=10).records
    assert [record.asset_materialization.metadata["n"].value for record in found if record.asset_materialization] == [
        1,
        0,
    ]
    tags = instance.get_event_tags_for_asset(dg.AssetKey("words"), filter_tags={internals.DATA_VERSION_TAG: "v0"})
    assert tags == [{internals.DATA_VERSION_TAG: "v0"}]
    assert instance.get_materialized_partitions(dg.AssetKey("words")) == {"a", "b"}
