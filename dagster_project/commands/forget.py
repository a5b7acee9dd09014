"""`podlake forget`: remove every byte of episodes and feeds, and keep polls from listing them again.

A lesson that was made of an episode goes with it.
"""

from __future__ import annotations

import getpass
import logging
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from assets.stages import FEED_GRAPH, GATHERING, STAGES
from dagster_project.commands import forget_requested
from dagster_project.commands.forget_requested import LESSON, Removal, Resources
from dagster_project.commands.terminal import cell
from dagster_project.forget_metadata import InWork, Traces, remove_traces
from partitions.definitions import EPISODES, FEEDS
from partitions.keys import feed_of
from pipeline.after_batch import forget_keys
from pipeline.contract import report_if_unknown
from pipeline.crashes import forget_keys_at_work
from pipeline.dagster_internals import remove_keys
from pipeline.in_flight import in_flight
from resources.exports.known import KnownExport, forget_commands, known_exports
from resources.exports.registry import DATASETS
from resources.lake.catalogue import SINGLES, Catalogue
from resources.lake.commits import all_open_commits
from resources.lake.forgetting import StoredAudio, audio_of, forget_episodes, forget_feeds, forget_removed_audio
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import CHECK_RESULTS
from resources.lake.tables import catalogue as tables
from resources.lake.tables.catalogue import EpisodeRow
from resources.lake.tombstones import write_for_episode, write_for_feed
from resources.lake.warehouse import ask, connect
from resources.studio.lessons import LessonLedger
from speech.errors import UpstreamMissing

log = logging.getLogger("podlake")

_ROWS = "select count(*) from lake.{table} where episode_id in (select unnest($keys))"
_LESSONS = "select distinct lesson_id from lake.lessons where episode_id in (select unnest($keys))"
_IS_KEY = re.compile(r"[a-z0-9-]+-(\d{8}|undated)-[0-9a-f]{8,64}")
_TITLES_SHOWN = 20
_SHOWN = ("acquisitions", "segments", "words", "turns")


@dataclass(frozen=True)
class Plan:
    """What a removal covers."""

    feeds: tuple[str, ...]
    """Feeds that are removed as a whole."""
    episodes: tuple[EpisodeRow, ...]
    keys: frozenset[str]
    """The episodes, and keys that the catalogue does not have: an interrupted removal may have left rows of them."""
    audio: StoredAudio
    rows: int
    """Rows of the tables that hold most of it."""
    exports: tuple[KnownExport, ...] = ()
    """Exports that contain one of the episodes."""
    unseen: tuple[KnownExport, ...] = ()
    """Exports on other machines, which may contain one."""
    lessons: tuple[Removal, ...] = ()
    """What goes with the lessons that were made of the episodes."""


def plan(resources: Resources, cache: Path, names: Sequence[str]) -> Plan:
    """What the names cover: feeds with all their episodes, and episodes. Raises `UpstreamMissing`."""
    catalogue: Catalogue = resources["catalogue"]
    polled = all_open_commits(catalogue.home).get("episodes", {}).keys()
    # A removal that was interrupted may have left no more of a feed than its row of the table, which goes last.
    known = (
        {feed.feed_id for feed in catalogue.all_subscriptions()} | {SINGLES, *_landed_feeds(catalogue.lake)} | polled
    )
    feeds = tuple(dict.fromkeys(name for name in names if name in known))
    rows = {row.episode_id: row for feed_id in feeds for row in catalogue.lake.rows(tables.EPISODES, feed_id)}
    rows |= catalogue.entries([name for name in names if name not in known])
    keys = frozenset(rows).union(name for name in names if name not in known)
    for name in keys - rows.keys():
        if not (_IS_KEY.fullmatch(name) and feed_of(name) in known):
            raise UpstreamMissing(f"There is no episode and no feed {name}. `podlake list --episodes` shows them.")
    with connect(catalogue.home) as connection:
        lessons = {lesson_id for (lesson_id,) in ask(connection, _LESSONS, {"keys": sorted(keys)})}
        counts = [ask(connection, _ROWS.format(table=table), {"keys": sorted(keys)}) for table in _SHOWN]
    n_rows = sum(count for ((count,),) in counts)
    audio = audio_of(catalogue.lake, keys)
    ledger: LessonLedger = resources["lesson_ledger"]
    lessons.update(ledger.of_episodes(sorted(keys)))
    removals = tuple(LESSON.plan(resources, cache, lesson_id) for lesson_id in sorted(lessons))
    return Plan(feeds, tuple(rows.values()), keys, audio, n_rows, *_exports(catalogue.home, keys), removals)


