"""Rows as a stage would land them, blank but for what a test cares for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pyarrow as pa

from resources.lake.lake import Lake
from resources.lake.tables import QUALITY, STAGE_RUNS, Table

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def land(lake: Lake, table: Table, key: str, rows: list[Mapping[str, object]]) -> None:
    """A landing under the key, which says what its naming columns are."""
    named = dict(zip(table.landing, key.split("."), strict=False))
    lake.land(table, key, table.of([filled(table, {**named, **row}) for row in rows]))


def land_last(lake: Lake, episode_id: str, **quality: object) -> None:
    """What makes an episode complete: its quality, and the record of it."""
    land(lake, QUALITY, episode_id, [quality])
    land(lake, STAGE_RUNS, STAGE_RUNS.landing_key(episode_id, "quality"), [{"outcome": "landed"}])


def filled(table: Table, row: Mapping[str, object]) -> dict[str, object]:
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
