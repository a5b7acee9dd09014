"""The stage graph: order, transitive inputs, terminal stages, and what is no graph."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resources.lake.graph import EngineSlot, GraphError, PartitionKind, StageGraph, StageSpec
from resources.lake.tables import QUALITY


def stage(name: str, *inputs: str, kind: PartitionKind = "episode", slot: EngineSlot | None = None) -> StageSpec:
    return StageSpec(
        name=name, tables=(QUALITY,), inputs=inputs, partition_kind=kind, batch_size=1, version="1", engine_slot=slot
    )


GRAPH = StageGraph(
    (
        stage("turns", "words", "segments"),
        stage("polls", kind="feed"),
        stage("words", "audio", slot="transcriber"),
        stage("segments", "audio", slot="diarizer"),
        stage("audio"),
        stage("hashes", "audio"),
    )
)


def test_inputs_come_first_and_otherwise_the_order_is_as_declared() -> None:
    assert GRAPH.names == ("polls", "audio", "words", "segments", "turns", "hashes")
    assert GRAPH.of_kind("episode").names == ("audio", "words", "segments", "turns", "hashes")
    assert GRAPH.of_kind("feed").names == ("polls",)


def test_inputs_are_followed_through_other_stages() -> None:
    assert GRAPH.all_inputs("turns") == {"audio", "words", "segments"}
    assert GRAPH.all_inputs("audio") == frozenset()


def test_terminal_stages_are_those_that_no_stage_reads() -> None:
    assert GRAPH.of_kind("episode").terminal == ("turns", "hashes")


def test_a_stage_that_is_read_if_it_has_landed_comes_first_and_is_not_terminal() -> None:
    graph = StageGraph((replace(stage("sums", "audio"), optional_inputs=("notes",)), stage("notes"), stage("audio")))
    assert graph.names == ("notes", "audio", "sums")
    assert graph.terminal == ("sums",)
    assert graph.all_inputs("sums") == {"audio"}


def test_engine_stages_are_those_with_a_slot() -> None:
    assert GRAPH.engine_stages == ("words", "segments")


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ((stage("one"), stage("one")), "Two stages have the same name"),
        ((stage("one", "other"),), "one reads other, which is not a stage of episodes"),
        ((stage("one", "two"), stage("two", kind="feed")), "one reads two"),
        ((stage("one", "two"), stage("two", "one")), "read each other"),
    ],
)
def test_what_is_no_graph_is_refused(stages: tuple[StageSpec, ...], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        StageGraph(stages)
