"""The main job: poll, and take every episode through every stage, batch by batch.

What the daemon does with schedules and backfills, without a daemon: for a laptop, a demo, a cron line.
Every batch is an ordinary Dagster run, visible in the UI. With many episodes, fetching overlaps the engines' work.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from assets.stages import EPISODE_GRAPH, STAGES
from dagster_project.build_resources import window
from dagster_project.engine_lane import EngineLane
from dagster_project.in_process import materialize, materialize_range
from dagster_project.lanes import ALL_STAGES, Work, work_off
from dagster_project.settings import Settings
from dagster_project.stages import code_version
from partitions.definitions import FEEDS
from partitions.keys import feed_of
from pipeline.batches import cut, grouped
from pipeline.contract import report_if_unknown
from pipeline.dagster_internals import last_event_times, move_to_end
from pipeline.in_flight import in_flight
from pipeline.live_window import admit, archive_finished
from pipeline.records import last_landings
from pipeline.run_process import fail_orphaned_runs
from pipeline.stage import Stage
from resources.engines.routing import Engines
from resources.lake.catalogue import Catalogue
from resources.lake.commits import all_open_commits
from resources.lake.lake import Lake
from resources.lake.migration import migrate

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
    migrate(lake.home)
    materialize(instance, "feeds")
    feeds = [key for key in instance.get_dynamic_partitions("feeds") if not selection.feeds or key in selection.feeds]
    with closing(EngineLane()) as lane:
        if _may_bring_many(lake, feeds, selection):
            lane.start()
        poll(instance, settings, feeds)
        archive_finished(instance, lake, EPISODE_GRAPH, window(settings))
        admit(instance, Catalogue(lake), window(settings), EPISODE_GRAPH)
        keys = selected(lake, instance, selection)
        log.info("%d episodes of %d feeds", len(keys), len(feeds))
        if others := asked_for_elsewhere(instance, keys):
            log.warning("backfills or runs of Dagster name %d of them, such as %s, and do them too: cancel those in the "
                        "UI, or leave the work to the daemon", len(others), min(others))  # fmt: skip
        for name in EPISODE_GRAPH.names:
            _catch_up(instance, lake, STAGES[name], keys, code_version(STAGES[name], engines))
        work = Work(instance, settings, lake, keys, datetime.now(UTC) if selection.failed_too else None)
        if work.is_many():
            lane.begin(work)
            work_off(work, lambda: lane.stages_left(work))
        else:
            lane.close()
            work_off(work, lambda: ALL_STAGES)
    materialize(instance, "warehouse")


def poll(instance: dg.DagsterInstance, settings: Settings, feeds: Sequence[str]) -> None:
    """Poll the feeds now, whether or not a poll has failed."""
    order, size = instance.get_dynamic_partitions(FEEDS.name or ""), settings.batch_size(STAGES["episodes"])
    together, scattered = grouped(order, feeds, size, pinned=in_flight(instance, order).all_keys())
    move_to_end(instance, FEEDS, scattered)
    for batch in [*together, *cut(scattered, size)]:
        materialize_range(instance, "episodes", batch)


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
    polled = all_open_commits(lake.home).get("episodes", {})
    return selection.newest is None and any(feed not in polled for feed in feeds)


def _catch_up(instance: dg.DagsterInstance, lake: Lake, stage: Stage, keys: Sequence[str], version: str) -> None:
    """Give Dagster the events that a killed run could not log, also of a second landing."""
    commits, selected = all_open_commits(lake.home).get(stage.name, {}), frozenset(keys)
    told = last_event_times(instance, dg.AssetKey(stage.name))
    behind = [
        key for key, commit in commits.items() if key in selected and (key not in told or told[key] < commit.landed_at)
    ]
    for key in last_landings(lake, stage.name, behind):
        if report_if_unknown(instance, lake, stage, key, version):
            log.info("%s: %s had landed before a run was killed; Dagster knows it now", stage.name, key)
