"""A Dagster run in this process: the same as those that its UI launches, and visible there."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.events import JobFailureData, RunFailureReason

from assets.stages import STAGES
from pipeline.run_keys import key_tags
from pipeline.run_process import signature

log = logging.getLogger("podlake")

DEFINITIONS, ASSET_JOB = "dagster_project.definitions", "__ASSET_JOB"
"""Dagster's own job for any selection of assets."""

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""The batch contract says what happens, a line per episode; Dagster's own lines are in the UI."""


def materialize_range(instance: dg.DagsterInstance, asset: str, keys: Sequence[str]) -> None:
    """One run over keys that stand together in their order. Which episodes failed in it stands in the tables."""
    log.info("%s: %d %s", asset, len(keys), "feeds" if STAGES[asset].partition_kind == "feed" else "episodes")
    materialize(instance, asset, key_tags(keys))


def materialize(instance: dg.DagsterInstance, asset: str, tags: Mapping[str, str] = MappingProxyType({})) -> None:
    """One run. That episodes failed in it stands in the tables. Raises `KeyboardInterrupt`, and `RuntimeError` for what
    is nobody's episode.
    """
    made = dg.execute_job(
        ReconstructableRepository.for_module(DEFINITIONS, "defs").get_reconstructable_job(ASSET_JOB),
        instance=instance,
        asset_selection=[dg.AssetKey(asset)],
        tags={**signature(), **tags},
        run_config=QUIET,
        raise_on_error=False,
    )
    for event in made.all_events:
        if event.is_run_failure:
            _raise_unless_a_step_failed(event.job_failure_data)


def _raise_unless_a_step_failed(failed: JobFailureData) -> None:
    """Dagster takes note of a Ctrl-C, and of what went wrong around the steps, and holds it back."""
    if failed.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION:
        raise KeyboardInterrupt
    if failed.failure_reason is RunFailureReason.RUN_EXCEPTION and failed.error:
        raise RuntimeError(failed.error.to_string())
