"""The main job: poll, and take every episode through every stage, batch by batch.

What the daemon does with schedules and backfills, without a daemon: for a laptop, a demo, a cron line.
Every batch is an ordinary Dagster run, visible in the UI. With many episodes, fetching overlaps the engines' work.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import dagster as dg

from dagster_project.build_resources import window
from dagster_project.engine_lane import EngineLane
from dagster_project.in_process import materialize, materialize_range
from dagster_project.lanes import Work, work_off
from dagster_project.settings import Settings
from dagster_project.stages import EPISODE_STAGES, code_version
from partitions.definitions import FEEDS
from partitions.keys import feed_of
from pipeline.batches import batched
from pipeline.contract import report_if_unknown
from pipeline.in_flight import in_flight
from pipeline.live_window import admit
from pipeline.records import last_landings
from pipeline.run_process import fail_orphaned_runs
from pipeline.stage import Stage
from resources.engines.routing import Engines
from resources.lake.catalogue import Catalogue
from resources.lake.lake import Lake
from resources.lake.tries import Tries

log = logging.getLogger("podlake")


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
    for run_id in fail_orphaned_runs(instance):
        log.info("run %s was killed; its pool slots are free again", run_id)
    materialize(instance, "feeds")
    feeds = [key for key in instance.get_dynamic_partitions("feeds") if not selection.feeds or key in selection.feeds]
    with closing(EngineLane()) as lane:
        if _may_bring_many(lake, feeds, selection):
            lane.start()
        for batch in batched(instance, FEEDS, feeds, settings.batch_feeds):
            materialize_range(instance, "episodes", batch)
        admit(instance, Catalogue(lake), window(settings))
        keys = selected(lake, instance, selection)
        log.info("%d episodes of %d feeds", len(keys), len(feeds))
        if others := asked_for_elsewhere(instance, keys):
            log.warning("backfills or runs of Dagster name %d of them, such as %s, and do them too: cancel those in the "
                        "UI, or leave the work to the daemon", len(others), min(others))  # fmt: skip
        for stage in EPISODE_STAGES:
            _catch_up(instance, lake, stage, keys, code_version(stage, engines))
        work = Work(instance, settings, lake, keys, selection.failed_too)
        if work.is_many():
            lane.begin(work)
            work_off(work, lambda: lane.stages_left(work))
        else:
            lane.close()
            work_off(work, lambda: EPISODE_STAGES)
    materialize(instance, "warehouse")


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


def asked_for_elsewhere(instance: dg.DagsterInstance, keys: Sequence[str]) -> set[str]:
    """Those that a backfill or another run names too: both do the work, for neither looks who was faster."""
    flying = in_flight(instance, instance.get_dynamic_partitions("episodes"))
    return set(keys).intersection(set().union(*flying.keys.values()))


def _may_bring_many(lake: Lake, feeds: Sequence[str], selection: Selection) -> bool:
    """Whether a poll may find a back catalogue."""
    polled = Tries.listed(lake).landed["episodes"]
    return selection.newest is None and any(feed not in polled for feed in feeds)


def _catch_up(instance: dg.DagsterInstance, lake: Lake, stage: Stage, keys: Sequence[str], version: str) -> None:
    """Give Dagster the events that a killed run could not log."""
    materialized = instance.get_materialized_partitions(dg.AssetKey(stage.name))
    for key in last_landings(lake, stage.name, [key for key in keys if key not in materialized]):
        if report_if_unknown(instance, lake, stage, key, version):
            log.info("%s: %s had landed before a run was killed; Dagster knows it now", stage.name, key)
