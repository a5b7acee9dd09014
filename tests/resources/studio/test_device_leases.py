"""Leases of devices in both databases: one request has a device, a lease that is not renewed ends, ends of tasks stay."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from resources.studio.device_leases import DeviceLeases, DeviceState, Lease


@pytest.fixture
def url(storage: dict[str, Any], tmp_path: Path) -> str:
    return storage["storage"]["postgres"]["postgres_url"] if storage else f"sqlite:///{tmp_path}/service.db"


def test_two_timeouts_set_a_device_aside_until_a_person_brings_it_back(url: str) -> None:
    leases = DeviceLeases(url)
    assert not leases.timed_out("gpu0")
    leases.succeeded("gpu0")
    assert not leases.timed_out("gpu0")
    assert leases.timed_out("gpu0")
    state = leases.states(["gpu0"])[0]
    assert (state.until, state.reason) == (None, "Its last 2 videos were not finished in time. Restart its servers.")
    leases.bring_back("gpu0")
    assert leases.states(["gpu0"])[0] == DeviceState("gpu0", None, None, None, None, None, 0)


def test_a_device_belongs_to_one_request_and_a_request_has_one_device(url: str) -> None:
    leases = DeviceLeases(url)
    names = ["gpu0", "gpu1"]
    taken: list[Lease | None] = []
    start = threading.Barrier(6)

    def take(number: int) -> None:
        start.wait()
        taken.append(DeviceLeases(url).take(f"video-{number}", names))

    threads = [threading.Thread(target=take, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    given = [lease for lease in taken if lease]
    assert sorted(lease.device for lease in given) == names
    assert leases.take(given[0].video_id, names[::-1]) is not None
    assert sorted(str(state.video_id) for state in leases.states(names)) == sorted(lease.video_id for lease in given)


def test_a_lease_ends_when_it_is_not_renewed_and_the_later_attempt_has_it(url: str) -> None:
    now = [1_000.0]
    leases = DeviceLeases(url, clock=lambda: now[0])
    first = leases.take("video-1", ["gpu0"])
    assert first is not None
    now[0] += 50
    assert leases.renew(first)
    now[0] += 50
    assert leases.take("video-2", ["gpu0"]) is None
    again = leases.take("video-1", ["gpu0"])
    assert again is not None
    assert not leases.renew(first)
    leases.release(first)  # which is not its own any more
    assert leases.states(["gpu0"])[0].video_id == "video-1"
    now[0] += 61
    other = leases.take("video-2", ["gpu0"])
    assert other is not None
    assert not leases.renew(again)


def test_the_first_end_of_a_task_stays(url: str) -> None:
    leases = DeviceLeases(url)
    task = leases.give("video-1", "gpu0", "f" * 64)
    leases.end(task.code, "first")
    leases.end(task.code, "second")
    last = leases.last_task("video-1", "f" * 64)
    assert last is not None
    assert last.answer == "first"
    assert leases.open_tasks() == []
    assert [one.code for one in leases.ended_tasks(time.time() + 1)] == [task.code]
