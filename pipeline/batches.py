"""Batches of keys: a Dagster run covers neighbours in the order of partitions, so scattered keys are moved together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def grouped(
    order: Sequence[str], keys: Iterable[str], size: int, *, pinned: Collection[str] = ()
) -> tuple[list[list[str]], list[str]]:
    """Batches of at most `size` neighbours, and the keys that must move to the end of the order to become neighbours.

    Neighbours that fill a batch stay where they are. `pinned` keys must not move, because a run that is queued or
    under way names them.
    """
    position = {key: index for index, key in enumerate(order)}
    parts = [part for stretch in _stretches(sorted(position[key] for key in keys)) for part in cut(stretch, size)]
    batches = [[order[index] for index in part] for part in parts]
    movable = [batch for batch in batches if len(batch) < size and not any(key in pinned for key in batch)]
    if len(movable) < 2:
        return batches, []
    moved = {batch[0] for batch in movable}
    return [batch for batch in batches if batch[0] not in moved], [key for batch in movable for key in batch]


def cut(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _stretches(positions: Sequence[int]) -> list[list[int]]:
    """Runs of consecutive numbers."""
    found: list[list[int]] = []
    for index in positions:
        if found and index == found[-1][-1] + 1:
            found[-1].append(index)
        else:
            found.append([index])
    return found
