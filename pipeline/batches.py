"""Batches of keys: a Dagster run covers a contiguous range of the order, so scattered keys are put together first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dagster import DagsterInstance, DynamicPartitionsDefinition

from partitions.definitions import move_to_end

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """How keys become runs."""

    batches: list[list[str]]
    """Each contiguous once `moved` stand at the end of the order; full ones first."""
    moved: list[str]


def plan(order: Sequence[str], keys: Collection[str], size: int, *, pinned: Collection[str] = ()) -> Plan:
    """Batches of at most `size` that cover the keys with as few runs as moving the keys allows.

    Stretches that fill a batch stay where they are; the rest is moved together. `pinned` keys must not be
    moved, because a run that is queued or under way names them by its range.
    """
    whole: list[list[str]] = []
    short: list[list[str]] = []
    for stretch in _stretches(order, keys):
        for batch in _cut(stretch, size):
            (whole if len(batch) == size else short).append(batch)
    free = [key for batch in short if not set(batch) & set(pinned) for key in batch]
    stuck = [batch for batch in short if set(batch) & set(pinned)]
    moved = free if len(short) - len(stuck) > 1 else []
    return Plan([*whole, *_cut(free, size), *stuck], moved)


def batched(
    instance: DagsterInstance,
    definition: DynamicPartitionsDefinition,
    keys: Collection[str],
    size: int,
    *,
    pinned: Collection[str] = (),
) -> list[list[str]]:
    """The batches of a plan, after its keys have been moved."""
    planned = plan(instance.get_dynamic_partitions(definition.name or ""), keys, size, pinned=pinned)
    if planned.moved:
        move_to_end(instance, definition, planned.moved)
    return planned.batches


def _stretches(order: Sequence[str], keys: Collection[str]) -> Iterator[list[str]]:
    wanted = set(keys)
    stretch: list[str] = []
    for key in order:
        if key in wanted:
            stretch.append(key)
        elif stretch:
            yield stretch
            stretch = []
    if stretch:
        yield stretch


def _cut(keys: Sequence[str], size: int) -> Iterable[list[str]]:
    return (list(keys[start : start + size]) for start in range(0, len(keys), size))


def grouped(
    order: Sequence[str], keys: Iterable[str], size: int, *, pinned: Collection[str] = ()
) -> tuple[list[list[str]], list[str]]:
    """Batches of at most `size` neighbours, and the keys that must move to the end of the order to become neighbours.

    Neighbours that fill a batch stay where they are. `pinned` keys must not move, because a run that is queued or
    under way names them.
    """
    position = {key: index for index, key in enumerate(order)}
    parts = [
        part for stretch in _position_stretches(sorted(position[key] for key in keys)) for part in cut(stretch, size)
    ]
    batches = [[order[index] for index in part] for part in parts]
    movable = [batch for batch in batches if len(batch) < size and not any(key in pinned for key in batch)]
    if len(movable) < 2:
        return batches, []
    moved = {batch[0] for batch in movable}
    return [batch for batch in batches if batch[0] not in moved], [key for batch in movable for key in batch]


def cut(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _position_stretches(positions: Sequence[int]) -> list[list[int]]:
    """Runs of consecutive numbers."""
    found: list[list[int]] = []
    for index in positions:
        if found and index == found[-1][-1] + 1:
            found[-1].append(index)
        else:
            found.append([index])
    return found
