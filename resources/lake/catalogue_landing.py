"""Lands rows of a feed outside of its stages: an import adds episodes, a removal leaves some out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pyarrow as pa

from resources.lake.commits import NO_VERSION, Commit, data_version, engine_version, new_commit
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES, TABLES, Table
from resources.lake.tables.pipeline import StageRunRow


def _feed_tables() -> dict[str, tuple[Table, ...]]:
    tables = [table for table in TABLES.values() if table.landing == ("feed_id",)]
    return {stage: tuple(one for one in tables if one.asset == stage) for stage in {table.asset for table in tables}}


FEED_TABLES: Mapping[str, tuple[Table, ...]] = _feed_tables()
"""Stage → its tables, of the stages whose partitions are feeds."""


def land_feed(
    lake: Lake, feed_id: str, rows: Mapping[str, pa.Table], made_by: str, *, stage: str = EPISODES.asset
) -> Commit:
    """Land these rows of the stage's tables; a table without rows is empty. Raises `StorageError`."""
    started_at = datetime.now(UTC)
    landing = [(table, rows.get(table.name, table.schema.empty_table())) for table in FEED_TABLES[stage]]
    old = lake.current(stage, [feed_id]).get(feed_id)
    commit = new_commit(
        feed_id, stage, data=data_version(table for _, table in landing),
        inputs=old.inputs_version if old else NO_VERSION,
        engine=old.engine_version if old else engine_version(None, "1"), after=old,
    )  # fmt: skip
    run_id = f"{made_by}-{commit.stamp.partition('-')[0]}"
    record = StageRunRow(
        run_id=run_id, root_run_id=run_id, episode_id=feed_id, stage=stage, outcome="landed", started_at=started_at,
        finished_at=commit.landed_at, batch_episodes=1, attempts=1, stamp=commit.stamp, inputs=(),
    )  # fmt: skip
    lake.write_rows(commit, landing)
    lake.commit(record)
    return commit
