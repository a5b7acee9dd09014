"""The order of partition keys, and how it is changed."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from partitions.definitions import EPISODES, FEEDS, add_keys
from pipeline.dagster_internals import move_to_end, remove_keys
from tests.instances import instance_for_test

MANY = [f"show-20260101-{n:08x}" for n in range(25_000)]


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with instance_for_test() as made:
        yield made


def order(instance: dg.DagsterInstance) -> list[str]:
    return list(instance.get_dynamic_partitions("episodes"))


def test_keys_are_added_once_and_in_order(instance: dg.DagsterInstance) -> None:
    assert add_keys(instance, EPISODES, ["b", "a", "b"]) == ["b", "a"]
    assert add_keys(instance, EPISODES, ["c", "a"]) == ["c"]
    assert order(instance) == ["b", "a", "c"]


def test_scattered_keys_become_neighbours_at_the_end(instance: dg.DagsterInstance) -> None:
    add_keys(instance, EPISODES, list("abcdef"))
    add_keys(instance, FEEDS, list("abcdef"))
    move_to_end(instance, EPISODES, ["e", "a", "c", "e"])
    assert order(instance) == ["b", "d", "f", "e", "a", "c"]
    assert list(instance.get_dynamic_partitions("feeds")) == list("abcdef")


def test_more_keys_than_a_statement_takes(instance: dg.DagsterInstance) -> None:
    add_keys(instance, EPISODES, MANY)
    move_to_end(instance, EPISODES, MANY[:-1])
    assert order(instance) == [MANY[-1], *MANY[:-1]]
    remove_keys(instance, EPISODES, MANY[1:])
    assert order(instance) == MANY[:1]
