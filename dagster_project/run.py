"""The main job in one process: poll, and take every episode through every stage, batch by batch.

What the daemon does with schedules and backfills, without a daemon: for a laptop, a demo, a cron line.
Every batch is an ordinary Dagster run, visible in the UI.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.definitions.reconstruct import ReconstructableRepository
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from assets.contract import report_if_unknown
from assets.process import bury_dead_runs
from assets.records import last_landings
from assets.stage import Stage
from assets.window import admit
from dagster_project.given import window
from dagster_project.settings import Settings
from dagster_project.stages import EPISODE_STAGES, STAGES, batch_size, code_version
from dagster_project.todo import left_to_do
from partitions.batches import batched
from partitions.definitions import EPISODES, FEEDS
from partitions.keys import feed_of
from resources.catalogue import Catalogue
from resources.engines import Engines
from resources.lake import Lake
from resources.tries import Tries

log = logging.getLogger("podlake")

DEFINITIONS, ASSET_JOB = "dagster_project.definitions", "__ASSET_JOB"
"""Dagster's own job for any selection of assets: the runs are the same as those that its UI launches."""

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
"""The batch contract says what happens, a line per episode; Dagster's own lines are in the UI."""


@dataclass(frozen=True)
class Selection:
    """Which episodes to work on."""

    feeds: tuple[str, ...] = ()
    """None: every feed."""
    newest: int | None = None
    """Per feed; None: all."""
    failed_too: bool = False
    """Also what failed and is not due for another try."""


def run(instance: dg.DagsterInstance, settings: Settings, lake: Lake, engines: Engines, selection: Selection) -> None:
    """Everything that is left to do. An episode's failure is recorded and logged, and stops nothing."""
    for run_id in bury_dead_runs(instance):
        log.info("run %s was killed; its pool slots are free again", run_id)
    _materialize(instance, ["feeds"], {})
    feeds = [key for key in instance.get_dynamic_partitions("feeds") if not selection.feeds or key in selection.feeds]
    for batch in batched(instance, FEEDS, feeds, settings.batch_feeds):
        materialize_range(instance, "episodes", batch)
    admit(instance, Catalogue(lake), window(settings))
    keys = selected(lake, instance, selection)
    log.info("%d episodes of %d feeds", len(keys), len(feeds))
    for stage in EPISODE_STAGES:
        _catch_up(instance, lake, stage, keys, code_version(stage, engines))
        todo = left_to_do(Tries.listed(lake), stage, keys, failed_too=selection.failed_too)
        for batch in batched(instance, EPISODES, todo, batch_size(settings, stage)):
            materialize_range(instance, stage.name, batch)
    _materialize(instance, ["warehouse"], {})


def selected(lake: Lake, instance: dg.DagsterInstance, selection: Selection) -> list[str]:
    """The episodes in work that the selection names, newest first within their feed."""
    catalogue = Catalogue(lake)
    by_feed: dict[str, list[str]] = {}
    for key in instance.get_dynamic_partitions("episodes"):
        by_feed.setdefault(feed_of(key), []).append(key)
    wanted = {feed: keys for feed, keys in by_feed.items() if not selection.feeds or feed in selection.feeds}
    if selection.newest is None:
        return [key for keys in wanted.values() for key in keys]
    published = {key: entry.published_at for keys in wanted.values() for key, entry in catalogue.entries(keys).items()}
    newest = {
        feed: sorted(keys, key=lambda key: (published.get(key) is not None, published.get(key)), reverse=True)[
            : selection.newest
        ]
        for feed, keys in wanted.items()
    }
    return [key for keys in newest.values() for key in keys]


def _catch_up(instance: dg.DagsterInstance, lake: Lake, stage: Stage, keys: Sequence[str], version: str) -> None:
    """Give Dagster the events that a killed run could not log."""
    materialized = instance.get_materialized_partitions(dg.AssetKey(stage.name))
    for key in last_landings(lake, stage.name, [key for key in keys if key not in materialized]):
        if report_if_unknown(instance, lake, stage, key, version):
            log.info("%s: %s had landed before a run was killed; Dagster knows it now", stage.name, key)


def materialize_range(instance: dg.DagsterInstance, asset: str, keys: Sequence[str]) -> None:
    """One run over keys that stand together in their order. Which episodes failed in it stands in the tables."""
    log.info("%s: %d %s", asset, len(keys), "feeds" if STAGES[asset].partitions is FEEDS else "episodes")
    _materialize(instance, [asset], {ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[-1]})


def _materialize(instance: dg.DagsterInstance, assets: Sequence[str], tags: dict[str, str]) -> None:
    """One Dagster run. That episodes failed in it stands in the tables; nothing is raised."""
    dg.execute_job(
        ReconstructableRepository.for_module(DEFINITIONS, "defs").get_reconstructable_job(ASSET_JOB),
        instance=instance,
        asset_selection=[dg.AssetKey(asset) for asset in assets],
        tags=tags,
        run_config=QUIET,
        raise_on_error=False,
    )
