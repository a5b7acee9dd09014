"""A toy stage that dies by SIGKILL over poisoned episodes.

It reads ahead, as engines do: it has four episodes in hand when it yields the first.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from partitions.definitions import EPISODES, add_keys
from pipeline.asset_definition import as_asset
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import SPEAKERS

KEYS = [f"show-2026010{n}-0000000{n}" for n in range(1, 9)]
TABLE = replace(SPEAKERS, name="crashing_rows", asset="crashing")
ROW = {"speaker": "S1", "speech_ms": 1, "n_segments": 1, "first_ms": 0, "embedding": None, "embedding_model": None}


@Stage(tables=(TABLE,), ui_metadata=lambda landed: {}, group="toys", version="1")
def crashing(batch: Batch, poisoned: list[str]) -> Iterator[Outcome]:
    read: list[str] = []
    for key in batch.keys:
        if key in poisoned:
            os.kill(os.getpid(), signal.SIGKILL)
        read.append(key)
        if len(read) > 3:
            yield _landing(read.pop(0))
    yield from map(_landing, read)


def _landing(key: str) -> Landing:
    return Landing(key, {TABLE.name: [ROW]}, Cost("a" * 64, "f" * 16))


def materialize(instance: dg.DagsterInstance, home: str, parent: str, poisoned: list[str]) -> bool:
    add_keys(instance, EPISODES, KEYS)
    tags = {ASSET_PARTITION_RANGE_START_TAG: KEYS[0], ASSET_PARTITION_RANGE_END_TAG: KEYS[-1]}
    if parent:
        tags |= {"dagster/parent_run_id": parent, "dagster/root_run_id": parent}
    return dg.materialize(
        [as_asset(crashing, batch_size=8, code_version="1")],
        instance=instance,
        resources={"lake": Lake(Home.at(home)), "poisoned": poisoned},
        tags=tags,
        raise_on_error=False,
    ).success
