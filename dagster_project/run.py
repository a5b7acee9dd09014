"""`podlake run`: polls feeds and takes every episode through every stage, without Dagster's daemon.

Every batch is a Dagster run in this process; polls of many feeds run in two others. The runs do not wait in Dagster's
run queue. Device locks and the compaction lock protect what they share with other runs.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg

from assets.stages import EPISODE_GRAPH, FEED_GRAPH, STAGES
from dagster_project.batch_loop import Work, run_batches
from dagster_project.build_resources import window
from dagster_project.gathering import gather
from dagster_project.in_process import materialize
from dagster_project.nightly import newest_first
from dagster_project.planning import Situation
from dagster_project.polling import poll_batches
from dagster_project.progress_bars import progress_bars
from dagster_project.settings import Settings
from dagster_project.stages import code_version
from partitions.keys import feed_of
from pipeline.contract import report_if_unknown
from pipeline.crashes import forget
from pipeline.dagster_internals import last_event_times
from pipeline.in_flight import in_flight
from pipeline.live_window import admit, archive_finished
from pipeline.run_process import cancel_own_runs, fail_orphaned_runs
from pipeline.stage import Stage
from resources.engines.routing import Engines
from resources.lake.catalogue import Catalogue
from resources.lake.commits import all_open_commits
from resources.lake.lake import Lake
from resources.lake.migration import migrate
from resources.lake.tables import EPISODES

log = logging.getLogger("podlake")


@dataclass(frozen=True)
class Selection:
    """The episodes to process."""

    feeds: tuple[str, ...] = ()
    """Empty: every feed."""
    newest: int | None = None
    """Per feed. None: all."""
    failed_too: bool = False
    """Also failed episodes whose retry is not due."""


@dataclass(frozen=True)
class Summary:
    """What became of the polls, and whether there was anything else to do."""

    n_feeds: int
    not_polled: Mapping[str, str]
    """Feed → why its poll failed, and what to do."""
    has_worked: bool
    """Whether an episode was due at a stage."""

    @property
    def is_failure(self) -> bool:
        """No feed could be polled, and there was nothing else to do."""
        return 0 < self.n_feeds == len(self.not_polled) and not self.has_worked


def run(
    instance: dg.DagsterInstance, settings: Settings, lake: Lake, engines: Engines, selection: Selection
) -> Summary:
    """Run everything that is left. The failure of an episode is recorded and logged, and does not stop the others."""
    for run_id in fail_orphaned_runs(instance):
        log.info("run %s has failed: its process had exited", run_id, extra={"run_id": run_id})
    migrate(lake.home)
    materialize(instance, "feeds")
    gone = Catalogue(lake).ended()
    known = [key for key in instance.get_dynamic_partitions("feeds") if key not in gone]
    feeds = [key for key in known if not selection.feeds or key in selection.feeds]
    for name in FEED_GRAPH.names:
        _report_lost_events(instance, lake, STAGES[name], feeds, code_version(STAGES[name], engines))
    keys = _poll(instance, settings, lake, feeds, selection)
    not_polled = {feed_id: failure.message for feed_id, failure in lake.failures(EPISODES.asset, feeds).items()}
    for name in EPISODE_GRAPH.names:
        _report_lost_events(instance, lake, STAGES[name], keys, code_version(STAGES[name], engines))
    work = Work(instance, settings, lake, keys, datetime.now(UTC) if selection.failed_too else None)
    if work.has_downloads():
        engines.preload()
    try:
        with progress_bars():
            run_batches(work)
    except BaseException:
        for ended in cancel_own_runs(instance):
            for asset in ended.asset_selection or ():
                forget(lake.home, asset.to_user_string(), ended.run_id)
        raise
    gather(instance, lake, settings)
    materialize(instance, "warehouse")
    return Summary(len(feeds), not_polled, has_worked=bool(work.attempted))


def _poll(
    instance: dg.DagsterInstance, settings: Settings, lake: Lake, feeds: Sequence[str], selection: Selection
) -> list[str]:
    """Poll the feeds and fill the live window. Returns the selected episodes."""
    poll_batches(instance, Situation.of_feeds(instance, lake).polls(settings, frozenset(feeds)))
    archive_finished(instance, lake, EPISODE_GRAPH, window(settings).rules())
    rules = window(settings).rules()
    if rules.shortage:
        log.warning("No new episodes are admitted: %s", rules.shortage)
    admit(instance, Catalogue(lake), rules, EPISODE_GRAPH)
    keys = selected(lake, instance, selection)
    log.info("%d episodes of %d feeds", len(keys), len(feeds))
    if others := requested_elsewhere(instance, keys):
        log.warning("backfills or runs of Dagster process %d of them too, such as %s. Cancel those in the UI, or leave "
                    "the work to the daemon.", len(others), min(others))  # fmt: skip
    return keys


def selected(lake: Lake, instance: dg.DagsterInstance, selection: Selection) -> list[str]:
    """The live episodes of the selection. With `newest`, the newest of each feed."""
    live = instance.get_dynamic_partitions("episodes")
    keys = [key for key in live if not selection.feeds or feed_of(key) in selection.feeds]
    if selection.newest is None:
        return keys
    by_feed: dict[str, list[str]] = {}
    for key in newest_first(lake.home, keys):
        by_feed.setdefault(feed_of(key), []).append(key)
    return [key for newest in by_feed.values() for key in newest[: selection.newest]]


def requested_elsewhere(instance: dg.DagsterInstance, keys: Sequence[str]) -> set[str]:
    """The keys that a backfill or another run processes too. Both do the work: neither waits for the other."""
    flying = in_flight(instance, instance.get_dynamic_partitions("episodes"))
    return set(keys).intersection(set().union(*flying.keys.values()))


def _report_lost_events(
    instance: dg.DagsterInstance, lake: Lake, stage: Stage, keys: Sequence[str], version: str
) -> None:
    """Log the events of landings whose run was killed before it could, also of second landings."""
    commits, selected = all_open_commits(lake.home).get(stage.name, {}), frozenset(keys)
    known = last_event_times(instance, dg.AssetKey(stage.name))
    behind = [
        key
        for key, commit in commits.items()
        if key in selected and (key not in known or known[key] < commit.landed_at)
    ]
    for key in lake.runs(stage.name, behind):
        if report_if_unknown(instance, lake, stage, key, version):
            log.info("%s: logged the event of %s, which had landed before its run was killed", stage.name, key,
                     extra={"stage": stage.name, "key": key})  # fmt: skip
