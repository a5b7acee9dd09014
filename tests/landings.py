"""Rows as a stage would land them, blank but for what a test cares for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from assets.stages import EPISODE_GRAPH, FEED_GRAPH
from pipeline.records import Run, commit_landing, record_failure, write_rows
from pipeline.stage import Failure, Outcome, Stage
from resources.lake.commits import (
    Commit,
    all_open_commits,
    data_version,
    engine_version,
    inputs_version,
    new_commit,
    open_commits,
)
from resources.lake.compaction import Sealed, seal, settled
from resources.lake.lake import Lake
from resources.lake.sealed_files import Sizes
from resources.lake.tables import QUALITY, STAGE_RUNS, TABLES, Table
from resources.lake.tables.pipeline import StageRunRow

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)

INPUTS = {
    "hashes": ["audio"], "diarization": ["audio"], "transcript": ["audio"], "turns": ["diarization", "transcript"],
    "utterances": ["turns", "transcript", "diarization", "audio"], "quality": ["hashes", "turns", "utterances", "publisher_transcript"],
}  # fmt: skip
"""The inputs of the stages, as far as they have landed when a test lands a stage."""


def land(lake: Lake, table: Table, key: str, rows: list[Mapping[str, Any]], **record: Any) -> Commit | None:
    """Land rows in one table of a stage, whose other tables keep theirs; or in a table that no stage commits."""
    if not table.is_sealable:
        named = dict(zip(table.landing, key.split("."), strict=False))
        lake.replace(table, key, table.of([filled(table, {**named, **row}) for row in rows]))
        return None
    if table is STAGE_RUNS:
        return _land_records(lake, key, rows)
    others = [other for other in TABLES.values() if other.asset == table.asset and other.is_sealable and other != table]
    kept = {other.name: found.to_pylist() for other in others if (found := lake.read(other, key)) is not None}
    return land_stage(lake, table.asset, key, {**kept, table.name: rows}, **record)


def _land_records(lake: Lake, key: str, rows: list[Mapping[str, Any]]) -> Commit | None:
    """Tries of a stage, one after the other. `key` is `<key>.<stage>`. The stage's tables keep their rows."""
    key_of, stage = key.rsplit(".", 1)
    of_stage = [table for table in TABLES.values() if table.asset == stage and table.is_sealable]
    kept = {table.name: found.to_pylist() for table in of_stage if (found := lake.read(table, key_of)) is not None}
    commit = None
    for row in rows:
        record = {name: value for name, value in row.items() if name not in ("episode_id", "stage")}
        if row.get("outcome", "landed") == "landed":
            commit = land_stage(lake, stage, key_of, kept, **record)
        else:
            land_failed_try(lake, stage, key_of, **record)
    return commit


def land_stage(lake: Lake, stage: str, key: str, rows: Mapping[str, list[Mapping[str, Any]]], **record: Any) -> Commit:
    """A landing of the stage: the rows of its tables, and its record."""
    of_stage = [table for table in TABLES.values() if table.asset == stage and table.is_sealable]
    landing = [
        (table, table.of([filled(table, {table.landing[0]: key, **row}) for row in rows.get(table.name, [])]))
        for table in of_stage
    ]
    inputs = {
        name: commits[key].data_version
        for name in INPUTS.get(stage, ())
        if key in (commits := open_commits(lake.home, name))
    }
    commit = new_commit(
        key,
        stage,
        data=data_version(table for _, table in landing),
        inputs=inputs_version(inputs),
        engine=engine_version(record.get("engine_fingerprint"), "1"),
        after=open_commits(lake.home, stage).get(key),
    )
    row = {"episode_id": key, "stage": stage, "outcome": "landed", "finished_at": commit.landed_at, **record}
    lake.write_rows(commit, landing)
    lake.commit(StageRunRow(**filled(STAGE_RUNS, {**row, "stamp": commit.stamp})))
    return commit


def land_failed_try(lake: Lake, stage: str, key: str, **record: Any) -> None:
    """The record of a try that landed nothing."""
    attempt = new_commit(key, stage, data=data_version([]), inputs=inputs_version({}), engine=engine_version(None, "1"))
    row = {"episode_id": key, "stage": stage, "outcome": "failed_permanent", "stamp": attempt.stamp, **record}
    lake.record_failed_try(StageRunRow(**filled(STAGE_RUNS, row)))


def land_last(lake: Lake, episode_id: str, **quality: object) -> None:
    """What makes an episode complete: its quality."""
    land(lake, QUALITY, episode_id, [quality])


def land_arrow(lake: Lake, table: Table, key: str, rows: pa.Table) -> None:
    """A landing of these rows in one table of a stage."""
    if table.is_sealable:
        land(lake, table, key, rows.to_pylist())
    else:
        lake.replace(table, key, rows)


def open_keys(lake: Lake, table: Table) -> list[str]:
    """The keys that have an open landing in the table."""
    return sorted(open_commits(lake.home, table.asset)) if table.is_sealable else lake.keys(table)


def filled(table: Table, row: Mapping[str, object]) -> dict[str, Any]:
    """The row with all columns of the table, and no others."""
    return {field.name: row.get(field.name, _blank(field)) for field in table.schema}


def _blank(field: pa.Field) -> object:
    if field.nullable:
        return None
    if pa.types.is_timestamp(field.type):
        return NOON
    if pa.types.is_list(field.type):
        return []
    return {pa.string(): "", pa.bool_(): False}.get(field.type, 0)


def land_outcome(lake: Lake, stage: Stage, outcome: Outcome, run: Run, *, attempts: int = 1) -> None:
    """What the batch contract does with an outcome. A landing without rows gets a blank one in every table."""
    if isinstance(outcome, Failure):
        record_failure(lake, stage, outcome, run, attempts=attempts)
        return
    rows = outcome.rows or {table.name: [filled(table, {})] for table in stage.tables}
    cost = outcome.cost
    known = {"audio_sha256": cost.audio_sha256 or "a" * 64, "engine_fingerprint": cost.engine_fingerprint or "f" * 16}
    landing = replace(outcome, rows=rows, cost=replace(cost, **known))
    found = {name: lake.runs(name, [outcome.key]) for name in stage.inputs + stage.optional_inputs}
    upstream = {name: landed[outcome.key] for name, landed in found.items() if landed}
    _, commit = write_rows(
        lake, stage, landing, run, upstream, replaces=open_commits(lake.home, stage.name).get(landing.key)
    )
    commit_landing(lake, stage, landing, run, upstream, commit, write_ms=1, attempts=attempts)


def backlog(lake: Lake) -> int:
    """The most open landings that a stage has."""
    return max((len(commits) for commits in all_open_commits(lake.home).values()), default=0)


def seal_settled(lake: Lake, sizes: Sizes = Sizes()) -> dict[str, Sealed]:  # noqa: B008 - frozen
    """Compact the episodes and feeds that are complete and do not fail. Table → what was done to it."""
    keys = {key for graph in (EPISODE_GRAPH, FEED_GRAPH) for key in settled(lake, graph, datetime.now(UTC))}
    return {sealed.table: sealed for sealed in seal(lake, keys, sizes=sizes)}
