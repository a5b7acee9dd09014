"""The client of HeyGem (Duix.Avatar), which films a person who says a recording.

It always answers with status 200, and the number `code` decides: 10001 means that it is busy and has not taken the
task, although `success` is true. It forgets a task as soon as it has said how the task ended, so the caller stores
that answer before anything else. It makes one video at a time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from speech.errors import DeviceBusy, DeviceTimeout, HeadServiceFailed, NetworkError, PodlakeError
from speech.talking_head.device import HeadDevice
from speech.talking_head.service import asked, client, code_of, json_of, shown

OK, BUSY, MISSING, LOCKED, UNKNOWN, FAILED = 10000, 10001, 10002, 10003, 10004, 9999
RUNNING, DONE, ERROR = 1, 2, 3
ERRORS_IN_A_ROW = 5
SUBMISSIONS = 3
"""Tries of a submission that the server refuses for a while."""
REQUEST_S = 60.0
"""A query can wait behind a submission."""
CONTAINER_FOLDER = "/code/data/temp"
"""The folder `temp` of the shared one, as the server sees it."""


@dataclass(frozen=True)
class Patience:
    """How long the client waits for what."""

    poll_s: float = 5.0
    limit_s: float = 30 * 60.0
    """For a video from its submission."""
    file_s: float = 120.0
    """For its file to be there and not to grow any more."""

    def sleep(self) -> None:
        time.sleep(self.poll_s)


@dataclass(frozen=True)
class Ended:
    """How a task ended: the answer that the server gives once."""

    is_done: bool
    message: str
    result: str | None
    """The path of the file, as the server names it."""
    answer: str
    """The whole answer, as JSON."""


@dataclass(frozen=True)
class Running:
    progress: int | None


@dataclass(frozen=True)
class Forgotten:
    """The server does not know the task, or has said before how it ended."""


def is_busy(device: HeadDevice) -> bool:
    """Whether the server is making a video. Raises NetworkError and HeadServiceFailed.

    The server tests this before it looks at the parameters, so a submission without any is refused by a free one.
    """
    with client(REQUEST_S) as http:
        answer = json_of(asked(http, "POST", f"{device.video_url}/easy/submit", json={"code": "podlake-probe"}))
    return code_of(answer) == BUSY


def submit(
    device: HeadDevice, code: str, audio: str, video: str, patience: Patience, store: Callable[[Ended], None]
) -> None:  # fmt: skip
    """Give the server a task: names of files in its folder `temp`.

    Raises `DeviceBusy`, and `HeadServiceFailed` if it does not take the task. Where an answer was lost, it is asked
    whether it knows the task; `store` gets the end of a task that is over by then.
    """
    task = {
        "audio_url": f"{CONTAINER_FOLDER}/{audio}", "video_url": f"{CONTAINER_FOLDER}/{video}", "code": code,
        "chaofen": 0, "watermark_switch": 0, "pn": 1,
    }  # fmt: skip
    failed: PodlakeError | None = None
    for number in range(SUBMISSIONS):
        if number:
            patience.sleep()
        try:
            with client(REQUEST_S) as http:
                answer = json_of(asked(http, "POST", f"{device.video_url}/easy/submit", json=task))
        except (NetworkError, HeadServiceFailed) as error:
            failed = error
            if _knows(device, code, store):
                return
            continue
        if code_of(answer) == OK:
            return
        if code_of(answer) == BUSY and failed and _knows(device, code, store):
            return  # with this very task, whose first answer was lost
        if code_of(answer) == BUSY:
            raise DeviceBusy(f"{device.name} is busy with a video that podlake has not asked for.")
        failed = HeadServiceFailed(f"{device.video_url} does not take the task: {shown(json.dumps(answer))}")
        if code_of(answer) == MISSING:
            break
    raise failed or HeadServiceFailed(f"{device.video_url} does not take the task.")


def query(device: HeadDevice, code: str) -> Ended | Running | Forgotten:
    """What has become of a task. An `Ended` is given once. Raises NetworkError and HeadServiceFailed."""
    with client(REQUEST_S) as http:
        answer = json_of(asked(http, "GET", f"{device.video_url}/easy/query", params={"code": code}))
    number, data = code_of(answer), answer.get("data")
    if number == UNKNOWN:
        return Forgotten()
    if number != OK or not isinstance(data, dict):
        raise HeadServiceFailed(f"{device.video_url} cannot say how the task is: {shown(json.dumps(answer))}")
    status = _number(data.get("status"))
    if status == RUNNING:
        return Running(_number(data.get("progress")))
    if status not in (DONE, ERROR):
        raise HeadServiceFailed(f"{device.video_url} answers with an unknown status: {shown(json.dumps(answer))}")
    message = str(data.get("msg") or answer.get("msg") or "")
    result = data.get("result")
    return Ended(status == DONE, message, result if isinstance(result, str) else None, json.dumps(answer))


def wait(
    device: HeadDevice,
    code: str,
    patience: Patience,
    store: Callable[[Ended], None],
    goes_on: Callable[[int | None], None],
    clock: Callable[[], float] = time.monotonic,
) -> Ended | Forgotten:
    """Ask until the task has ended. `store` gets the end before anything else is done; `goes_on` may raise.

    Raises `DeviceTimeout` after the limit, and `HeadServiceFailed` for the fifth error in a row.
    """
    deadline, errors = clock() + patience.limit_s, 0
    while True:
        try:
            found = query(device, code)
        except (NetworkError, HeadServiceFailed) as error:
            errors += 1
            if errors >= ERRORS_IN_A_ROW:
                raise HeadServiceFailed(f"{device.name}: {errors} errors in a row, the last one: {error}") from error
            found = None
        if isinstance(found, Ended):
            store(found)
            return found
        if isinstance(found, Forgotten):
            return found
        if isinstance(found, Running):
            errors = 0
        goes_on(found.progress if found else None)
        if clock() >= deadline:
            raise DeviceTimeout(f"{device.name} has not finished the video in {patience.limit_s / 60:.0f} minutes.")
        patience.sleep()


def result_file(device: HeadDevice, code: str, result: str | None = None) -> Path:
    """The file of a task. The name that the server gives is believed only as a name inside of its folder."""
    name = Path(result).name if result else f"{code}-r.mp4"
    return device.video_folder / "temp" / name


def finished_file(
    path: Path, patience: Patience, is_whole: Callable[[Path], bool], clock: Callable[[], float] = time.monotonic
) -> Path | None:
    """The file, when it is there, has had the same size twice and is whole; None if that does not happen in time.

    The server writes it while it says already that it is done, and may pause meanwhile.
    """
    deadline, before = clock() + patience.file_s, -1
    while True:
        size = path.stat().st_size if path.is_file() else -1
        if size > 0 and size == before and is_whole(path):
            return path
        if clock() >= deadline:
            return None
        before = size
        patience.sleep()


def _knows(device: HeadDevice, code: str, store: Callable[[Ended], None]) -> bool:
    """Whether the server has the task although its answer to the submission was lost."""
    try:
        found = query(device, code)
    except (NetworkError, HeadServiceFailed):
        return False
    if isinstance(found, Ended):
        store(found)
    return not isinstance(found, Forgotten)


def _number(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
