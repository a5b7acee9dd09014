"""From a text to a video: real runs in processes of their own, one of which is killed, on servers with their faults."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

import av
import pytest
from click.testing import CliRunner

from dagster_project.cli import main
from demo.head_servers import Pair, devices_setting, head_servers, talking_picture
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import CLONED_SPEECH, REFERENCE_AUDIO, SPEECH_TEXTS, STAGE_RUNS, TALKING_HEAD_VIDEOS
from resources.lake.warehouse import ask, connect
from resources.studio.device_leases import DeviceLeases

ROOT = Path(__file__).parents[3]
VOICE = ROOT / "tests" / "nemo" / "pod_solo.flac"
TEXT = "The area of a circle is $\\pi r^2$. Today it is -3 degrees, and the train leaves at 10:30."


class Studio:
    """A home, the command line in it, and processes that make what is due."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home.at(str(folder / "home"))
        self.lake = Lake(self.home)
        self.text, self.video = folder / "talk.txt", folder / "me.mp4"
        self.text.write_text(TEXT)
        self.video.write_bytes(talking_picture(VOICE.read_bytes()))
        self.environment: Mapping[str, str] = {
            "PODLAKE_HOME": str(folder / "home"), "PODLAKE_HEAD_POLL_S": "0.05", "PODLAKE_VIDEOS_AT_ONCE": "9",
        }  # fmt: skip

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
        return {**kept, **self.environment, "PYTHONPATH": str(ROOT)}

    def podlake(self, *arguments: str, fails: bool = False) -> str:
        """A command, in this process. What is run needs one of its own: definitions are loaded with the settings."""
        if arguments[1:] == ("run",):
            command = [sys.executable, "-m", "dagster_project.cli", *arguments]
            done = subprocess.run(
                command, cwd=ROOT, text=True, capture_output=True, env=self._environment(), check=False
            )
            code, said = done.returncode, done.stdout + done.stderr
        else:
            result = CliRunner().invoke(main, arguments, env={**self.environment, "DAGSTER_HOME": None})
            code, said = result.exit_code, result.output
        assert (code != 0) == fails, said
        return said

    def submit(self, *more: str) -> str:
        return self.podlake("video", "submit", str(self.text), *more).split()[0]

    def worker(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "demo.head_worker"], cwd=ROOT, env=self._environment())

    def leases(self) -> DeviceLeases:
        return DeviceLeases(f"sqlite:///{self.folder / 'home' / 'service.db'}")


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def pairs(studio: Studio) -> Iterator[list[Pair]]:
    with head_servers(studio.folder / "devices", 3, work_s=1.5) as pairs:
        yield pairs


@pytest.fixture(scope="module")
def audiogram(studio: Studio) -> str:
    """A finished video of a home without devices; its key."""
    video_id = studio.submit("--title", "A circle", "--shape", "wide")
    assert f"{video_id}  pending, audiogram, 1. in the queue" in studio.podlake("video", "status", video_id)
    said = studio.podlake("video", "submit", str(studio.text), "--kind", "talking_head", fails=True)
    assert "no_device: No device for talking heads is set" in said
    assert f"{video_id}  completed, audiogram, attempt 1" in studio.podlake("video", "run")
    return video_id


@pytest.fixture(scope="module")
def filmed(studio: Studio, audiogram: str, pairs: list[Pair]) -> list[str]:
    """Six talking heads on three devices whose servers have faults; the first process is killed in the middle."""
    studio.environment = {**studio.environment, "PODLAKE_HEAD_DEVICES": devices_setting(pairs)}
    said = studio.podlake("video", "submit", str(studio.text), fails=True)
    assert "no_video: A talking head needs a video of the person." in said
    pairs[0].speech.cold = 2
    pairs[0].video.faults = ["lost_end", "fails", "query_error"]
    pairs[1].video.faults = ["locked", "dropped"]
    pairs[1].speech.faults = ["tiny"]
    pairs[2].video.used_by_others = True
    videos = [studio.submit("--video", str(studio.video)) for _ in range(6)]
    killed = studio.worker()
    _until(lambda: any(pair.video.submitted for pair in pairs))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    pairs[2].video.used_by_others = False
    studio.leases().bring_back("gpu2")
    workers = [studio.worker() for _ in range(3)]
    try:
        assert [worker.wait(timeout=400) for worker in workers] == [0, 0, 0]
    finally:
        for worker in workers:
            worker.kill()
    return videos


