"""Removes what requested videos and lessons leave behind: uploads, files in the devices' folders, and local files."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from resources.studio.device_leases import Task
from resources.studio.filming import PREFIX
from resources.studio.head_devices import HeadDevices
from resources.studio.video_files import VideoFiles
from resources.studio.video_ledger import VideoRequest

Place = Literal["upload", "device", "cache"]


@dataclass(frozen=True)
class Leftover:
    """A file or folder that nothing needs any more."""

    place: Place
    path: str
    """Of an upload: its name."""
    size_bytes: int
    at: datetime
    """When it was written."""


def leftovers(
    files: VideoFiles, heads: HeadDevices, requests: Sequence[VideoRequest], unfinished: Collection[str],
    keep: timedelta, now: datetime,
) -> list[Leftover]:  # fmt: skip
    """What is older than `keep` and belongs to no unfinished request. `requests` are all that may be unfinished.

    In the devices' folders only files count that podlake has put there or that its own tasks have made.
    """
    before = now - keep
    wanted = {
        name
        for one in requests
        if one.video_id in unfinished or one.admitted_at > before
        for name in (one.video_upload, one.audio_upload)
        if name
    }
    found = [
        Leftover("upload", one.name, one.size_bytes, one.at)
        for one in files.uploads()
        if one.name not in wanted
    ]  # fmt: skip
    found += [_of_file("device", path) for path in _device_files(heads, unfinished, before)]
    found += [_of_file("cache", path) for path in _cached(files.cache / "videos") if path.name not in unfinished]
    return sorted((one for one in found if one.at < before), key=lambda one: (one.place, one.path))


def lesson_leftovers(folder: Path, unfinished: Collection[str], before: datetime) -> list[Leftover]:
    """What was made locally of lessons, whose home has it, and uploads whose receiving was interrupted."""
    paths = [path for path in folder.glob("*") if path.name not in ("uploads", *unfinished)]
    found = [_of_file("cache", path) for path in (*paths, *folder.glob("uploads/*"))]
    return sorted((one for one in found if one.at < before), key=lambda one: one.path)


def remove(files: VideoFiles, chosen: Sequence[Leftover]) -> None:
    for one in chosen:
        if one.place == "upload":
            files.remove_upload(one.path)
        elif (path := Path(one.path)).is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _device_files(heads: HeadDevices, unfinished: Collection[str], before: datetime) -> Iterator[Path]:
    for device in heads.devices:
        for path in device.speech_folder.glob(f"{PREFIX}*.wav"):
            if path.stem.removeprefix(PREFIX) not in unfinished:
                yield path
    known = set(heads.names)
    for task in heads.leases.ended_tasks(before.timestamp()):
        if task.device in known and task.video_id not in unfinished:
            yield from _of_task(heads, task)


def device_files_of(heads: HeadDevices, video_id: str) -> Iterator[Path]:
    """The files of one request in the devices' folders, as far as this machine sees them."""
    for device in heads.devices:
        yield from device.speech_folder.glob(f"{PREFIX}{video_id}.wav")
    for task in heads.leases.tasks_of(video_id):
        if task.device in heads.names:
            yield from _of_task(heads, task)


def _of_task(heads: HeadDevices, task: Task) -> Iterator[Path]:
    temp = heads.device(task.device).video_folder / "temp"
    yield from temp.glob(f"{PREFIX}{task.code}.*")
    yield from (path for path in (temp / f"{task.code}-r.mp4", temp / f"{task.code}-t.mp4") if path.exists())


def _cached(folder: Path) -> Iterator[Path]:
    """Folders of videos, copies, and uploads whose receiving was interrupted."""
    for path in folder.glob("*"):
        if path.name in ("receiving", "copies"):
            yield from path.iterdir()
        elif path.is_dir() and path.name.startswith("video-"):
            yield path


def _of_file(place: Place, path: Path) -> Leftover:
    parts = [path, *path.rglob("*")] if path.is_dir() else [path]
    stats = [part.stat() for part in parts]
    size = sum(stat.st_size for part, stat in zip(parts, stats, strict=True) if part.is_file())
    return Leftover(place, str(path), size, datetime.fromtimestamp(max(stat.st_mtime for stat in stats), UTC))
