"""How far every episode and feed is, mostly from file names."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from resources.lake.commits import all_open_commits
from resources.lake.lake import Lake
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import FAILURES, STAGE_RUNS, TABLES


def stages_of(named_by: str) -> tuple[str, ...]:
    """The stages whose landings this column names, as the tables list them: reading needs neither Dagster nor assets."""
    return tuple(dict.fromkeys(table.asset for table in TABLES.values() if table.landing == (named_by,)))


EPISODE_STAGES = stages_of("episode_id")
FEED_STAGES = stages_of("feed_id")


@dataclass(frozen=True)
class Progress:
    """Stage → the keys that have landed there, and those that have failed."""

    stages: tuple[str, ...]
    landed: Mapping[str, Set[str]]
    failed: Mapping[str, Set[str]]

    def state(self, key: str) -> str:
        """`done`, `failed: audio`, `next: diarization`."""
        failed = [stage for stage in self.stages if key in self.failed[stage]]
        if failed:
            return f"failed: {', '.join(failed)}"
        missing = [stage for stage in self.stages if key not in self.landed[stage]]
        return f"next: {missing[0]}" if missing else "done"

    def complete(self) -> Set[str]:
        """The keys that have landed at every stage."""
        return frozenset.intersection(*(frozenset(self.landed[stage]) for stage in self.stages))


def progress(lake: Lake, stages: tuple[str, ...]) -> Progress:
    """The progress of all partitions at the stages, open or sealed."""
    found = all_open_commits(lake.home)
    landed = {stage: set(found.get(stage, ())) for stage in stages}
    failed: dict[str, set[str]] = {stage: set() for stage in stages}
    for name in lake.keys(FAILURES):
        key, _, stage = name.partition(".")
        if stage in failed:
            failed[stage].add(key)
    for stage, keys in SealedFiles(lake.home, STAGE_RUNS).landed().items():
        if stage in landed:
            landed[stage] |= keys
    for stage in stages:
        landed[stage] -= failed[stage]
    return Progress(stages, landed, failed)
