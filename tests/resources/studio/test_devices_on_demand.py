"""Devices for talking heads on a GPU server of the cloud: it is woken for them, and stays as long as they have work."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest

from demo.head_servers import Pair, head_servers, spoken_tone, talking_picture
from resources.gpu_server.on_demand import GpuServer
from resources.gpu_server.servers import GpuServers
from resources.studio.device_leases import DeviceLeases
from resources.studio.filming import Filmed, film
from resources.studio.head_devices import HeadDevices
from speech.errors import DeviceBusy, VideoCancelled
from speech.talking_head.heygem import Patience
from tests.resources.gpu_server.clouds import Cloud, on_demand, running_cloud

SPEECH = spoken_tone(30)  # two seconds
pytestmark = pytest.mark.filterwarnings(
    "ignore:Support for InfluxDB", "ignore:The _compute_attributes", "ignore:The 'service_type'"
)  # openstacksdk's own


class Studio:
    """Two devices on a GPU server, and a speech and a video to film."""

    def __init__(self, folder: Path, cloud: Cloud, servers: GpuServers, pairs: list[Pair]) -> None:
        self.cloud, self.pairs = cloud, pairs
        (self.server,) = servers.servers
        self.heads = HeadDevices(
            tuple(pair.device for pair in pairs), DeviceLeases(f"sqlite:///{folder}/service.db"),
            Patience(poll_s=0.02, limit_s=60, file_s=20), wait_s=60, gpu_servers=servers,
        )  # fmt: skip
        self.speech, self.video = folder / "speech.wav", folder / "me.mp4"
        self.speech.write_bytes(SPEECH)
        self.video.write_bytes(talking_picture(SPEECH))

    def film(self, video_id: str = "video-1", device: str = "gpu0") -> Filmed:
        return film(self.heads, video_id, device, self.speech, "f" * 64, 2_000, self.video, lambda: None)

    def shelve(self, server: GpuServer | None = None) -> str:
        """As the sensor does after the idle time, if no run is under way."""
        server = server or self.server
        return server.shelve_if_idle(lambda: self.heads.has_work_on(server), datetime.now(UTC) + timedelta(minutes=16))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


@pytest.fixture
def studio(tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> Studio:
    cloud = stack.enter_context(running_cloud())
    pairs = stack.enter_context(head_servers(tmp_path, 2, work_s=0.1))
    return Studio(tmp_path, cloud, on_demand(cloud, tmp_path, monkeypatch), pairs)


def test_a_shelved_server_is_woken_before_its_device_is_used(studio: Studio) -> None:
    with studio.heads.leased("video-1", lambda: None) as held:
        assert studio.cloud.is_healthy
        assert studio.server.ledger.users("gpu-1") == ["the device gpu0"]
        assert held.device.name == "gpu0"
    assert studio.server.ledger.users("gpu-1") == []
    assert studio.film().device == "gpu0"
    assert studio.cloud.actions == ["unshelve"]


def test_a_video_that_was_finished_before_is_fetched_from_a_woken_server(studio: Studio) -> None:
    first = studio.film()
    studio.cloud.status, studio.cloud.task = "SHELVED_OFFLOADED", None
    assert studio.film().code == first.code
    assert studio.cloud.actions == ["unshelve"] * 2


def test_a_server_that_does_not_start_sets_its_devices_aside(studio: Studio) -> None:
    studio.cloud.status = "ERROR"
    with pytest.raises(DeviceBusy, match=r"No device is left: gpu0 \(The GPU server gpu-1 is ERROR and does not start"):
        studio.film()
    state = studio.heads.states()[0]
    assert (state.video_id, state.until is None) == (None, False)


def test_servers_of_a_device_that_start_after_the_machine_are_waited_for(studio: Studio, stack: ExitStack) -> None:
    """The first device's fish-speech listens only a while after its GPU server is healthy."""
    waiting = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler, bind_and_activate=False)
    waiting.server_bind()
    device = replace(studio.pairs[0].device, speech_url=f"http://127.0.0.1:{waiting.server_port}")
    started: list[Thread] = []
    stack.callback(waiting.server_close)

    def check() -> None:
        if studio.cloud.is_healthy and not started:
            waiting.server_activate()
            started.append(Thread(target=waiting.serve_forever, args=(0.05,), daemon=True))
            started[0].start()
            stack.callback(waiting.shutdown)

    heads = replace(studio.heads, devices=(device,))
    with heads.leased("video-1", check) as held:
        assert held.device is device
    assert started
    assert studio.cloud.actions == ["unshelve"]


def test_a_cancelled_request_does_not_wait_for_servers_that_start(studio: Studio) -> None:
    silent = replace(studio.pairs[0].device, speech_url="http://127.0.0.1:9")

    def cancelled() -> None:
        if studio.cloud.is_healthy:
            raise VideoCancelled("cancelled")

    heads = replace(studio.heads, devices=(silent,))
    with pytest.raises(VideoCancelled), heads.leased("video-1", cancelled):
        pass
    assert studio.heads.states()[0].video_id is None
    assert studio.server.ledger.users("gpu-1") == []


def test_a_kept_lease_and_an_open_task_keep_the_server(studio: Studio) -> None:
    with studio.heads.leased("video-1", lambda: None, keeps=True):
        pass
    assert studio.shelve() == "Work waits for it."
    studio.heads.leases.release_of("video-1")
    task = studio.heads.leases.give("video-2", "gpu1", "f" * 64)
    assert studio.shelve() == "Work waits for it."
    studio.heads.leases.end(task.code)
    elsewhere = replace(studio.server, health_url="http://10.0.0.9/health")
    with studio.heads.leased("video-3", lambda: None):
        assert not studio.heads.has_work_on(elsewhere)
    assert studio.shelve().startswith("Shelved after")


def test_no_task_meets_a_server_that_is_going_away(studio: Studio) -> None:
    server = replace(studio.server, pause=lambda _: time.sleep(0.002))
    studio.heads = replace(studio.heads, gpu_servers=GpuServers([server]))
    for pair in studio.pairs:
        original = pair.video.submit
        pair.video.submit = lambda asked, original=original: (studio.cloud.work(), original(asked))[1]  # type: ignore[method-assign]
    ended = Event()

    def shelve_all_the_time() -> None:
        while not ended.is_set():
            studio.shelve(server)

    shelver = Thread(target=shelve_all_the_time)
    shelver.start()
    try:
        with ThreadPoolExecutor(2) as pool:
            made = list(pool.map(lambda n: studio.film(f"video-{n}", f"gpu{n % 2}"), range(4)))
    finally:
        ended.set()
        shelver.join()
    assert len({one.code for one in made}) == 4
    assert studio.cloud.work_met == []
