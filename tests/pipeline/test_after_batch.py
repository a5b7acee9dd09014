"""`Stage.after_batch` is called for every landing, also if a call fails or the run is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pyarrow as pa
import pytest

from partitions.definitions import EPISODES, add_keys
from pipeline import after_batch
from pipeline.after_batch import finish_ended, forget_keys
from pipeline.asset_definition import as_asset
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import SPEAKERS
from tests.instances import instance_for_test
from tests.landings import open_keys

KEYS = [f"show-2026010{n}-0000000{n}" for n in range(1, 4)]
ROW = {"speaker": "S1", "speech_ms": 1, "n_segments": 1, "first_ms": 0, "embedding": None, "embedding_model": None}

Told = Callable[[list[str]], None]


def tell(instance: dg.DagsterInstance, landed: Sequence[Mapping[str, pa.Table]], *, told: Told) -> None:
    told([tables[SPEAKERS.name]["episode_id"][0].as_py() for tables in landed])


@Stage(tables=(SPEAKERS,), ui_metadata=lambda _: {}, group="toys", version="1", after_batch=tell)
def diarization(batch: Batch) -> Iterator[Outcome]:
    return each(batch.keys, lambda key: Landing(key, {SPEAKERS.name: [ROW]}, Cost("a" * 64, "f" * 16)))


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with instance_for_test(temp_dir=str(tmp_path)) as instance:
        add_keys(instance, EPISODES, KEYS)
        yield instance


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Home.at(str(tmp_path / "home")))


def run(instance: dg.DagsterInstance, lake: Lake, told: Told, keys: list[str] = KEYS) -> bool:
    tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    return dg.materialize(
        [as_asset(diarization, batch_size=3, code_version="1")], instance=instance, tags=tags, raise_on_error=False,
        resources={"lake": lake, "told": told},
    ).success  # fmt: skip


def failing_once(calls: list[list[str]]) -> Told:
    """The first call fails."""

    def told(keys: list[str]) -> None:
        calls.append(keys)
        if len(calls) == 1:
            raise OSError("no space left")

    return told


def kill(_: list[str]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def notes(lake: Lake) -> list[str]:
    return lake.home.names("after_batch", "diarization")


def test_a_call_that_fails_midway_is_made_again_at_the_end_and_all_episodes_land(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(after_batch, "REMEMBERED_BYTES", 0)
    calls: list[list[str]] = []
    assert run(instance, lake, failing_once(calls))
    assert calls == [KEYS[:1], *([key] for key in KEYS)]
    assert open_keys(lake, SPEAKERS) == KEYS
    assert notes(lake) == []


def test_a_last_call_that_fails_is_made_by_the_next_run_of_the_stage(instance: dg.DagsterInstance, lake: Lake) -> None:
    calls: list[list[str]] = []
    told = failing_once(calls)
    assert not run(instance, lake, told, KEYS[:2])
    assert open_keys(lake, SPEAKERS) == KEYS[:2]
    assert run(instance, lake, told, KEYS[2:])
    assert calls == [KEYS[:2], KEYS[:2], KEYS[2:]]
    assert notes(lake) == []


def test_what_a_killed_run_has_landed_is_told_once_by_the_sensor(instance: dg.DagsterInstance, lake: Lake) -> None:
    killed = multiprocessing.get_context("fork").Process(target=run, args=(instance, lake, kill))
    killed.start()
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert open_keys(lake, SPEAKERS) == KEYS
    forget_keys(lake.home, ["diarization"], KEYS[:1])
    calls: list[list[str]] = []
    resources = SimpleNamespace(told=calls.append)
    assert len(finish_ended(instance, lake, [diarization], resources)) == 1
    assert finish_ended(instance, lake, [diarization], resources) == []
    assert calls == [KEYS[1:]]


def test_the_note_of_a_run_that_works_is_left_to_it(instance: dg.DagsterInstance, lake: Lake) -> None:
    seen: list[list[str]] = []

    def told(_: list[str]) -> None:
        seen.append(finish_ended(instance, lake, [diarization], SimpleNamespace(told=told)))

    assert run(instance, lake, told)
    assert seen == [[]]
