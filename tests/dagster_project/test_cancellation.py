"""A podcast, video or lesson that is cancelled while another process works on it: the work ends, and what has landed stays.

The engine of these tests never finishes by itself, so that only the cancellation can end the work.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.instance import database_url, open_instance
from dagster_project.settings import ROOT, Settings
from pipeline.run_cancellation import interrupted_if_cancelled
from pipeline.run_process import PROCESS_TAG, has_exited
from resources.lake.commits import all_open_commits
from resources.lake.home import Home
from resources.studio.ledger import Asked, Ledger, Limits
from resources.studio.video_ledger import AskedVideo, VideoLedger, VideoLimits
from tests.videos import tone, write_video

ENGINE = '''
"""A voice that says the first line of a script only, and a transcriber that says nothing."""
import os, time
from pathlib import Path
import numpy as np
from speech.engines.line_synthesizer import Sound
from speech.engines.protocols import ON_CPU, EngineSpec

def describe(choice):
    return EngineSpec("waits", "waits", "1")

def load(choice, device):
    return Waits()

def wait(report):
    Path(os.environ["WAITS"]).touch()
    while True:
        report(0)
        time.sleep(0.1)

class Waits:
    spec = describe(None)

    def say(self, line):
        if "First" not in line.text:
            wait(line.report)
        seconds = len(line.text) / 15
        return Sound((8_000 * np.sin(np.arange(int(22_050 * seconds)) / 20)).astype(np.int16), 22_050)

    def transcribe(self, recordings):
        for recording in recordings:
            wait(recording.report)
            yield

    def device_use(self):
        return ON_CPU

    def close(self):
        pass
'''
AT_MOST_S = 240
SCRIPT = "[S1] First of all, welcome to the show. [S2] Thank you for having me here today. [S1] You are welcome."


class Place:
    """A home, and processes in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.settings = folder, Settings()
        self.home, self.database_url = Home.at(self.settings.home), database_url(self.settings)
        self.mark = Path(os.environ["WAITS"])

    def podlake(self, *arguments: str) -> str:
        """A command in a process of its own."""
        command = [sys.executable, "-m", "dagster_project.cli", *arguments]
        done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False, timeout=AT_MOST_S)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def process(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self.folder / "said").open("wb") as said:
            working = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=said, stderr=said)
        try:
            yield working
        finally:
            working.kill()
            working.wait()

    def until(self, condition: Callable[[], bool], working: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + AT_MOST_S
        while not condition():
            assert working.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.1)

    def said(self) -> str:
        return (self.folder / "said").read_text()

    def landed(self, key: str) -> list[str]:
        return sorted(stage for stage, commits in all_open_commits(self.home).items() if key in commits)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    (tmp_path / "waits.py").write_text(ENGINE)
    register = "registry.SYNTHESIZERS['waits'] = registry.TRANSCRIBERS['waits'] = 'waits'"
    (tmp_path / "sitecustomize.py").write_text(f"from speech.engines import registry\n{register}\n")
    monkeypatch.setenv("DAGSTER_HOME", "")  # put back after what `open_instance` sets
    monkeypatch.delenv("DAGSTER_HOME")
    for name, value in {
        "PODLAKE_HOME": str(tmp_path / "home"), "PODLAKE_TRANSCRIBER": "waits", "TMPDIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "WAITS": str(tmp_path / "waits-now"),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    found = Place(tmp_path)
    monkeypatch.setenv("PODLAKE_VOICES", "S1=waits,S2=waits")
    yield found
    subprocess.run([sys.executable, "-m", "dagster_project.cli", "engines", "stop"], cwd=ROOT, check=True)


def a_podcast(place: Place) -> str:
    return str(Ledger(place.database_url).admit(Asked("ana", SCRIPT, "A show"), Limits(), lambda _: []).podcast_id)


def a_video(place: Place) -> str:
    asked = AskedVideo("ana", "Good morning to all of you.", wanted="audiogram")
    answer = VideoLedger(place.database_url).admit(asked, VideoLimits(), lambda _: [], has_devices=False)
    return str(answer.video_id)


def a_lesson(place: Place) -> str:
    """A lesson whose content is approved."""
    video = write_video(place.folder / "a.mp4", tone(2))
    said = place.podlake("lesson", "add", str(video), "--title", "Mitosis", "--source", "en", "--target", "es")
    key = said.split()[0]
    place.podlake("lesson", "run")
    place.podlake("review", "approve", key, "--by", "Ann")
    return key


@pytest.mark.parametrize(
    ("command", "request_one", "landed"),
    [
        ("podcast", a_podcast, ["script"]),
        ("video", a_video, ["reference_audio", "speech_text"]),
        ("lesson", a_lesson, ["content_review", "lesson_video"]),
    ],
)
def test_a_command_stops_the_work_of_another(
    place: Place, command: str, request_one: Callable[[Place], str], landed: list[str]
) -> None:
    key = request_one(place)
    with place.process("dagster_project.cli", command, "run") as working:
        place.until(place.mark.exists, working)
        assert "cancelled" in place.podlake(command, "cancel", key)
        assert working.wait(AT_MOST_S) in (0, 1), place.said()
    assert place.landed(key) == landed
    assert "Traceback" not in place.said()
    with open_instance(place.settings) as instance:
        run = instance.get_runs(limit=1)[0]
    assert run.status is dg.DagsterRunStatus.CANCELED
    assert [path for path in (Path(place.home.root) / "working").rglob("*") if path.is_file()] == []


def test_a_command_stops_a_run_of_the_daemon(place: Place) -> None:
    key = a_podcast(place)
    with (
        place.process("dagster._daemon", "run", "-w", str(ROOT / "workspace.yaml")) as daemon,
        open_instance(place.settings) as instance,
    ):
        place.until(place.mark.exists, daemon)
        assert "cancelled" in place.podlake("podcast", "cancel", key)
        (run,) = instance.get_runs()
        assert PROCESS_TAG in run.tags
        place.until(lambda: has_exited(instance, run), daemon)
        place.until(lambda: instance.get_runs()[0].status is dg.DagsterRunStatus.CANCELED, daemon)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(AT_MOST_S)
    assert place.landed(key) == ["script"]


def test_an_interrupt_by_the_user_is_no_cancellation() -> None:
    with (
        dg.instance_for_test() as instance,
        pytest.raises(KeyboardInterrupt),
        interrupted_if_cancelled(instance, "no-such-run"),
    ):
        raise KeyboardInterrupt
