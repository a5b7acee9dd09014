"""The only module that imports private Dagster names. Each has a reason here and a contract test."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from time import time
from typing import Any, cast
from uuid import uuid4

import dagster as dg

# A backfill as the UI requests it: Dagster has no public call for a backfill of chosen partitions of several assets.
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset

# The job for any selection of assets, as the UI launches it: the public calls refuse its reserved name.
from dagster._core.definitions.reconstruct import ReconstructableRepository

# A planned event of one partition: `DagsterEvent` is public, its data is not.
from dagster._core.events import AssetMaterializationPlannedData

# A run of an asset without its checks: the public call adds them, or does not record which asset was selected.
from dagster._core.execution.api import execute_run

# The active backfills: `get_backfills` is public, but without its filter it loads all backfills of the past.
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus, PartitionBackfill

# The order of partition keys: the public calls remove one key per transaction, and cannot move a key.
# The times of the last events: the public calls return no times, or load every event.
# Every storage that Dagster offers (SQLite, PostgreSQL, MySQL, memory) has the tables and connections that are used here.
from dagster._core.storage.event_log.schema import DynamicPartitionsTable, SqlEventLogStorageTable
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

# Tags that Dagster documents or shows in its UI, but exports no names for.
PARTITION_TAG = "dagster/partition"
RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
ROOT_RUN_ID_TAG = "dagster/root_run_id"
PRIORITY_TAG = "dagster/priority"
CODE_VERSION_TAG = "dagster/code_version"
DATA_VERSION_TAG = "dagster/data_version"
DATA_VERSION_IS_GIVEN_TAG = "dagster/data_version_is_user_provided"
INPUT_DATA_VERSION_TAG = "dagster/input_data_version"
INPUT_EVENT_POINTER_TAG = "dagster/input_event_pointer"
NO_EVENT_POINTER = "NULL"
"""The value of an input's event pointer if the input has no event."""
NO_DATA_VERSION = "NULL"
"""The data version of an asset that has not been materialized: what reads it is outdated when it lands."""

_FINISHED = ("SUCCESS", "FAILURE", "CANCELED", "MANAGED")
UNFINISHED = tuple(status for status in dg.DagsterRunStatus if status.value not in _FINISHED)

_ACTIVE = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]
_WORTH_A_TRANSACTION = 2
_AT_ONCE = 10_000
"""SQLite takes no more variables in one statement."""


def execute_assets(
    instance: dg.DagsterInstance,
    module: str,
    assets: Sequence[str],
    tags: Mapping[str, str],
    run_config: Mapping[str, Any],
    run_id: str | None = None,
) -> dg.DagsterEvent | None:
    """Run assets of the module's definitions in this process. Returns the event of the run's failure, if it failed."""
    job = ReconstructableRepository.for_module(module, "defs").get_reconstructable_job("__ASSET_JOB")
    keys = {dg.AssetKey(asset) for asset in assets}
    job = job.get_subset(asset_selection=keys, asset_check_selection=frozenset())
    definition = job.get_definition()
    # To record which assets are selected, the call selects them once more, and would add the steps of the checks.
    definition.get_subset = lambda **_: definition  # type: ignore[method-assign]
    run = instance.create_run_for_job(
        definition,
        run_id=run_id,
        run_config=run_config,
        tags=tags,
        asset_selection=keys,
        job_code_origin=job.get_python_origin(),
    )
    without_checks = run._replace(asset_check_selection=frozenset())
    result = execute_run(job, without_checks, instance, raise_on_error=False)
    return next((event for event in result.all_events if event.is_run_failure), None)


def allow_runs_in_threads(instance: dg.DagsterInstance) -> None:
    """Let runs start in several threads of this process. Without this they deadlock.

    Each start of a run calls `logging.config.dictConfig`, which locks all log handlers, also those of other runs. The
    handlers that dagster.yaml configures do not change, so they are made once. Each run also redirects the standard
    output of the process to a file of its own and back; two that overlap would leave it redirected. An ephemeral
    instance has a log manager that does not.
    """
    handlers = instance.get_yaml_python_handlers()
    instance.get_yaml_python_handlers = lambda: handlers  # type: ignore[method-assign]
    instance._compute_log_manager = dg.DagsterInstance.ephemeral().compute_log_manager


def last_event_times(instance: dg.DagsterInstance, asset: dg.AssetKey) -> dict[str, datetime]:
    """Partition → the time of its last materialization event, in one query."""
    store, events = cast("Any", instance.event_log_storage), SqlEventLogStorageTable.c
    query = (
        select(events.partition, func.max(events.timestamp))
        .where(events.asset_key == asset.to_string())
        .where(events.dagster_event_type == dg.DagsterEventType.ASSET_MATERIALIZATION.value)
        .group_by(events.partition)
    )
    with store.index_connection() as connection:
        return {key: at.replace(tzinfo=UTC) for key, at in connection.execute(query) if key is not None}


def log_planned(instance: dg.DagsterInstance, run: dg.DagsterRun, asset: str, key: str) -> None:
    """Log that the run was to make this partition: it is red if the run fails."""
    data = AssetMaterializationPlannedData(dg.AssetKey(asset), partition=key)
    event = dg.DagsterEvent.build_asset_materialization_planned_event(run.job_name, asset, data)
    instance.report_dagster_event(event, run.run_id)


