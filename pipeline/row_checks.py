"""What rows must fulfil before they land: later stages would be wrong, so their landing is refused."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from resources.lake.tables import TABLES, Table
from speech.errors import BadOutput

AFTER_END_MS = 1_000
"""Engines round times; further after the end of the audio, a time is wrong."""


def verify(tables: Mapping[str, pa.Table], key: str, audio_ms: int | None) -> None:
    """Raises `BadOutput` for rows with one primary key, and for times that are out of order or outside of the audio."""
    for name, rows in tables.items():
        table = TABLES.get(name)
        if table is not None:
            _verify_keys(table, rows, key)
        if "audio_sha256" in rows.column_names and {"start_ms", "end_ms"} <= set(rows.column_names):
            _verify_times(name, rows, key, audio_ms)


def _verify_keys(table: Table, rows: pa.Table, key: str) -> None:
    if rows.num_rows < 2:
        return
    if len(table.key) == 1:
        n_different = pc.count_distinct(rows[table.key[0]], mode="all").as_py()
    else:
        n_different = rows.select(table.key).group_by(list(table.key), use_threads=False).aggregate([]).num_rows
    if n_different < rows.num_rows:
        doubled = rows.num_rows - n_different
        raise BadOutput(f"{table.name} of {key}: {doubled} of {rows.num_rows} rows have the key of another one.")


def _verify_times(name: str, rows: pa.Table, key: str, audio_ms: int | None) -> None:
    start_ms, end_ms = rows["start_ms"], rows["end_ms"]
    wrong = pc.or_(pc.less(start_ms, 0), pc.less(end_ms, start_ms))
    if audio_ms is not None:
        wrong = pc.or_(wrong, pc.greater(end_ms, audio_ms + AFTER_END_MS))
    index = pc.index(wrong, True).as_py()
    if index >= 0:
        length = "" if audio_ms is None else f"; the audio has {audio_ms} ms"
        raise BadOutput(
            f"{name} of {key}: row {index} lasts from {start_ms[index].as_py()} to {end_ms[index].as_py()} ms{length}."
        )
