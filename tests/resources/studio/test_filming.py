"""Devices and their tasks: every fault that the servers were found to have, leases that end, and tasks that go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from demo.head_servers import Pair, head_servers, spoken_tone, talking_picture
from resources.studio.device_leases import DeviceLeases, DeviceState
from resources.studio.filming import PREFIX, Filmed, film
from resources.studio.head_devices import HeadDevices
from speech.errors import DeviceBusy, DeviceTimeout, HeadServiceFailed, LeaseLost, PodlakeError, VideoCancelled
from speech.talking_head.heygem import Patience

SPEECH = spoken_tone(30)  # two seconds
FAST = Patience(poll_s=0.02, limit_s=20, file_s=20)


class Studio:
    """Devices with their servers, and a speech and a video to film."""

    def __init__(self, folder: Path, pairs: list[Pair]) -> None:
        self.pairs, self.now = pairs, 1_000.0
        self.url = f"sqlite:///{folder / 'service.db'}"
        self.leases = DeviceLeases(self.url)
        self.heads = HeadDevices(tuple(pair.device for pair in pairs), self.leases, FAST, wait_s=10)
        self.speech, self.video = folder / "speech.wav", folder / "me.mp4"
        self.speech.write_bytes(SPEECH)
        self.video.write_bytes(talking_picture(SPEECH))
        self.checks = 0

    def check(self) -> None:
        self.checks += 1

    def film(self, video_id: str = "video-1", device: str = "gpu0", heads: HeadDevices | None = None) -> Filmed:
        return film(heads or self.heads, video_id, device, self.speech, "f" * 64, 2_000, self.video, self.check)

    def state(self, device: str = "gpu0") -> DeviceState:
        return self.leases.states([device])[0]


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with head_servers(tmp_path, 2, work_s=0.1) as pairs:
        yield Studio(tmp_path, pairs)


def test_a_task_is_filmed_and_its_device_is_free_again(studio: Studio) -> None:
    made = studio.film()
    assert (made.device, made.width, made.height, made.is_resumed) == ("gpu0", 64, 64, False)
    assert made.duration_ms == pytest.approx(2_000, abs=600)
    assert made.path == studio.pairs[0].device.video_folder / "temp" / f"{made.code}-r.mp4"
    assert made.path.read_bytes() == talking_picture(SPEECH)  # complete, although it grew
    temp = studio.pairs[0].device.video_folder / "temp"
    assert (temp / f"{PREFIX}{made.code}.wav").read_bytes() == SPEECH
    assert (temp / f"{PREFIX}{made.code}.mp4").exists()
    assert studio.state().is_free
    assert studio.leases.open_tasks() == []


@pytest.mark.parametrize("fault", ["locked", "system_error", "dropped", "lost_end", "query_error"])
def test_a_fault_that_passes_is_survived_and_the_task_is_taken_once(studio: Studio, fault: str) -> None:
    video = studio.pairs[0].video
    video.faults = [fault]
    made = studio.film()
    assert video.submitted == [made.code]
    assert studio.state().is_free


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("busy", DeviceBusy, "gpu0 is busy with a video that podlake has not asked for."),
        ("fails", HeadServiceFailed, "gpu0 could not film it: no final result"),
        ("forgets", HeadServiceFailed, "gpu0 has forgotten the task, and there is no finished file of it."),
        ("hangs", DeviceTimeout, "gpu0 has not finished the video in 0 minutes."),
    ],
)
def test_a_fault_that_stays_is_an_error_and_the_device_is_released(
    studio: Studio, fault: str, error: type[PodlakeError], message: str
) -> None:
    studio.pairs[0].video.faults = [fault]
    heads = replace(studio.heads, patience=replace(FAST, limit_s=0.3, file_s=0.1))
    with pytest.raises(error) as raised:
        studio.film(heads=heads)
    assert str(raised.value) == message
    assert studio.state().video_id is None
    assert studio.leases.open_tasks() == []


def test_five_errors_in_a_row_end_the_waiting_and_the_next_attempt_goes_on(studio: Studio) -> None:
    video = studio.pairs[0].video
    video.faults = ["query_error"]
    heads = replace(studio.heads, patience=FAST)
    original = video.query
    refused = iter(range(5))
    video.query = lambda code: (500, {}) if next(refused, None) is not None else original(code)  # type: ignore[method-assign]
    with pytest.raises(HeadServiceFailed, match="gpu0: 5 errors in a row"):
        studio.film(heads=heads)
    (task,) = studio.leases.open_tasks()
    made = studio.film()
    assert (made.code, made.is_resumed) == (task.code, True)
    assert video.submitted == [task.code]


def test_a_device_that_others_use_is_set_aside_and_named(studio: Studio) -> None:
    studio.pairs[0].video.used_by_others = True
    with pytest.raises(
        DeviceBusy, match=r"No device is left: gpu0 \(It is busy with a video that podlake has not asked"
    ):
        studio.film()
    with studio.heads.leased("video-2", studio.check) as held:
        assert held.device.name == "gpu1"
    assert studio.pairs[0].video.submitted == []


def test_a_device_that_does_not_answer_is_set_aside_for_a_minute(studio: Studio, tmp_path: Path) -> None:
    gone = replace(studio.pairs[0].device, video_url="http://127.0.0.1:9")
    clock = iter(range(10_000))
    leases = DeviceLeases(studio.url, clock=lambda: 1_000.0 + 0.001 * next(clock))
    with pytest.raises(DeviceBusy, match="It does not answer"):
        studio.film(heads=HeadDevices((gone,), leases, FAST))
    later = DeviceLeases(studio.url, clock=lambda: 1_100.0)
    assert later.states(["gpu0"])[0].is_free


def test_an_interrupted_attempt_is_followed_by_one_that_goes_on_with_its_task(studio: Studio) -> None:
    """The first one is ended in the middle, as by kill -9: its lease and its task stay."""

    class Killed(BaseException):
        pass

    def killed() -> None:
        if studio.pairs[0].video.submitted:
            raise Killed

    studio.pairs[0].video.work_s = 1
    lost = DeviceLeases(studio.url)
    lost.release = lambda lease: None  # type: ignore[method-assign]
    with pytest.raises(Killed):
        film(
            replace(studio.heads, leases=lost), "video-1", "gpu0", studio.speech, "f" * 64, 2_000, studio.video, killed
        )
    assert studio.state().video_id == "video-1"
    made = studio.film()
    assert made.is_resumed
    assert studio.pairs[0].video.submitted == [made.code]
    assert studio.state().is_free


def test_the_end_that_another_request_has_heard_is_kept_for_the_one_that_wants_it(studio: Studio) -> None:
    task = studio.leases.give("video-1", "gpu0", "f" * 64)
    temp = studio.pairs[0].device.video_folder / "temp"
    (temp / "speech.wav").write_bytes(SPEECH)
    studio.pairs[0].video.submit({"audio_url": "speech.wav", "video_url": "me.mp4", "code": task.code})
    made = studio.film("video-2")  # it waits until the first one's task is over
    assert studio.pairs[0].video.submitted == [task.code, made.code]
    first = studio.film("video-1")
    assert (first.code, first.is_resumed) == (task.code, True)
    assert len(studio.pairs[0].video.submitted) == 2


def test_a_task_of_other_speech_is_not_taken_for_this_one(studio: Studio) -> None:
    first = studio.film()
    again = film(studio.heads, "video-1", "gpu0", studio.speech, "e" * 64, 2_000, studio.video, studio.check)
    assert first.code != again.code
    assert studio.film().code == first.code  # that is finished already


def test_a_video_of_another_length_is_refused(studio: Studio) -> None:
    with pytest.raises(HeadServiceFailed, match=r"is 2\.\d s long, and the speech 9\.0 s"):
        film(studio.heads, "video-1", "gpu0", studio.speech, "f" * 64, 9_000, studio.video, studio.check)


def test_a_cancelled_request_stops_and_releases_its_device(studio: Studio) -> None:
    studio.pairs[0].video.work_s = 1

    def cancelled() -> None:
        if studio.pairs[0].video.submitted:
            raise VideoCancelled("cancelled")

    with pytest.raises(VideoCancelled):
        film(studio.heads, "video-1", "gpu0", studio.speech, "f" * 64, 2_000, studio.video, cancelled)
    assert studio.state().video_id is None


def test_an_attempt_that_has_lost_its_lease_stops(studio: Studio) -> None:
    heads = replace(studio.heads, leases=DeviceLeases(studio.url, lease_s=0.2))
    studio.pairs[0].video.work_s = 5
    taken = threading.Event()

    def check() -> None:
        if studio.pairs[0].video.submitted and not taken.is_set():
            taken.set()
            studio.leases.release_of("video-1")

    with pytest.raises(LeaseLost, match="video-1 has lost gpu0 to another attempt"):
        film(heads, "video-1", "gpu0", studio.speech, "f" * 64, 2_000, studio.video, check)