def _landed_feeds(lake: Lake) -> list[str]:
    landed = lake.read_file(tables.SUBSCRIPTIONS, tables.SUBSCRIPTIONS.landing_key())
    return [] if landed is None else landed["feed_id"].to_pylist()


def _exports(home: Home, keys: Collection[str]) -> tuple[tuple[KnownExport, ...], tuple[KnownExport, ...]]:
    """Those that contain one of the episodes, and those that this machine cannot see."""
    known = list(known_exports(home))
    here = (export for export in known if export.is_here)
    return tuple(one for one in here if one.contained(keys)), tuple(one for one in known if not one.is_here)


def summary(plan: Plan) -> str:
    """What a removal covers, to read."""
    titles = [f"  {row.episode_id}  {cell(row.title or '')}" for row in plan.episodes[:_TITLES_SHOWN]]
    if len(plan.episodes) > _TITLES_SHOWN:
        titles.append(f"  … and {len(plan.episodes) - _TITLES_SHOWN} more")
    head = f"{len(plan.feeds)} feeds, {len(plan.keys)} episodes, {plan.rows} rows, "
    exports = [
        f"  export {one.folder}: what has them is removed. To write it again: {one.command}" for one in plan.exports
    ]
    exports += [f"  export {one.folder} on {one.host}: not seen from here. Remove it there." for one in plan.unseen]
    audio = f"{len(plan.audio.files)} audio files of {plan.audio.bytes / 1e6:.1f} MB:"
    lessons = [f"  lesson {removal.headline}" for removal in plan.lessons]
    lessons += [f"  Not removed, do it there: {one}" for removal in plan.lessons for one in removal.elsewhere]
    return "\n".join([f"{head}{audio}", *titles, *exports, *lessons])


def forget(instance: dg.DagsterInstance, resources: Resources, cache: Path, service_url: str, plan: Plan) -> None:
    """Carry out the plan. Raises `InWork`. A removal that is interrupted is completed when it is repeated."""
    _refuse_if_in_work(instance, plan)
    catalogue: Catalogue = resources["catalogue"]
    home, lake = catalogue.home, catalogue.lake
    for removal in plan.lessons:  # first: rows and request of a lesson name its episode
        forget_requested.forget(instance, resources, service_url, LESSON, removal)
    subscriptions = {feed.feed_id: catalogue.address(feed) for feed in catalogue.all_subscriptions()}
    feeds = [feed_id for feed_id in plan.feeds if feed_id != SINGLES]
    _write_tombstones(home, plan, {feed_id: subscriptions[feed_id] for feed_id in feeds if feed_id in subscriptions})
    remove_keys(instance, EPISODES, plan.keys)
    remove_keys(instance, FEEDS, feeds)
    for path in plan.audio.files:
        home.filesystem.delete_file(path)
    _remove_cached(cache, home, plan)
    _remove_exports(home, plan)
    traces = _traces(plan, subscriptions)
    count = remove_traces(instance, traces, service_url)
    for row in plan.episodes:
        if row.feed_id == SINGLES:
            catalogue.forget_single(row)
    for key in plan.keys:
        catalogue.remove_episode(key, undo=True)  # the note of `podlake remove` has the key as its name
    catalogue.forget_secrets(plan.keys, feeds)
    forget_removed_audio(lake, plan.audio.sha256)
    lake.remove(CHECK_RESULTS, CHECK_RESULTS.landing_key())  # its examples name episodes; the next check lands it again
    forget_episodes(lake, plan.keys)  # last: until then the catalogue names what an interrupted removal has left
    forget_feeds(lake, feeds)
    _report_polls_again(instance, lake, traces.feeds.difference(feeds))
    log.info("%d episodes and %d feeds are forgotten: %d rows, %d files, %d of Dagster's events",
             len(plan.keys), len(plan.feeds), plan.rows, len(plan.audio.files), count)  # fmt: skip


