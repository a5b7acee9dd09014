"""`podlake podcast forget`, `podlake lesson forget`, `podlake video forget`: every byte of what was made on request."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from shutil import rmtree
from typing import Any

import dagster as dg
from pyarrow import fs

from assets.stages import LESSON_GRAPH, PODCAST_GRAPH, VIDEO_GRAPH
from dagster_project.forget_metadata import InWork, Traces, remove_traces
from dagster_project.lessons import LESSON_TAG
from dagster_project.podcasts import PODCAST_TAG
from dagster_project.videos import VIDEO_TAG
from partitions.definitions import LESSONS, PODCASTS, VIDEOS
from pipeline.after_batch import forget_keys
from pipeline.crashes import forget_keys_at_work
from pipeline.dagster_internals import PARTITION_TAG, UNFINISHED, remove_keys
from pipeline.run_keys import KEYS_TAG
from resources.lake.forgetting import forget_requested, rows_of_all_landings
from resources.lake.graph import StageGraph
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import PODCAST_AUDIO
from resources.lake.tables import lessons as lesson_tables
from resources.studio.feed import write_feed
from resources.studio.publishing import FolderPublisher, published_files
from resources.studio.video_cleanup import device_files_of

Resources = Mapping[str, Any]


@dataclass(frozen=True)
class Stored:
    """A file in the home, or in a folder or an object store where it was published."""

    home: Home
    info: fs.FileInfo


@dataclass(frozen=True)
class Removal:
    """What goes with a podcast, a lesson or a video, beside its request, its rows and its runs."""

    key: str
    stored: tuple[Stored, ...]
    local: tuple[Path, ...]
    """Files and folders of this machine: work in progress, caches, files on devices."""
    elsewhere: tuple[str, ...] = ()
    """What podlake cannot remove."""

    @property
    def headline(self) -> str:
        """What a removal covers, in a line."""
        n_bytes = sum(one.info.size or 0 for one in self.stored)
        return f"{self.key}: its request, rows and runs, and {len(self.stored)} files of {n_bytes / 1e6:.1f} MB"

    def summary(self) -> str:
        """What a removal covers, to read."""
        lines = [f"{self.headline}:"]
        lines += [f"  {one.info.path}" for one in self.stored] + [f"  {path}" for path in self.local]
        return "\n".join([*lines, *(f"Not removed, do it there: {one}" for one in self.elsewhere)])


@dataclass(frozen=True)
class Kind:
    """One of the kinds of what users request."""

    name: str
    tag: str
    """Of its runs."""
    partitions: dg.DynamicPartitionsDefinition
    graph: StageGraph
    ledger: str
    """Its ledger among the resources."""
    find: Callable[[Resources, str], object | None]
    """Its request."""
    plan: Callable[[Resources, Path, str], Removal]
    after: Callable[[Resources], None] = lambda _: None
    """What is written again when the rows are gone."""

    def is_known(self, instance: dg.DagsterInstance, resources: Resources, key: str) -> bool:
        """Whether there is a request or anything that an interrupted removal has left."""
        known = self.find(resources, key) or key in instance.get_dynamic_partitions(self.partitions.name or "")
        first = self.graph.names[0]
        return bool(known or _runs(instance, self.tag, key) or resources["lake"].history(first, key).num_rows)


def forget(
    instance: dg.DagsterInstance, resources: Resources, service_url: str, kind: Kind, removal: Removal
) -> None:  # fmt: skip
    """Carry the removal out. Raises `InWork`. One that is interrupted is completed when it is repeated."""
    lake: Lake = resources["lake"]
    refuse_if_in_work(instance, kind, removal.key)
    resources[kind.ledger].cancel(removal.key)  # so that no run is started for it from now on
    refuse_if_in_work(instance, kind, removal.key)
    remove_keys(instance, kind.partitions, [removal.key])
    forget_keys(lake.home, kind.graph.names, [removal.key])
    forget_keys_at_work(lake.home, kind.graph.names, [removal.key])
    _remove_local(removal.local)
    _remove_stored(removal)
    forget_requested(lake, removal.key, f"{kind.name}_id")
    kind.after(resources)
    for run_id in _runs(instance, kind.tag, removal.key):
        instance.compute_log_manager.delete_logs(prefix=[run_id])
        instance.delete_run(run_id)
    remove_traces(instance, Traces(frozenset({removal.key}), frozenset()), service_url)  # its request too


def refuse_if_in_work(instance: dg.DagsterInstance, kind: Kind, key: str) -> None:
    """Raises `InWork` while a run makes it."""
    if any(status in UNFINISHED for status in _runs(instance, kind.tag, key).values()):
        raise InWork(f"A run makes {key}. Wait until it ends, or `podlake {kind.name} cancel {key}`.")


def _plan_podcast(resources: Resources, cache: Path, key: str) -> Removal:
    files, rows = resources["studio_files"], rows_of_all_landings(resources["lake"], PODCAST_AUDIO, [key])
    local = chain(files.on_this_machine(key), _waveforms(cache, {row.mp3_sha256 for row in rows}))
    return Removal(key, tuple(Stored(files.home, info) for info in files.stored(key)), tuple(local))


def _plan_lesson(resources: Resources, cache: Path, key: str) -> Removal:
    lake, files, ledger = resources["lake"], resources["lesson_files"], resources["lesson_ledger"]
    sources = rows_of_all_landings(lake, lesson_tables.LESSONS, [key])
    dubs = rows_of_all_landings(lake, lesson_tables.DUB_AUDIO, [key])
    published = rows_of_all_landings(lake, lesson_tables.PUBLISHED_VIDEOS, [key])
    stored = [Stored(files.home, info) for info in files.stored(key)]
    for home in _published_to(resources["publisher"], published):
        stored += [Stored(home, info) for info in published_files(home, key)]
    # The sound of an episode stays: it is the episode's.
    waveforms = {row.source_sha256 for row in sources if row.episode_id is None} | {row.sha256 for row in dubs}
    local = chain(
        (path for path in (files.cache / key,) if path.exists()),
        _translations(resources["translators"].cache, key), _waveforms(cache, waveforms),
    )  # fmt: skip
    pages = {row.video_id: row.location for row in published if row.service == "kinescope"}
    ids = dict.fromkeys([*pages, *ledger.uploads(key)])
    elsewhere = tuple(f"the video {pages.get(video_id, video_id)} on Kinescope" for video_id in ids)
    return Removal(key, tuple(stored), tuple(local), elsewhere)


def _plan_video(resources: Resources, cache: Path, key: str) -> Removal:  # noqa: ARG001 - no waveform is made of it
    files, ledger = resources["video_files"], resources["video_ledger"]
    request = ledger.request(key)
    of_others = {
        name
        for one in ledger.requests(most=None)
        if one.video_id != key
        for name in (one.video_upload, one.audio_upload)
    }
    own = {request.video_upload, request.audio_upload} - of_others - {None} if request else set()
    stored = [*files.stored(key), *files.stored_uploads(own)]
    local = chain(files.on_this_machine(key, own), device_files_of(resources["head_devices"], key))
    return Removal(key, tuple(Stored(files.home, info) for info in stored), tuple(local))


PODCAST = Kind(
    "podcast", PODCAST_TAG, PODCASTS, PODCAST_GRAPH, "ledger",
    lambda resources, key: resources["ledger"].request(key), _plan_podcast,
    after=lambda resources: write_feed(resources["lake"], resources["studio_files"], resources["podcast_feed"]),
)  # fmt: skip
LESSON = Kind(
    "lesson", LESSON_TAG, LESSONS, LESSON_GRAPH, "lesson_ledger",
    lambda resources, key: resources["lesson_ledger"].lesson(key), _plan_lesson,
)  # fmt: skip
VIDEO = Kind(
    "video", VIDEO_TAG, VIDEOS, VIDEO_GRAPH, "video_ledger",
    lambda resources, key: resources["video_ledger"].request(key), _plan_video,
)  # fmt: skip


def _runs(instance: dg.DagsterInstance, tag: str, key: str) -> dict[str, dg.DagsterRunStatus]:
    """The runs of this key alone, and their states."""
    found: dict[str, dg.DagsterRunStatus] = {}
    for name in (tag, KEYS_TAG, PARTITION_TAG):
        for run in instance.get_runs(dg.RunsFilter(tags={name: key})):
            found[run.run_id] = run.status
    return found


def _published_to(publisher: object, published: Collection[lesson_tables.PublishedVideoRow]) -> Iterable[Home]:
    """The folders and object stores: that of the settings, and those that the rows name."""
    places = {row.location.rsplit("/", 2)[0] for row in published if row.service != "kinescope"}
    if isinstance(publisher, FolderPublisher):
        places.add(publisher.uri)
    return {home.root: home for home in map(Home.at, sorted(places))}.values()


def _translations(cache: Path, key: str) -> Iterable[Path]:
    """Those of the lesson; and all that earlier versions have kept, which do not say whose they are."""
    return (path for path in (cache / key, *sorted(cache.glob("??"))) if path.exists())


def _waveforms(cache: Path, sha256: Collection[str]) -> Iterable[Path]:
    return (path for one in sorted(sha256) for path in sorted((cache / "waveforms").glob(f"{one}.*")))


def _remove_local(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir():
            rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _remove_stored(removal: Removal) -> None:
    """Delete the files, and the folders that are named after the key."""
    for one in removal.stored:
        one.home.filesystem.delete_file(one.info.path)
    named = {
        one.info.path.partition(f"/{removal.key}/")[0]: one.home
        for one in removal.stored
        if f"/{removal.key}/" in one.info.path
    }
    for parent, home in named.items():
        folder = f"{parent}/{removal.key}"
        if home.filesystem.get_file_info(folder).type == fs.FileType.Directory:
            home.filesystem.delete_dir(folder)
