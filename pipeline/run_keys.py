"""The partition keys of a run. Dagster's own tags name only the first and the last key, so our tag lists them all.

Between the request and the start of a run, another process may move or remove a key. The range would then cover
other keys.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.dagster_internals import PARTITION_TAG, RANGE_END_TAG, RANGE_START_TAG

KEYS_TAG = "podlake/keys"


def key_tags(keys: Sequence[str], *, with_range: bool = True) -> dict[str, str]:
    """The tags of a run over these keys, which are neighbours in the order of partitions.

    Without a range, Dagster logs no planned event per key, which costs more than a poll.
    """
    tags = {RANGE_START_TAG: keys[0], RANGE_END_TAG: keys[-1]} if with_range else {}
    return {**tags, KEYS_TAG: ",".join(keys)}


def has_planned_events(tags: Mapping[str, str]) -> bool:
    """Whether Dagster logged a planned event for each key of the run with these tags."""
    return PARTITION_TAG in tags or RANGE_START_TAG in tags


def named_keys(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that our tag lists. Runs that the UI or a backfill requests have no such tag."""
    return tuple(tags[KEYS_TAG].split(",")) if KEYS_TAG in tags else ()


def keys_of(tags: Mapping[str, str], order: Sequence[str], position: Mapping[str, int]) -> Sequence[str]:
    """The keys of a run with these tags. `order` lists all keys, `position` is the index of each."""
    if named := named_keys(tags):
        return named
    if PARTITION_TAG in tags:
        return [tags[PARTITION_TAG]]
    first, last = (position.get(tags.get(tag, "")) for tag in (RANGE_START_TAG, RANGE_END_TAG))
    return order[first : last + 1] if first is not None and last is not None else ()
