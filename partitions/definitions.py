"""The two kinds of partitions, and the order of their keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dagster import DagsterInstance, DynamicPartitionsDefinition

FEEDS = DynamicPartitionsDefinition(name="feeds")
EPISODES = DynamicPartitionsDefinition(name="episodes")

_ADD_AT_ONCE = 10_000
"""SQLite takes no more variables in one statement."""


def add_keys(instance: DagsterInstance, definition: DynamicPartitionsDefinition, keys: Sequence[str]) -> list[str]:
    """Register the keys that are not registered yet, in order. Returns the new ones."""
    known = set(instance.get_dynamic_partitions(definition.name or ""))
    new = [key for key in dict.fromkeys(keys) if key not in known]
    for start in range(0, len(new), _ADD_AT_ONCE):
        instance.add_dynamic_partitions(definition.name or "", new[start : start + _ADD_AT_ONCE])
    return new


def move_to_end(instance: DagsterInstance, definition: DynamicPartitionsDefinition, keys: Iterable[str]) -> None:
    """Take the keys out of the order and put them at its end, together; their history stays.

    Dagster's runs cover contiguous ranges of keys: scattered keys that are to run again become one batch.
    """
    keys = list(keys)
    for key in keys:
        instance.delete_dynamic_partition(definition.name or "", key)
    add_keys(instance, definition, keys)


def contiguous(order: Sequence[str], keys: Iterable[str]) -> bool:
    """Whether the keys stand together in the order."""
    position = {key: index for index, key in enumerate(order)}
    found = sorted(position[key] for key in keys)
    return not found or found[-1] - found[0] == len(found) - 1