def _until(holds: object, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_without_a_device_a_request_becomes_an_audiogram_and_says_so(studio: Studio, audiogram: str) -> None:
    (row,) = studio.lake.rows(TALKING_HEAD_VIDEOS, audiogram)
    assert (row.kind, row.width, row.height, row.codec, row.device) == ("audiogram", 1920, 1080, "h264", None)
    assert (
        row.kind_reason
        == "No device for talking heads is set (PODLAKE_HEAD_DEVICES), and the request left the kind open."
    )
    (speech,) = studio.lake.rows(CLONED_SPEECH, audiogram)
    assert (speech.is_cloned, speech.engine, speech.device) == (False, "piper", None)
    assert row.duration_ms == speech.duration_ms
    (reference,) = studio.lake.rows(REFERENCE_AUDIO, audiogram)
    assert (reference.path, reference.absent_reason) == (None, "An audiogram has the voice of a synthesizer.")
    with av.open(str(studio.folder / "home" / "videos" / row.path)) as container:
        assert container.duration == pytest.approx(1000 * speech.duration_ms, rel=0.02)


def test_formulas_and_numbers_are_said_in_words(studio: Studio, audiogram: str) -> None:
    (text,) = studio.lake.rows(SPEECH_TEXTS, audiogram)
    assert text.text == TEXT
    assert "pi r squared" in text.spoken_text
    assert "minus three degrees" in text.spoken_text
    assert {change.before for change in text.changes} >= {"-3", "10:30"}
    assert not set("$\\^0123456789") & set(text.spoken_text)


def test_each_request_ends_once_and_no_device_stays_leased(
    studio: Studio, filmed: list[str], pairs: list[Pair]
) -> None:
    rows = [row for video_id in filmed for row in studio.lake.rows(TALKING_HEAD_VIDEOS, video_id)]
    assert [row.video_id for row in rows] == filmed
    assert {row.kind for row in rows} == {"talking_head"}
    with connect(studio.home) as lake:
        landed = ask(lake, f"select episode_id, count(*) from {STAGE_RUNS.name} where stage = 'talking_head_video' "
                           "and outcome = 'landed' group by all order by all")  # fmt: skip
    assert dict(landed) | {} == {video_id: 1 for video_id, _ in landed}
    assert {video_id for video_id, _ in landed} >= set(filmed)
    states = studio.leases().states([pair.device.name for pair in pairs])
    assert [state.video_id for state in states] == [None, None, None]
    assert studio.leases().open_tasks() == []


def test_speech_and_film_of_a_request_are_of_one_device(studio: Studio, filmed: list[str]) -> None:
    for video_id in filmed:
        (speech,), (video,) = studio.lake.rows(CLONED_SPEECH, video_id), studio.lake.rows(TALKING_HEAD_VIDEOS, video_id)
        assert (speech.is_cloned, speech.device, speech.reference_text) == (True, video.device, "what was said")
        (reference,) = studio.lake.rows(REFERENCE_AUDIO, video_id)
        assert (reference.source, reference.video_width) == ("video", 64)
        assert 3_000 <= (reference.speech_ms or 0) <= 30_000


def test_the_task_of_the_killed_process_is_not_given_again(
    studio: Studio, filmed: list[str], pairs: list[Pair]
) -> None:
    rows = [studio.lake.rows(TALKING_HEAD_VIDEOS, video_id)[0] for video_id in filmed]
    assert [row.is_resumed for row in rows].count(True) >= 1
    submitted = [code for pair in pairs for code in pair.video.submitted]
    failed = [code for pair in pairs for code in pair.video.failed]  # status 3: these are made again
    assert len(set(submitted)) == len(submitted) == len(filmed) + len(failed)


def test_no_device_has_two_tasks_at_once(studio: Studio, filmed: list[str], pairs: list[Pair]) -> None:
    for pair in pairs:
        tasks = sorted(
            (task for task in studio.leases().ended_tasks(time.time()) if task.device == pair.device.name),
            key=lambda task: task.given_at,
        )
        for before, after in pairwise(tasks):
            assert before.ended_at is not None
            assert before.ended_at <= after.given_at


def test_the_command_line_shows_what_became_of_them(studio: Studio, filmed: list[str]) -> None:
    listed = studio.podlake("video", "list")
    assert [line.split()[1] for line in listed.splitlines()] == ["completed"] * 7
    shown = studio.podlake("video", "status", filmed[0])
    assert f"{filmed[0]}  completed, talking_head" in shown
    assert f"/videos/{studio.lake.rows(TALKING_HEAD_VIDEOS, filmed[0])[0].path}" in shown
    assert "There is no requested video nothing." in studio.podlake("video", "status", "nothing", fails=True)
    devices = studio.podlake("video", "devices")
    assert [line.split()[:2] for line in devices.splitlines()] == [["gpu0", "free"], ["gpu1", "free"], ["gpu2", "free"]]


def test_a_cancelled_request_is_not_made(studio: Studio, filmed: list[str]) -> None:
    video_id = studio.submit("--video", str(studio.video))
    assert f"{video_id}  cancelled" in studio.podlake("video", "cancel", video_id)
    assert "No requested video is due." in studio.podlake("video", "run")
    assert f"{filmed[0]}  completed" in studio.podlake("video", "cancel", filmed[0])  # it is finished


def test_a_recording_without_speech_is_refused_for_good(studio: Studio, filmed: list[str], tmp_path: Path) -> None:
    silent = tmp_path / "silent.wav"
    silent.write_bytes((ROOT / "tests" / "audio" / "cut.wav").read_bytes())
    video_id = studio.submit("--video", str(studio.video), "--audio", str(silent))
    said = studio.podlake("video", "run", fails=True)
    assert f"{video_id}  failed, talking_head, attempt 1, at reference_audio" in said
    assert "a voice needs 3–30 s" in said
