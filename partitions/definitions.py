"""The two kinds of partitions, and the order of their keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from dagster import DagsterInstance, DynamicPartitionsDefinition
from dagster._core.storage.event_log.schema import DynamicPartitionsTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy.exc import IntegrityError

FEEDS = DynamicPartitionsDefinition(name="feeds")
EPISODES = DynamicPartitionsDefinition(name="episodes")

_AT_ONCE = 10_000
"""SQLite takes no more variables in one statement."""


def add_keys(instance: DagsterInstance, definition: DynamicPartitionsDefinition, keys: Sequence[str]) -> list[str]:
    """Register the keys that are not registered yet, in order. Returns the new ones."""
    known = set(instance.get_dynamic_partitions(definition.name or ""))
    new = [key for key in dict.fromkeys(keys) if key not in known]
    for some in _in_parts(new):
        instance.add_dynamic_partitions(definition.name or "", some)
    return new


def remove_keys(instance: DagsterInstance, definition: DynamicPartitionsDefinition, keys: Iterable[str]) -> None:
    """Take the keys out of the order; their history stays."""
    _replace(instance, definition, list(keys), [])


def move_to_end(instance: DagsterInstance, definition: DynamicPartitionsDefinition, keys: Iterable[str]) -> None:
    """Take the keys out of the order and put them at its end, together; their history stays.

    Dagster's runs cover contiguous ranges of keys: scattered keys that are to run again become one batch.
    """
    keys = list(dict.fromkeys(keys))
    _replace(instance, definition, keys, keys)


def _replace(
    instance: DagsterInstance, definition: DynamicPartitionsDefinition, old: Sequence[str], new: Sequence[str]
) -> None:
    """In one transaction: Dagster's own call takes out one key, in ten milliseconds, and a kill would lose the others."""
    name, store = definition.name or "", instance.event_log_storage
    if not isinstance(store, SqlEventLogStorage):
        for key in old:
            instance.delete_dynamic_partition(name, key)
        instance.add_dynamic_partitions(name, new)
        return
    try:
        _replace_rows(store, name, old, new)
    except IntegrityError:  # another process has put one of them there meanwhile
        _replace_rows(store, name, old, new)


def _replace_rows(store: SqlEventLogStorage, name: str, old: Sequence[str], new: Sequence[str]) -> None:
    table = DynamicPartitionsTable
    with store.index_transaction() as connection:
        for some in _in_parts(old):
            connection.execute(table.delete().where(table.c.partitions_def_name == name, table.c.partition.in_(some)))
        for some in _in_parts(new):
            connection.execute(table.insert(), [{"partitions_def_name": name, "partition": key} for key in some])


def _in_parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE))


def contiguous(order: Sequence[str], keys: Iterable[str]) -> bool:
    """Whether the keys stand together in the order."""
    position = {key: index for index, key in enumerate(order)}
    found = sorted(position[key] for key in keys)
    return not found or found[-1] - found[0] == len(found) - 1
