"""Rows for benchmarks of the lake: blank but for their keys and what a question asks for."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from resources.lake.commits import NO_VERSION, Commit, new_commit
from resources.lake.lake import Lake
from resources.lake.tables import STAGE_RUNS, Table

SHA = "0123456789abcdef" * 4


def blank_rows(table: Table, n_rows: int, **columns: pa.Array) -> pa.Table:
    """So many rows of the table; columns that are not given are NULL or, where they may not be, blank."""
    arrays = [
        columns[field.name].cast(field.type) if field.name in columns else _blank(field, n_rows)
        for field in table.schema
    ]
    return pa.Table.from_arrays(arrays, schema=table.schema)


def land(lake: Lake, table: Table, key: str, rows: pa.Table) -> Commit:
    """A landing that has rows in one table of its stage."""
    commit = new_commit(key, table.asset, data="d" * 10, inputs=NO_VERSION, engine=NO_VERSION)
    record = blank_rows(
        STAGE_RUNS, 1, episode_id=pa.array([key]), stage=pa.array([table.asset]), outcome=pa.array(["landed"]),
        stamp=pa.array([commit.stamp]),
    )  # fmt: skip
    lake.write_rows(commit, [(table, rows)])
    lake.commit(*STAGE_RUNS.rows_of(record))
    return commit


def _blank(field: pa.Field, n_rows: int) -> pa.Array:
    if field.nullable:
        return pa.nulls(n_rows, field.type)
    if pa.types.is_list(field.type):
        return pa.array([[]], field.type).take(pa.array([0] * n_rows))
    values = {pa.string(): SHA[:16] if field.name != "audio_sha256" else SHA, pa.bool_(): False}
    value = datetime(2026, 1, 1, tzinfo=UTC) if pa.types.is_timestamp(field.type) else values.get(field.type, 0)
    return pa.repeat(pa.scalar(value, field.type), n_rows)
