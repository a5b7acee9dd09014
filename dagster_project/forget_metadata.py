"""Removes what Dagster's storage says of episodes, feeds and others: events, tags, backfills, ticks, partitions, logs.

Dagster has no call for this. The databases are searched by content, so that no table is missed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from speech.errors import PodlakeError

if TYPE_CHECKING:
    import sqlalchemy as sa

REMOVED = "forgotten"
"""Stands where a run of several episodes named a forgotten one."""
SHORTEST = 8
"""Shorter texts, such as a guid `17`, also occur elsewhere."""
_EDITED = {"runs", "run_tags", "asset_keys", "jobs", "instigators", "daemon_heartbeats", "kvs"}
"""Tables whose rows stay: the text is replaced. Rows of other tables are deleted."""
_AT_ONCE = 200


class InWork(PodlakeError):
    """A run or a backfill works on what is to be forgotten."""


@dataclass(frozen=True)
class Traces:
    """What identifies the episodes and feeds in texts."""

    keys: frozenset[str]
    """Partition keys."""
    feeds: frozenset[str]
    """The feeds whose polls list the episodes."""
    texts: frozenset[str] = field(default=frozenset())
    """Guids, titles and URLs."""

    @property
    def needles(self) -> list[str]:
        """Keys, and texts as they are and as JSON strings write them."""
        texts = {text for text in self.texts if len(text) >= SHORTEST}
        return sorted({*self.keys, *texts, *(json.dumps(text)[1:-1] for text in texts)}, key=len, reverse=True)


def remove_traces(instance: dg.DagsterInstance, traces: Traces, service_url: str) -> int:
    """Remove the traces from the instance's databases and logs, and from the database of jobs, alerts and requests.

    Returns the number of rows that were deleted.
    """
    count = 0
    for database in _databases(instance, service_url):
        count += _clean(database, traces)
    for log in _logs(instance):
        _drop_lines(log, [needle.encode() for needle in traces.needles])
    return count


def _databases(instance: dg.DagsterInstance, service_url: str) -> Iterator[sa.Engine]:
    """Those of a server, the SQLite files of DAGSTER_HOME, and the service's, which has the requests, at the end."""
    import sqlalchemy as sa

    stores = (instance.event_log_storage, instance.run_storage, instance.schedule_storage)
    servers = {url for store in stores if (url := getattr(store, "postgres_url", None))}
    service = Path(sa.make_url(service_url).database or "") if service_url.startswith("sqlite") else None
    for url in servers - {service_url}:
        yield sa.create_engine(url)
    files = {path.resolve() for path in Path(instance.root_directory).rglob("*.db")}
    for path in sorted(files - {service.resolve()} if service else files):
        yield sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 60})
    if service is None:
        yield sa.create_engine(service_url)
    elif service.exists():
        yield sa.create_engine(service_url, connect_args={"timeout": 60})


def _clean(database: sa.Engine, traces: Traces) -> int:
    import sqlalchemy as sa

    schema = sa.MetaData()
    with database.begin() as connection:
        schema.reflect(connection)
        count = sum(_clean_table(connection, table, traces) for table in schema.tables.values())
        _remove_orphaned_tags(connection, schema)
    if database.dialect.name == "sqlite":
        # Deleted rows stay in the file, and in its log, until it is written anew.
        with database.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("vacuum")
            connection.exec_driver_sql("pragma wal_checkpoint(truncate)")
    database.dispose()
    return count


def _clean_table(connection: sa.Connection, table: sa.Table, traces: Traces) -> int:
    import sqlalchemy as sa

    columns = [column for column in table.columns if isinstance(column.type, sa.String)]
    if table.name in _EDITED:
        _edit(connection, table, columns, traces.needles)
        return 0
    count = 0
    if "partition" in table.columns and "asset_key" in table.columns:
        of_feed = sa.and_(table.c.partition.in_(traces.feeds), table.c.asset_key == '["episodes"]')
        count += connection.execute(table.delete().where(of_feed)).rowcount
    for needles in _parts(traces.needles):
        holds = sa.or_(*(_holds(column, needle) for column in columns for needle in needles))
        if "partition" in table.columns and table.name == "event_logs":
            # Another episode's event may contain the same title or URL.
            others = [table.c.partition.is_(None), table.c.partition.in_(traces.keys)]
            holds = sa.and_(holds, sa.or_(*others))
        if columns:
            count += connection.execute(table.delete().where(holds)).rowcount
    return count


def _edit(connection: sa.Connection, table: sa.Table, columns: Sequence[sa.Column[str]], needles: list[str]) -> None:
    import sqlalchemy as sa

    for column in columns:
        is_event = column.name in ("last_materialization", "cached_status_data")
        for needle in needles:
            new = sa.null() if is_event else sa.func.replace(column, needle, REMOVED)
            connection.execute(table.update().where(_holds(column, needle)).values({column: new}))


def _remove_orphaned_tags(connection: sa.Connection, schema: sa.MetaData) -> None:
    import sqlalchemy as sa

    if {"asset_event_tags", "event_logs"} <= schema.tables.keys():
        tags, events = schema.tables["asset_event_tags"], schema.tables["event_logs"]
        connection.execute(tags.delete().where(tags.c.event_id.not_in(sa.select(events.c.id))))


def _holds(column: sa.Column[str], text: str) -> sa.ColumnElement[bool]:
    return column.contains(text, autoescape=True)


def _parts(needles: list[str]) -> Iterator[list[str]]:
    return (needles[start : start + _AT_ONCE] for start in range(0, len(needles), _AT_ONCE))


def _logs(instance: dg.DagsterInstance) -> Iterator[Path]:
    """What runs and the daemon wrote to their standard streams."""
    for pattern in ("storage/**/*", "logs/**/*"):
        yield from (path for path in Path(instance.root_directory).glob(pattern) if path.is_file())


def _drop_lines(log: Path, needles: Collection[bytes]) -> None:
    content = log.read_bytes()
    if any(needle in content for needle in needles):
        kept = [line for line in content.splitlines(keepends=True) if not any(needle in line for needle in needles)]
        log.write_bytes(b"".join(kept))