def log_materializations(context: dg.AssetExecutionContext, events: Sequence[dg.AssetMaterialization]) -> None:
    """Log events of the step that runs. SQLite takes 5 ms of CPU for one, so there they share a transaction."""
    store = context.instance.event_log_storage
    is_sqlite = getattr(store, "is_run_sharded", False)  # a database for each run
    if len(events) < _WORTH_A_TRANSACTION or not is_sqlite:
        for event in events:
            context.log_event(event)
        return
    op_context = context.op_execution_context
    step = _UnloggedStep(op_context.get_step_execution_context())
    made = [dg.DagsterEvent.asset_materialization(cast("Any", step), event) for event in events]
    _store_together(
        store,
        [
            dg.EventLogEntry(
                error_info=None, level=logging.DEBUG, user_message=event.message or "", run_id=context.run.run_id,
                timestamp=time(), step_key=event.step_key, job_name=event.job_name, dagster_event=event,
            )
            for event in made
        ],
    )  # fmt: skip
    op_context._events.extend(made)  # as `log_event` does, for those who ask for the result of the run


class _UnloggedStep:
    """The step, as a source of events that are not logged when they are made."""

    def __init__(self, step: object) -> None:
        self._step, self.log = step, self

    def log_dagster_event(self, **_: object) -> None:
        return

    def __getattr__(self, name: str) -> object:
        return getattr(self._step, name)


def _store_together(store: Any, entries: Sequence[dg.EventLogEntry]) -> None:
    """As `store_event` does for each: into the log of the run, and into the index of all assets."""
    rows, insert = [store._event_to_row(entry) for entry in entries], SqlEventLogStorageTable.insert()
    with store.run_connection(entries[0].run_id) as connection:
        connection.execute(insert, rows)
    with store.index_transaction() as connection:
        ids = [cast("Any", connection.execute(insert, row)).inserted_primary_key[0] for row in rows]
        store._store_asset_event_tags(connection, entries, ids)
        store._store_asset_event(connection, entries[-1], ids[-1])  # the asset's row has its last event only


def remove_keys(instance: dg.DagsterInstance, definition: dg.DynamicPartitionsDefinition, keys: Iterable[str]) -> None:
    """Remove partition keys. Their events stay."""
    _replace(instance, definition, list(keys), [])


def move_to_end(instance: dg.DagsterInstance, definition: dg.DynamicPartitionsDefinition, keys: Iterable[str]) -> None:
    """Move partition keys to the end of the order, next to each other, so that one run covers them."""
    keys = list(dict.fromkeys(keys))
    _replace(instance, definition, keys, keys)


def _replace(
    instance: dg.DagsterInstance, definition: dg.DynamicPartitionsDefinition, old: Sequence[str], new: Sequence[str]
) -> None:
    """Remove and add in one transaction: a killed process loses no key."""
    name, store = definition.name or "", cast("Any", instance.event_log_storage)
    try:
        _replace_rows(store, name, old, new)
    except IntegrityError:  # another process has added one of the keys in between
        _replace_rows(store, name, old, new)


def _replace_rows(store: Any, name: str, old: Sequence[str], new: Sequence[str]) -> None:
    table = DynamicPartitionsTable
    with store.index_transaction() as connection:
        for some in _parts(old):
            connection.execute(table.delete().where(table.c.partitions_def_name == name, table.c.partition.in_(some)))
        for some in _parts(new):
            connection.execute(table.insert(), [{"partitions_def_name": name, "partition": key} for key in some])


def _parts(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    return (keys[start : start + _AT_ONCE] for start in range(0, len(keys), _AT_ONCE))


def active_backfills(instance: dg.DagsterInstance) -> Iterator[tuple[dict[str, set[str]], dict[str, set[str]]]]:
    """For each active backfill: asset → its target keys, and asset → the target keys that have not ended yet."""
    for backfill in instance.get_backfills(filters=BulkActionsFilter(statuses=_ACTIVE)):
        if data := backfill.asset_backfill_data:
            left = data.target_subset - data.materialized_subset - data.failed_and_downstream_subset
            yield _keys_by_asset(data.target_subset), _keys_by_asset(left)


def _keys_by_asset(subset: AssetGraphSubset) -> dict[str, set[str]]:
    return {
        asset.to_user_string(): set(keys.get_partition_keys())
        for asset, keys in subset.partitions_subsets_by_asset_key.items()
    }


def add_backfill(
    instance: dg.DagsterInstance,
    targets: Mapping[str, tuple[dg.DynamicPartitionsDefinition, Collection[str]]],
    tags: Mapping[str, str],
    title: str,
) -> str:
    """Request a backfill of these keys of each asset. Returns its id."""
    subsets = {
        dg.AssetKey(asset): definition.subset_with_partition_keys(keys) for asset, (definition, keys) in targets.items()
    }
    backfill = PartitionBackfill.from_asset_graph_subset(
        backfill_id=uuid4().hex[:8],
        backfill_timestamp=time(),
        tags=tags,
        dynamic_partitions_store=instance,
        asset_graph_subset=AssetGraphSubset(subsets, set()),  # type: ignore[call-arg]
        title=title,
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    return backfill.backfill_id
