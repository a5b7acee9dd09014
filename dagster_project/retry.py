"""`podlake retry`: what failed, once more."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import dagster as dg

from dagster_project.in_process import materialize_range
from dagster_project.settings import Settings
from dagster_project.stages import STAGES, batch_size
from partitions.definitions import add_keys
from pipeline.batches import batched
from resources.lake.home import Home
from resources.lake.warehouse import ask, connect

_FAILED = """
select stage, episode_id from lake.failures
where (len($stages) = 0 or list_contains($stages, stage))
  and (len($classes) = 0 or list_contains($classes, error_class))
  and (len($feeds) = 0 or list_contains($feeds, feed_id))
order by stage, last_at desc, episode_id
"""


def failed(
    home: Home, *, stages: Collection[str] = (), classes: Collection[str] = (), feeds: Collection[str] = ()
) -> dict[str, list[str]]:
    """Stage → the keys that failed there, in the order of the lineage; nothing given: all of them."""
    chosen = {"stages": list(stages), "classes": list(classes), "feeds": list(feeds)}
    with connect(home) as connection:
        rows = ask(connection, _FAILED, chosen)
    found = {stage: [key for name, key in rows if name == stage] for stage in STAGES}
    return {stage: keys for stage, keys in found.items() if keys}


def bring_back(instance: dg.DagsterInstance, wanted: Mapping[str, Sequence[str]]) -> None:
    """See to it that Dagster knows the keys: one that failed stays in work."""
    for stage, keys in wanted.items():
        add_keys(instance, STAGES[stage].partitions, keys)


def retry_here(instance: dg.DagsterInstance, settings: Settings, wanted: Mapping[str, Sequence[str]]) -> None:
    """In this process, each stage's keys in full batches. What is made from them is left to the next run."""
    for stage in (stage for stage in STAGES.values() if stage.name in wanted):
        for batch in batched(instance, stage.partitions, wanted[stage.name], batch_size(settings, stage)):
            materialize_range(instance, stage.name, batch)
