"""Runs a Dagster run in this process. The UI shows it like any other; it does not wait in the run queue."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from uuid import uuid4

import dagster as dg

from assets.stages import STAGES
from dagster_project.planning import move_scattered
from pipeline.dagster_internals import execute_assets
from pipeline.planner import Batch
from pipeline.run_cancellation import interrupted_if_cancelled
from pipeline.run_keys import key_tags
from pipeline.run_process import process_tags
from speech.signals import sigterm_kept

log = logging.getLogger("podlake")

DEFINITIONS = "dagster_project.definitions"

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""The batch contract logs a line per episode. Dagster's own lines are in the UI."""


def run_batch(instance: dg.DagsterInstance, batch: Batch) -> None:
    """Run a planned batch. Scattered keys become neighbours first."""
    move_scattered(instance, [batch])
    materialize_range(instance, batch.stage, batch.keys)


def materialize_range(instance: dg.DagsterInstance, asset: str, keys: Sequence[str]) -> None:
    """Run the stage for keys that are neighbours. Episodes that fail are in the tables."""
    log.info("%s: %d %s", asset, len(keys), f"{STAGES[asset].partition_kind}s", extra={"stage": asset})
    materialize(instance, asset, key_tags(keys, with_range=STAGES[asset].note_unchanged is None))


def materialize(
    instance: dg.DagsterInstance, assets: str | Sequence[str], tags: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Run the asset, or several in one run. Raises `KeyboardInterrupt` if interrupted, `RuntimeError` for errors outside of the step.

    A run that another process cancels ends within seconds, and this returns.
    """
    run_id, failed = str(uuid4()), None
    with sigterm_kept(), interrupted_if_cancelled(instance, run_id):
        names = [assets] if isinstance(assets, str) else assets
        failed = execute_assets(instance, DEFINITIONS, names, {**process_tags(), **tags}, QUIET, run_id)
    if failed is None:
        return
    # Dagster does not raise interrupts and errors outside of steps; it only logs them.
    data = failed.job_failure_data
    reason = data.failure_reason.value if data.failure_reason else None
    if reason == "UNEXPECTED_TERMINATION":
        raise KeyboardInterrupt
    if reason == "RUN_EXCEPTION" and data.error:
        raise RuntimeError(data.error.to_string())