def _write_tombstones(home: Home, plan: Plan, feed_urls: Mapping[str, str]) -> None:
    entry = {"forgotten_at": datetime.now(UTC), "by": getpass.getuser(), "files": len(plan.audio.files),
             "bytes": plan.audio.bytes, "rows": plan.rows}  # fmt: skip
    for row in plan.episodes:
        write_for_episode(home, row, entry)
    for url in feed_urls.values():
        write_for_feed(home, url, entry)


def _refuse_if_in_work(instance: dg.DagsterInstance, plan: Plan) -> None:
    for removal in plan.lessons:
        forget_requested.refuse_if_in_work(instance, LESSON, removal.key)
    flying = in_flight(instance, instance.get_dynamic_partitions(EPISODES.name or "")).all_keys()
    of_feeds = in_flight(instance, instance.get_dynamic_partitions(FEEDS.name or "")).keys
    flying = flying.union(*(of_feeds.get(stage.name, ()) for stage in (*FEED_GRAPH, *GATHERING)))
    busy = sorted(flying & {*plan.keys, *plan.feeds, *map(feed_of, plan.keys)})
    if busy:
        raise InWork(f"A run works on {busy[0]}. Wait until it ends, or cancel it in the UI, and try again.")


def _traces(plan: Plan, subscriptions: Mapping[str, str]) -> Traces:
    texts = {text for row in plan.episodes for text in (row.guid, row.title, row.enclosure_url) if text}
    texts |= {subscriptions[feed_id] for feed_id in plan.feeds if feed_id in subscriptions}
    texts |= plan.audio.sha256
    feeds = frozenset(map(feed_of, plan.keys)) | frozenset(plan.feeds)
    return Traces(plan.keys, feeds, frozenset(texts))


def _remove_cached(cache: Path, home: Home, plan: Plan) -> None:
    """Waveforms, copies of remote audio, what was streamed, parts of downloads, the notes of killed runs, and the search index.

    The next search makes the index again: an index keeps the text of documents that it has dropped.
    """
    shutil.rmtree(cache / "search", ignore_errors=True)
    for folder in (cache / "waveforms", cache / "audio", cache / "listening"):
        for path in folder.rglob("*"):
            if path.is_file() and path.name.partition(".")[0] in plan.audio.sha256:
                path.unlink(missing_ok=True)
    for path in (cache / "parts").glob("*"):
        if path.name.partition(".")[0] in plan.keys:
            path.unlink(missing_ok=True)
    forget_keys_at_work(home, STAGES, plan.keys)
    forget_keys(home, STAGES, plan.keys)


def _remove_exports(home: Home, plan: Plan) -> None:
    """Remove exports that contain an episode; in the home also files that nothing notes, by their names and content."""
    from pyarrow import fs

    for export in plan.exports:
        export.remove(plan.keys)
    forget_commands(home, [*plan.keys, *plan.feeds])
    noted = tuple(f"{Home.at(one.folder).root}/" for one in known_exports(home) if one.format in DATASETS)
    names: Collection[str] = plan.keys | plan.audio.sha256
    selector = fs.FileSelector(home.path("exports"), recursive=True, allow_not_found=True)
    for info in home.filesystem.get_file_info(selector):
        if info.type == fs.FileType.File and not info.path.startswith(noted):
            words = {info.base_name.partition(".")[0], *re.split(r"[./@]", info.path.removeprefix(home.root))}
            if not words.isdisjoint(names):
                home.filesystem.delete_file(info.path)
            elif _mentions(home, info.path, plan):
                log.warning("%s contains a forgotten episode: it is removed. Export it again.", info.path)
                home.filesystem.delete_file(info.path)


def _mentions(home: Home, path: str, plan: Plan) -> bool:
    """Whether a data set names one of the episodes, in Parquet or in any format that is not compressed."""
    import pyarrow.parquet as pq

    with home.filesystem.open_input_file(path) as stream:
        if path.endswith(".parquet"):
            text = "\n".join(str(column.to_pylist()) for column in pq.read_table(stream).columns).encode()
        else:
            text = stream.read()
    return any(key.encode() in text for key in plan.keys)


def _report_polls_again(instance: dg.DagsterInstance, lake: Lake, feeds: Collection[str]) -> None:
    """The events of polls showed titles, so they were removed: report the last landing of each feed."""
    stage = STAGES["episodes"]
    for feed_id in sorted(feeds):
        if feed_id in lake.current(stage.name, [feed_id]):
            report_if_unknown(instance, lake, stage, feed_id, stage.version)
