"""The kinds of partitions: feeds, episodes, podcasts from scripts, lessons that are dubbed, and requested videos."""

from __future__ import annotations

from collections.abc import Sequence

from dagster import DagsterInstance, DynamicPartitionsDefinition

FEEDS = DynamicPartitionsDefinition(name="feeds")
EPISODES = DynamicPartitionsDefinition(name="episodes")
PODCASTS = DynamicPartitionsDefinition(name="podcasts")
LESSONS = DynamicPartitionsDefinition(name="lessons")
VIDEOS = DynamicPartitionsDefinition(name="videos")

_AT_ONCE = 10_000
"""Keys per statement: SQLite limits the variables of one statement."""


def add_keys(instance: DagsterInstance, definition: DynamicPartitionsDefinition, keys: Sequence[str]) -> list[str]:
    """Add the keys that are not partitions yet, in order. Returns the new ones."""
    known = set(instance.get_dynamic_partitions(definition.name or ""))
    new = [key for key in dict.fromkeys(keys) if key not in known]
    for start in range(0, len(new), _AT_ONCE):
        instance.add_dynamic_partitions(definition.name or "", new[start : start + _AT_ONCE])
    return new
