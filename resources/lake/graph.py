"""The stage graph as data: what each stage reads, writes and needs. Order and completeness derive from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Literal

from resources.lake.tables import Table

PartitionKind = Literal["feed", "episode", "podcast", "lesson", "video"]
EngineSlot = Literal["diarizer", "transcriber", "synthesizer", "translator"]


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """What the planner, the views and compaction need to know about a stage."""

    name: str
    tables: tuple[Table, ...]
    inputs: tuple[str, ...] = ()
    """Stages of the same partition whose landings it reads."""
    optional_inputs: tuple[str, ...] = ()
    """Stages of the same partition that it waits for while they can run, and does without if they have failed. It is
    outdated when one of them lands later, or with other rows."""
    ordered: tuple[str, ...] = ()
    """The optional inputs that Dagster's backfills wait for too. They skip the partitions for which these have failed,
    which the planner requests then."""
    gathers: tuple[str, ...] = ()
    """Of a stage of feeds: stages of episodes. It reads their landings of all episodes of the feed."""
    partition_kind: PartitionKind = "episode"
    batch_size: int
    """Partitions in one run, unless a setting overrides it."""
    version: str
    """Increased by hand when a change of the stage's code changes its rows."""
    pool: str | None = None
    engine_slot: EngineSlot | None = None
    """The kind of engine that does the work; None: no engine."""


class GraphError(Exception):
    """The declared stages do not form a graph."""


@dataclass(frozen=True)
class StageGraph:
    """All partitioned stages. Raises `GraphError` for unknown inputs, duplicate names and cycles."""

    declared: tuple[StageSpec, ...]

    def __post_init__(self) -> None:
        kinds = {stage.name: stage.partition_kind for stage in self.declared}
        if len(kinds) != len(self.declared):
            raise GraphError("Two stages have the same name.")
        for stage in self.declared:
            for name in stage.inputs + stage.optional_inputs:
                if kinds.get(name) != stage.partition_kind:
                    raise GraphError(f"{stage.name} reads {name}, which is not a stage of {stage.partition_kind}s.")
            for name in stage.gathers:
                if stage.partition_kind != "feed" or kinds.get(name, "episode") != "episode":
                    raise GraphError(f"{stage.name} gathers {name}: only a stage of feeds gathers stages of episodes.")
        try:
            self.stages  # noqa: B018 - sorts them
        except CycleError as error:
            raise GraphError(f"These stages read each other: {', '.join(error.args[1])}.") from error

    @cached_property
    def stages(self) -> tuple[StageSpec, ...]:
        """Inputs first, otherwise in declared order."""
        by_name = {stage.name: stage for stage in self.declared}
        sorter = TopologicalSorter({name: stage.inputs + stage.optional_inputs for name, stage in by_name.items()})
        sorter.prepare()
        position = {stage.name: index for index, stage in enumerate(self.declared)}
        found: list[StageSpec] = []
        waiting: list[str] = []
        while sorter.is_active():
            waiting = sorted([*waiting, *sorter.get_ready()], key=position.__getitem__)
            name = waiting.pop(0)
            sorter.done(name)
            found.append(by_name[name])
        return tuple(found)

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.stages)

    @cached_property
    def _by_name(self) -> Mapping[str, StageSpec]:
        return {stage.name: stage for stage in self.stages}

    def __getitem__(self, name: str) -> StageSpec:
        return self._by_name[name]

    def __iter__(self) -> Iterator[StageSpec]:
        return iter(self.stages)

    def of_kind(self, kind: PartitionKind) -> StageGraph:
        """The stages of one kind of partition."""
        return StageGraph(tuple(stage for stage in self.stages if stage.partition_kind == kind))

    def all_inputs(self, name: str) -> frozenset[str]:
        """The stages that a stage reads, directly or through others."""
        direct = self[name].inputs
        return frozenset(direct).union(*(self.all_inputs(one) for one in direct))

    def awaited(self, name: str) -> frozenset[str]:
        """The stages that it waits for while they can run."""
        direct = self[name].inputs + self[name].optional_inputs
        return frozenset(direct).union(*(self.awaited(one) for one in direct))

    @cached_property
    def terminal(self) -> tuple[str, ...]:
        """The stages that no other stage reads, if only optionally. A partition is complete if they are committed and not
        outdated.
        """
        read = {name for stage in self.stages for name in stage.inputs + stage.optional_inputs}
        return tuple(stage.name for stage in self.stages if stage.name not in read)

    @cached_property
    def engine_stages(self) -> tuple[str, ...]:
        return tuple(stage.name for stage in self.stages if stage.engine_slot)
