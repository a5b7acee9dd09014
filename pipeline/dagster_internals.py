"""Private names of Dagster, each with the reason for its use."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import func, select


def last_event_times(instance: dg.DagsterInstance, asset: dg.AssetKey) -> dict[str, datetime]:
    """Partition → the time of its last materialization event, in one query.

    Dagster's own calls give the identifiers of these events, or load the events one by one.
    """
    store, events = instance.event_log_storage, SqlEventLogStorageTable.c
    if not isinstance(store, SqlEventLogStorage):
        return dict.fromkeys(instance.get_materialized_partitions(asset), datetime.max.replace(tzinfo=UTC))
    query = (
        select(events.partition, func.max(events.timestamp))
        .where(events.asset_key == asset.to_string())
        .where(events.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION.value)
        .group_by(events.partition)
    )
    with store.index_connection() as connection:
        return {key: at.replace(tzinfo=UTC) for key, at in connection.execute(query) if key is not None}
