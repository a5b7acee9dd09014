"""The keys of a run. A Dagster run names only the ends of its key range, so a tag lists the keys as well.

Between the request and the start of a run, another process may move a key or remove it, and the range would cover
other keys. The tag says which keys are meant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

KEYS_TAG = "podlake/keys"


def key_tags(keys: Sequence[str]) -> dict[str, str]:
    """The tags of a run over these keys, which are neighbours in the order of partitions."""
    return {
        ASSET_PARTITION_RANGE_START_TAG: keys[0],
        ASSET_PARTITION_RANGE_END_TAG: keys[-1],
        KEYS_TAG: ",".join(keys),
    }


def named_keys(tags: Mapping[str, str]) -> tuple[str, ...]:
    """The keys that the tag lists; none for runs that were requested in the UI or by a backfill."""
    return tuple(tags[KEYS_TAG].split(",")) if KEYS_TAG in tags else ()


def keys_of(tags: Mapping[str, str], order: Sequence[str], position: Mapping[str, int]) -> Sequence[str]:
    """The keys that a run with these tags works on, given the order of partitions."""
    if named := named_keys(tags):
        return named
    if PARTITION_NAME_TAG in tags:
        return [tags[PARTITION_NAME_TAG]]
    first, last = (
        position.get(tags.get(tag, "")) for tag in (ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)
    )
    return order[first : last + 1] if first is not None and last is not None else ()
