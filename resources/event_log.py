"""Dagster's event log on SQLite, with its connections kept open, and what a run is to land logged in one go.

Dagster opens and closes a connection for each of the four transactions of an event, which costs SQLAlchemy its
compiled statements, and SQLite a checkpoint of its write-ahead log. bench/landings.py says what keeping them saves.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqlEventLogStorageTable, SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS

KEPT_OPEN = 4
"""Databases of runs, beside the index of all of them."""


class EventLog(SqliteEventLogStorage):
    """The same files in the same place as Dagster's own, which can be put back at any time.

    A process that is killed loses nothing. A machine that loses power may lose its last events, but no landing:
    events say what the lake has, and `podlake run` logs those that are missing.
    """

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._engines: dict[str, sa.Engine] = {}
        self._tables: frozenset[str] = frozenset()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> EventLog:  # noqa: ARG003 – there is nothing to configure
        return cls(str(Path(os.environ["DAGSTER_HOME"]).expanduser() / "history" / "runs"), inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sa.Connection]:
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> sa.Engine:
        if shard not in self._engines:
            self._engines[shard] = _open(self.conn_string_for_shard(shard))
            for other in [name for name in self._engines if name != INDEX_SHARD_NAME][:-KEPT_OPEN]:
                self._engines.pop(other).dispose()
        engine = self._engines[shard]
        if shard not in self._initialized_dbs:
            self._initdb(engine, for_index_shard=shard == INDEX_SHARD_NAME)
            self._initialized_dbs.add(shard)
        return engine

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """What a run is to land, with DAGSTER_EVENT_BATCH_SIZE: two transactions, and not three for each partition."""
        if {event.dagster_event_type for event in events} != {dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED}:
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(event) for event in events]
        last_of_each = {event.get_dagster_event().asset_key: event for event in events}
        with self.run_connection(events[0].run_id) as run:
            run.execute(SqlEventLogStorageTable.insert(), rows)
        with self.index_transaction() as index:
            index.execute(SqlEventLogStorageTable.insert(), rows)
            for event in last_of_each.values():
                self._store_asset_event(index, event, event_id=0)  # it is kept of what has landed alone

    def has_table(self, table_name: str) -> bool:
        """Asked with every event, and in the midst of a transaction."""
        if table_name not in self._tables:
            self._tables = frozenset(sa.inspect(self._engine(INDEX_SHARD_NAME)).get_table_names())
        return table_name in self._tables

    def wipe(self) -> None:
        self._close()
        super().wipe()

    def dispose(self) -> None:
        super().dispose()
        self._close()

    def _close(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()


def _open(url: str) -> sa.Engine:
    engine = sa.create_engine(url, pool_size=1, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})

    @sa.event.listens_for(engine, "connect")
    def _sync_at_checkpoints(connection: Any, _: object) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine
