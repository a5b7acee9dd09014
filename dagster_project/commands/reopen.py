"""`podlake reopen`: bring archived episodes back to the live window."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from assets.stages import EPISODE_GRAPH
from partitions.definitions import EPISODES
from pipeline.dagster_internals import move_to_end
from pipeline.in_flight import in_flight
from resources.lake.compaction import reopen as reopen_landings
from resources.lake.compaction import sealed_episodes
from resources.lake.lake import Lake
from resources.lake.tables import FAILURES
from speech.errors import UpstreamMissing


def reopen(instance: dg.DagsterInstance, lake: Lake, keys: Sequence[str]) -> int:
    """Make the episodes the last partitions, with their landings open. Returns the number of landings.

    Raises `UpstreamMissing` for an episode that is neither sealed nor archived because it failed.
    """
    archived = _failed(lake).difference(instance.get_dynamic_partitions(EPISODES.name or ""))
    archived.update(sealed_episodes(lake, EPISODE_GRAPH.terminal))
    for key in keys:
        if key not in archived:
            raise UpstreamMissing(f"{key} is not archived. `podlake status {key}` says how far it is.")
    landings = reopen_landings(lake, keys)
    pinned = in_flight(instance, instance.get_dynamic_partitions(EPISODES.name or "")).all_keys()
    move_to_end(instance, EPISODES, [key for key in keys if key not in pinned])
    return landings


def _failed(lake: Lake) -> set[str]:
    failures = (name.partition(".") for name in lake.keys(FAILURES))
    return {key for key, _, stage in failures if stage in EPISODE_GRAPH.names}
