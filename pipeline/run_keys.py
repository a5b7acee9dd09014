"""The partition keys of a run. Dagster's own tags name only the first and the last key, so our tag lists them all.

Between the request and the start of a run, another process may move or remove a key. The range would then cover
other keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, takewhile

from pipeline.dagster_internals import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG

KEYS_TAG = "podlake/keys"
"""More keys than fit into one tag go on in `podlake/keys.1`, `podlake/keys.2`, …"""
TAG_CHARACTERS = 1_500
"""PostgreSQL indexes the values of tags, and refuses one of more than about 2 700 bytes."""


def key_tags(keys: Sequence[str], *, with_range: bool = True) -> dict[str, str]:
    """The tags of a run over these keys, which are neighbours in the order of partitions.

    Without a range, Dagster logs no planned event per key, which costs more than a poll.
    """
    tags = {RANGE_START_TAG: keys[0], RANGE_END_TAG: keys[-1]} if with_range else {}
    return {**tags, **{_tag(number): ",".join(part) for number, part in enumerate(_parts(keys))}}


def has_planned_events(tags: Mapping[str, str]) -> bool:
    """Whether Dagster logged a planned event for each key of the run with these tags."""
    return PARTITION_TAG in tags or RANGE_START_TAG in tags


def named_keys(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that our tag lists. Runs that the UI or a backfill requests have no such tag."""
    parts = takewhile(bool, (tags.get(_tag(number), "") for number in count()))
    return tuple(key for part in parts for key in part.split(","))


def _tag(number: int) -> str:
    return f"{KEYS_TAG}.{number}" if number else KEYS_TAG


def _parts(keys: Sequence[str]) -> Iterator[list[str]]:
    """Keys whose names fit into one tag."""
    part: list[str] = []
    size = 0
    for key in keys:
        if part and size + len(key) + 1 > TAG_CHARACTERS:
            yield part
            part, size = [], 0
        part.append(key)
        size += len(key) + 1
    if part:
        yield part


def keys_of(tags: Mapping[str, str], order: Sequence[str], position: Mapping[str, int]) -> Sequence[str]:
    """The keys of a run with these tags. `order` lists all keys, `position` is the index of each."""
    if named := named_keys(tags):
        return named
    if PARTITION_TAG in tags:
        return [tags[PARTITION_TAG]]
    first, last = (position.get(tags.get(tag, "")) for tag in (RANGE_START_TAG, RANGE_END_TAG))
    return order[first : last + 1] if first is not None and last is not None else ()
