"""A run works on the keys that it was requested for, whatever became of their order meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from partitions.definitions import EPISODES, add_keys
from pipeline.asset_definition import as_asset
from pipeline.dagster_internals import move_to_end
from pipeline.in_flight import in_flight
from pipeline.run_keys import key_tags, named_keys
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage
from resources.lake.commits import open_commits
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import QUALITY
from tests.instances import instance_for_test
from tests.landings import filled

KEYS = ["a", "b", "c", "d", "e"]


def test_every_storage_takes_the_tags_of_a_thousand_keys(storage):
    draw = random.Random(1)
    keys = tuple(f"feed-{draw.getrandbits(80):x}" for _ in range(1000))
    with instance_for_test(storage) as made:
        run = made.create_run_for_job(_job, tags=key_tags(keys))
        again = made.get_run_by_id(run.run_id)
    assert again is not None
    assert named_keys(again.tags) == keys


@dg.job
def _job() -> None:
    pass


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with instance_for_test() as made:
        add_keys(made, EPISODES, KEYS)
        yield made


@Stage(tables=(QUALITY,), ui_metadata=lambda _: {}, group="toys", version="1")
def toy(batch: Batch) -> Iterator[Outcome]:
    for key in batch.keys:
        yield Landing(key, {"quality": [filled(QUALITY, {})]}, Cost("a" * 64, "f" * 16))


@pytest.mark.parametrize("moved", ["a", "b", "c"])
def test_a_key_that_moves_before_the_run_starts_changes_nothing(
    instance: dg.DagsterInstance, tmp_path: Path, moved: str
) -> None:
    lake, tags = Lake(Home.at(str(tmp_path))), key_tags(["a", "b", "c"])
    move_to_end(instance, EPISODES, [moved])
    result = dg.materialize(
        [as_asset(toy, batch_size=8, code_version="1")], instance=instance, resources={"lake": lake}, tags=tags
    )
    assert result.success
    assert sorted(open_commits(lake.home, "toy")) == ["a", "b", "c"]
    assert instance.get_materialized_partitions(dg.AssetKey("toy")) == {"a", "b", "c"}


def test_what_is_in_flight_are_the_keys_of_the_request(instance: dg.DagsterInstance) -> None:
    job = dg.Definitions([as_asset(toy, batch_size=8, code_version="1")], resources={"lake": None})
    instance.create_run_for_job(
        job.resolve_implicit_global_asset_job_def(),
        tags=key_tags(["a", "b", "c"]),
        asset_selection=frozenset([dg.AssetKey("toy")]),
    )
    move_to_end(instance, EPISODES, ["b"])
    order = instance.get_dynamic_partitions("episodes")
    assert in_flight(instance, order).keys == {"toy": {"a", "b", "c"}}
