"""What Dagster has in hand: runs and backfills, with what they have done and what they have yet to do."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.execution.backfill import BulkActionStatus

from dagster_project.backfills import request_backfill
from dagster_project.definitions import defs
from dagster_project.settings import Settings
from partitions.definitions import EPISODES, add_keys
from pipeline.in_flight import in_flight
from pipeline.live_window import archive
from tests.instances import instance_for_test

KEYS = ["a", "b", "c", "d"]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with instance_for_test() as made:
        add_keys(made, EPISODES, KEYS)
        yield made


def test_a_backfill_has_yet_to_do_what_it_has_not_done(instance: dg.DagsterInstance) -> None:
    _backfill(instance, ["b", "c"], done=["b"])
    found = in_flight(instance, KEYS)
    assert {asset: keys for asset, keys in found.keys.items() if keys} == {"quality": {"c"}}
    assert found.all_keys() == {"b", "c"}


def test_no_key_leaves_that_an_active_backfill_names(instance: dg.DagsterInstance) -> None:
    backfill_id = _backfill(instance, ["b", "c"], done=["b", "c"])
    assert archive(instance, KEYS) == ["a", "d"]
    backfill = instance.get_backfill(backfill_id)
    assert backfill
    instance.update_backfill(backfill.with_status(BulkActionStatus.COMPLETED_SUCCESS))
    assert archive(instance, KEYS) == ["b", "c"]


def _backfill(instance: dg.DagsterInstance, keys: list[str], done: list[str]) -> str:
    backfill_id = request_backfill(instance, Settings(), {"quality": keys}, "a test")
    backfill = instance.get_backfill(backfill_id)
    assert backfill
    data = backfill.asset_backfill_data
    assert data
    materialized = AssetGraphSubset({dg.AssetKey("quality"): EPISODES.subset_with_partition_keys(done)}, set())  # type: ignore[call-arg]
    instance.update_backfill(
        backfill.with_asset_backfill_data(
            data._replace(materialized_subset=materialized), instance, defs.resolve_asset_graph()
        )
    )
    return backfill_id
