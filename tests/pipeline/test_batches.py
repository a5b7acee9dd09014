"""How keys become batches of neighbours."""

from __future__ import annotations

import random
import string

from hypothesis import given
from hypothesis import strategies as st

from partitions.definitions import EPISODES, add_keys
from pipeline.batches import cut, grouped
from pipeline.dagster_internals import move_to_end
from tests.instances import instance_for_test

ORDER = list(string.ascii_lowercase)


def test_neighbours_stay_where_they_are() -> None:
    assert grouped(ORDER, set("cdefg"), 2) == ([["c", "d"], ["e", "f"], ["g"]], [])


def test_only_what_fills_no_batch_is_moved() -> None:
    assert grouped(ORDER, set("abc" + "ij" + "x"), 2) == ([["a", "b"], ["i", "j"]], ["c", "x"])


def test_pinned_keys_stay() -> None:
    assert grouped(ORDER, set("ab" + "d" + "g" + "z"), 4, pinned={"b"}) == ([["a", "b"]], ["d", "g", "z"])


def test_fifty_scattered_keys_are_one_batch() -> None:
    keys = [f"show-{n:04d}" for n in range(1000)]
    failed = random.Random(3).sample(keys, 50)
    with instance_for_test() as instance:
        add_keys(instance, EPISODES, keys)
        together, scattered = grouped(instance.get_dynamic_partitions("episodes"), failed, 64)
        assert (together, sorted(scattered)) == ([], sorted(failed))
        move_to_end(instance, EPISODES, scattered)
        assert instance.get_dynamic_partitions("episodes")[-50:] == scattered


@given(keys=st.sets(st.sampled_from(ORDER)), pinned=st.sets(st.sampled_from(ORDER)), size=st.integers(1, 8))
def test_every_key_is_in_exactly_one_batch_of_neighbours(keys: set[str], pinned: set[str], size: int) -> None:
    together, scattered = grouped(ORDER, keys, size, pinned=pinned)
    batches = [*together, *cut(scattered, size)]
    assert sorted(key for batch in batches for key in batch) == sorted(keys)
    assert not set(scattered) & pinned
    order = "".join([*(key for key in ORDER if key not in scattered), *scattered])
    assert all("".join(batch) in order and len(batch) <= size for batch in batches)
