"""Where every episode stands, told by the names of files: no landing is opened for it.

Each try at a stage leaves a file in `stage_runs`, and a failure that nobody has mended one in `failures`:
what was tried and has no failure has landed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from resources.lake.lake import Lake
from resources.lake.tables import FAILURES, STAGE_RUNS, TABLES, Table

STAGES: tuple[str, ...] = tuple(
    dict.fromkeys(table.asset for table in TABLES.values() if table.landing == ("episode_id",))
)
"""The stages that every episode goes through, in the order of the lineage."""

POLL = "episodes"
"""The stage that a feed goes through."""


@dataclass(frozen=True)
class Standing:
    """Stage → the episodes that have landed there, and those that have failed; feeds for `POLL`."""

    landed: Mapping[str, frozenset[str]]
    failed: Mapping[str, frozenset[str]]

    def state(self, episode_id: str) -> str:
        """`done`, `failed: audio`, `next: diarization`."""
        failed = [stage for stage in STAGES if episode_id in self.failed[stage]]
        if failed:
            return f"failed: {', '.join(failed)}"
        missing = [stage for stage in STAGES if episode_id not in self.landed[stage]]
        return f"next: {missing[0]}" if missing else "done"


def standing(lake: Lake) -> Standing:
    """The standing of all episodes and feeds."""
    tried, failed = _by_stage(lake, STAGE_RUNS), _by_stage(lake, FAILURES)
    return Standing({stage: frozenset(tried[stage] - failed[stage]) for stage in tried}, failed)


def _by_stage(lake: Lake, table: Table) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {stage: set() for stage in (POLL, *STAGES)}
    for key in _landing_keys(lake, table):
        key_of, _, stage = key.rpartition(".")
        found.setdefault(stage, set()).add(key_of)
    return {stage: frozenset(keys) for stage, keys in found.items()}


def _landing_keys(lake: Lake, table: Table) -> set[str]:
    """Keys of all landings, open or sealed."""
    keys, sealed = set(lake.open_keys(table)), lake.read_sealed(table, table.landing)
    if sealed is not None:
        keys |= {".".join(names) for names in zip(*(sealed[name].to_pylist() for name in table.landing), strict=True)}
    return keys
