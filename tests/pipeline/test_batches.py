"""How keys become contiguous batches."""

from __future__ import annotations

import random
import string

import dagster as dg
from hypothesis import given
from hypothesis import strategies as st

from partitions.definitions import EPISODES, add_keys
from pipeline.batches import batched, plan

ORDER = list(string.ascii_lowercase)


def test_what_stands_together_stays_where_it_is() -> None:
    planned = plan(ORDER, set("cdefg"), 2)
    assert planned.batches == [["c", "d"], ["e", "f"], ["g"]]
    assert planned.moved == []


def test_only_what_fills_no_batch_is_moved() -> None:
    planned = plan(ORDER, set("abc" + "ij" + "x"), 2)
    assert planned.batches == [["a", "b"], ["i", "j"], ["c", "x"]]
    assert planned.moved == ["c", "x"]


def test_pinned_keys_stay_and_go_as_they_stand() -> None:
    planned = plan(ORDER, set("ab" + "d" + "g" + "z"), 4, pinned={"b"})
    assert planned.batches == [["d", "g", "z"], ["a", "b"]]
    assert planned.moved == ["d", "g", "z"]


def test_fifty_scattered_keys_are_one_batch() -> None:
    keys = [f"show-{n:04d}" for n in range(1000)]
    failed = random.Random(3).sample(keys, 50)
    with dg.instance_for_test() as instance:
        add_keys(instance, EPISODES, keys)
        (batch,) = batched(instance, EPISODES, failed, 64)
        assert sorted(batch) == sorted(failed)
        assert instance.get_dynamic_partitions("episodes")[-50:] == batch


@given(keys=st.sets(st.sampled_from(ORDER)), pinned=st.sets(st.sampled_from(ORDER)), size=st.integers(1, 8))
def test_every_key_is_in_exactly_one_contiguous_batch(keys: set[str], pinned: set[str], size: int) -> None:
    planned = plan(ORDER, keys, size, pinned=pinned)
    assert sorted(key for batch in planned.batches for key in batch) == sorted(keys)
    assert not set(planned.moved) & pinned
    order = "".join([*(key for key in ORDER if key not in planned.moved), *planned.moved])
    assert all("".join(batch) in order and len(batch) <= size for batch in planned.batches)
