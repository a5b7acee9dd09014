"""Where every episode stands: landed, failed or not tried, by stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from resources.lake.lake import Lake
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import STAGE_RUNS, TABLES
from resources.lake.tries import Tries

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
    tries = Tries.listed(lake)
    landed = {stage: set(commits) for stage, commits in tries.landed.items()}
    for stage, keys in SealedFiles(lake.home, STAGE_RUNS).landed().items():
        landed.setdefault(stage, set()).update(keys)
    failed = {stage: frozenset(tries.failed[stage]) for stage in (POLL, *STAGES)}
    return Standing({stage: frozenset(landed.get(stage, set()) - failed[stage]) for stage in failed}, failed)
