"""A batch of 64 with every class of error in it: each ends as the table of policies says, and costs the others nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from partitions.definitions import EPISODES, add_keys
from pipeline.asset_definition import as_asset
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import FAILURES, SPEAKERS
from speech import errors
from speech.errors import POLICIES, PodlakeError
from tests.landings import open_keys

KEYS = [f"show-20260101-{n:08x}" for n in range(120)]
CLASSES = {
    error.error_class: error
    for error in vars(errors).values()
    if isinstance(error, type) and issubclass(error, PodlakeError)
}
BAD = dict(zip(KEYS[3::3], CLASSES, strict=False))
"""Key → class of its error; every third key, so that good and bad alternate."""
TABLE = replace(SPEAKERS, name="mixed_rows", asset="mixed")
ROW = {"speaker": "S1", "speech_ms": 1, "n_segments": 1, "first_ms": 0, "embedding": None, "embedding_model": None}


@Stage(tables=(TABLE,), ui_metadata=lambda landed: {}, group="toys", version="1")
def mixed(batch: Batch, tries: Counter[str]) -> Iterator[Outcome]:
    def one(key: str) -> Landing:
        tries[key] += 1
        if key in BAD:
            raise CLASSES[BAD[key]](f"{key} has failed")
        return Landing(key, {TABLE.name: [ROW]}, Cost("a" * 64, "f" * 16))

    return each(batch.keys, one)


def test_every_class_ends_as_the_table_says(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    assert sorted(BAD.values()) == sorted(POLICIES) == sorted(CLASSES)
    lake, tries = Lake(Home.at(str(tmp_path))), Counter[str]()
    add_keys(instance, EPISODES, KEYS)
    result = dg.materialize(
        [as_asset(mixed, batch_size=120, code_version="1")],
        instance=instance,
        resources={"lake": lake, "tries": tries},
        tags={ASSET_PARTITION_RANGE_START_TAG: KEYS[0], ASSET_PARTITION_RANGE_END_TAG: KEYS[-1]},
        raise_on_error=False,
    )
    green = instance.get_materialized_partitions(dg.AssetKey("mixed"))
    states = instance.get_status_by_partition(dg.AssetKey("mixed"), KEYS, EPISODES) or {}
    good = [key for key in KEYS if key not in BAD]
    assert not result.success
    assert sorted(green) == good == open_keys(lake, TABLE)
    assert {key for key, state in states.items() if str(state) == "AssetPartitionStatus.FAILED"} == set(BAD)
    assert sorted(open_keys(lake, FAILURES)) == [f"{key}.mixed" for key in BAD]
    assert len(list(tmp_path.glob("lake/stage_runs/open/*/*@*.parquet"))) == len(KEYS)
    for key, error_class in BAD.items():
        _is_as_the_table_says(lake, key, error_class, tries[key])
    assert {tries[key] for key in good} == {1}


def _is_as_the_table_says(lake: Lake, key: str, error_class: str, tries: int) -> None:
    policy = POLICIES[error_class]
    rows = lake.read_file(FAILURES, f"{key}.mixed")
    assert rows is not None
    (row,) = rows.to_pylist()
    assert (row["error_class"], row["retryable"], row["attempts"]) == (error_class, policy.retryable, 1)
    assert tries == (policy.tries_in_step if policy.retryable else 1)
    again = policy.retryable and policy.max_attempts > 1
    assert row["next_retry_at"] == (row["last_at"] + timedelta(hours=policy.next_try_after_h) if again else None)
    assert key in row["message"]
