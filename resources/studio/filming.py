"""Films a request: gives the task to its device once, waits for its end, and fetches the file.

A task is noted before the device gets it, and how it ended is noted before anything else. A later attempt of the
request goes on with the task that an interrupted one has given.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av

from resources.studio.device_leases import BUSY_FOR_S, Task
from resources.studio.head_devices import HeadDevices, Held
from speech.containers import UNTRUSTED
from speech.errors import DeviceBusy, DeviceTimeout, HeadServiceFailed
from speech.talking_head.device import HeadDevice
from speech.talking_head.heygem import Ended, Forgotten, finished_file, result_file, submit, wait

PREFIX = "podlake-"
"""Of the names of files that podlake puts into the devices' folders."""
MOST_DIFFERENCE_MS = 2_000
"""Between the video and the speech that it was made from."""


@dataclass(frozen=True)
class Filmed:
    """The finished video, in the folder of its device."""

    path: Path
    device: str
    code: str
    width: int
    height: int
    codec: str
    duration_ms: int
    waited_s: float
    """For the device."""
    filmed_s: float
    """From the task to its end, as far as this attempt has seen it."""
    is_resumed: bool
    """Whether an earlier attempt had given the task."""


def film(
    heads: HeadDevices, video_id: str, device: str, speech: Path, speech_sha256: str, speech_ms: int, video: Path,
    check: Callable[[], None],
) -> Filmed:  # fmt: skip
    """Let the device that has cloned the speech film it. `check` is called while it waits, and may raise.

    Raises `DeviceBusy`, `DeviceTimeout`, `HeadServiceFailed` and `LeaseLost`.
    """
    known = heads.leases.last_task(video_id, speech_sha256)
    if known and known.answer and _ended(known.answer).is_done:
        ended, started, by = _ended(known.answer), time.monotonic(), heads.device(known.device)
        with heads.awake(by):  # which may share its folder
            return _filmed(heads, by, known, ended, speech_ms, (0.0, started, True))
    with heads.leased(video_id, check, only=[device]) as held:
        started = time.monotonic()
        known = heads.leases.last_task(video_id, speech_sha256)
        task = known if known and known.ended_at is None else None
        resumed = task is not None
        if task is None:
            task = _given(heads, held, video_id, speech, speech_sha256, video)
        end = _waited(heads, held, task, check)
        return _filmed(heads, held.device, task, end, speech_ms, (held.waited_s, started, resumed))


def _given(heads: HeadDevices, held: Held, video_id: str, speech: Path, speech_sha256: str, video: Path) -> Task:
    device = held.device
    task = heads.leases.give(video_id, device.name, speech_sha256)
    names = f"{PREFIX}{task.code}.wav", f"{PREFIX}{task.code}{video.suffix}"
    folder = device.video_folder / "temp"
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in zip((speech, video), names, strict=True):
        shutil.copyfile(source, folder / name)
    try:
        submit(device, task.code, *names, heads.patience, lambda end: heads.leases.end(task.code, end.answer))
    except DeviceBusy as error:
        heads.leases.end(task.code)
        heads.leases.set_aside(device.name, str(error), BUSY_FOR_S)
        raise
    except HeadServiceFailed:
        heads.leases.end(task.code)
        raise
    return task


def _waited(heads: HeadDevices, held: Held, task: Task, check: Callable[[], None]) -> Ended | None:
    """How the task ended; None if the server has forgotten it."""

    def goes_on(_: int | None) -> None:
        held.check()
        check()

    left_s = max(0.0, heads.patience.limit_s - (time.time() - task.given_at))
    try:
        found = wait(
            held.device, task.code, replace(heads.patience, limit_s=left_s),
            lambda end: heads.leases.end(task.code, end.answer), goes_on,
        )  # fmt: skip
    except DeviceTimeout as error:
        heads.leases.end(task.code)
        heads.leases.timed_out(held.device.name)
        limit = heads.patience.limit_s / 60
        raise DeviceTimeout(f"{held.device.name} has not finished the video in {limit:.0f} minutes.") from error
    if isinstance(found, Forgotten):
        stored = heads.leases.last_task(task.video_id, task.speech_sha256)
        return _ended(stored.answer) if stored and stored.code == task.code and stored.answer else None
    return found


def _filmed(
    heads: HeadDevices, device: HeadDevice, task: Task, end: Ended | None, speech_ms: int, seen: tuple[float, float, bool]
) -> Filmed:  # fmt: skip
    """The file of an ended task. A server that has forgotten the task may have finished it."""
    if end is not None and not end.is_done:
        raise HeadServiceFailed(f"{device.name} could not film it: {end.message or 'no reason'}")
    path = finished_file(result_file(device, task.code, end.result if end else None), heads.patience, _is_whole)
    if path is None:
        heads.leases.end(task.code)
        why = "has forgotten the task" if end is None else "says that the video is done"
        raise HeadServiceFailed(f"{device.name} {why}, and there is no finished file of it.")
    found = measured(path, speech_ms)
    heads.leases.end(task.code)
    heads.leases.succeeded(device.name)
    waited_s, started, resumed = seen
    return Filmed(path, device.name, task.code, *found, waited_s, time.monotonic() - started, resumed)


def measured(path: Path, speech_ms: int) -> tuple[int, int, str, int]:
    """Width, height, codec and duration of a finished video. Raises `HeadServiceFailed` if it cannot be one of the speech."""
    try:
        with av.open(f"file:{path}", options=UNTRUSTED, metadata_errors="replace") as container:
            stream = container.streams.best("video")
            if not isinstance(stream, av.VideoStream) or not container.streams.audio:
                raise HeadServiceFailed(f"{path.name} lacks a picture or a sound.")
            frame: Any = next(container.decode(stream), None)
            if frame is None:
                raise HeadServiceFailed(f"No picture of {path.name} can be decoded.")
            duration_ms = round((container.duration or 0) / 1000)
    except av.error.FFmpegError as error:
        raise HeadServiceFailed(f"{path.name} is no complete video ({error.strerror}).") from error
    if abs(duration_ms - speech_ms) > MOST_DIFFERENCE_MS:
        raise HeadServiceFailed(
            f"{path.name} is {duration_ms / 1000:.1f} s long, and the speech {speech_ms / 1000:.1f} s."
        )
    return frame.width, frame.height, stream.codec_context.name, duration_ms


def _is_whole(path: Path) -> bool:
    """Whether it can be opened: the index of an MP4 file is written at its end."""
    try:
        with av.open(f"file:{path}", options=UNTRUSTED, metadata_errors="replace"):
            return True
    except av.error.FFmpegError:
        return False


def _ended(answer: str) -> Ended:
    """A stored answer of a server."""
    data = json.loads(answer).get("data") or {}
    result = data.get("result")
    return Ended(int(data.get("status", 0)) == 2, str(data.get("msg") or ""), result, answer)
