"""Which batch a lane takes next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.lanes import CPU_STAGES, ENGINES, PATIENCE_S, Batch, Work, next_batch
from dagster_project.settings import Settings
from dagster_project.stages import EPISODE_STAGES
from partitions.definitions import EPISODES, add_keys
from resources.lake.home import Home
from resources.lake.lake import Lake

KEYS = [f"show-2026010{n}-0000000{n}" for n in range(1, 9)]
NOTHING: dict[str, list[str]] = {stage.name: [] for stage in EPISODE_STAGES}


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Work]:
    sizes = dict.fromkeys((f"batch_{stage.name}" for stage in EPISODE_STAGES), 4)
    with dg.instance_for_test() as instance:
        add_keys(instance, EPISODES, KEYS)
        yield Work(instance, Settings(**sizes), Lake(Home.at(str(tmp_path))), KEYS, failed_too=False)  # type: ignore[arg-type]


def _taken(batch: Batch) -> tuple[str, list[str]]:
    return batch.stage.name, list(batch.keys)


def test_the_largest_batch_is_taken(work: Work) -> None:
    left = NOTHING | {"diarization": KEYS[:2], "transcript": KEYS[2:5]}
    assert _taken(next_batch(work, ENGINES, left)) == ("transcript", KEYS[2:5])


def test_engines_take_what_there_is(work: Work) -> None:
    left = NOTHING | {"audio": KEYS[1:], "diarization": KEYS[:1]}
    assert _taken(next_batch(work, ENGINES, left)) == ("diarization", KEYS[:1])


def test_a_part_of_a_batch_waits_while_more_may_come_to_it(work: Work) -> None:
    left = NOTHING | {"audio": KEYS[5:7], "hashes": KEYS[:3]}
    assert _taken(next_batch(work, CPU_STAGES, left)) == ("audio", KEYS[5:7])
    assert _taken(next_batch(work, CPU_STAGES, {**left, "audio": []})) == ("hashes", KEYS[:3])


@pytest.mark.parametrize("before", ["audio", "hashes", "diarization", "transcript", "turns"])
def test_quality_waits_for_all_that_comes_before_it(work: Work, before: str) -> None:
    left = NOTHING | {"quality": KEYS[:3]}
    ours = tuple(stage for stage in CPU_STAGES if stage.name == "quality")
    assert not next_batch(work, ours, {**left, before: KEYS[3:4]}).keys
    assert next_batch(work, ours, left).keys


def test_a_lane_without_anything_else_to_do_does_not_wait_for_ever(work: Work) -> None:
    left = NOTHING | {"transcript": KEYS[3:], "turns": KEYS[:3]}
    assert not next_batch(work, CPU_STAGES, left, idle_s=PATIENCE_S - 1).keys
    assert _taken(next_batch(work, CPU_STAGES, left, idle_s=PATIENCE_S)) == ("turns", KEYS[:3])


def test_a_full_batch_waits_for_nothing(work: Work) -> None:
    left = NOTHING | {"transcript": KEYS[5:], "turns": KEYS[:4]}
    assert _taken(next_batch(work, CPU_STAGES, left)) == ("turns", KEYS[:4])


def test_keys_are_put_together_only_where_no_other_lane_works_on_a_range_of_them(work: Work) -> None:
    left = NOTHING | {"audio": [KEYS[0], KEYS[2], KEYS[4]]}
    assert list(next_batch(work, CPU_STAGES, left).keys) == [KEYS[0]]
    batch = next_batch(work, EPISODE_STAGES, left)
    assert (list(batch.keys), list(batch.moved)) == (left["audio"], left["audio"])
