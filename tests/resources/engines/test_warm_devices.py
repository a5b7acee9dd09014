"""Batches of several processes on made-up devices: each device has its own engine process, which stays warm."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.engines.devices import Devices
from speech.engines import hosts

ROOT = Path(__file__).parents[3]
DEVICES = ("cuda:0", "cuda:1", "cuda:2", "cuda:3")

ENGINE = '''
"""A transcriber on a GPU that notes its loads, and answers when as many as there are devices are at work."""
import os, time
from pathlib import Path
from speech.engines.protocols import DeviceUse, EngineSpec
from speech.types import Transcript

FOLDER = Path(__file__).parent

def describe(choice):
    return EngineSpec("together", "together", "1", needs_gpu=True)

def load(choice, device):
    with (FOLDER / "loads").open("a") as loads:
        loads.write(f"{device} {os.getpid()}\\n")
    return Together(device)

class Together:
    spec = describe(None)

    def __init__(self, device):
        self._device = device

    def transcribe(self, recordings):
        for recording in recordings:
            round_ = recording.episode_id.split("-")[0]
            (FOLDER / f"{round_} {self._device}").touch(exist_ok=False)  # once in a round on each device
            while len(list(FOLDER.glob(f"{round_} *"))) < 4:
                time.sleep(0.02)
            yield recording, Transcript((), speech_ms=0, engine_ms=1)

    def device_use(self):
        return DeviceUse(f"{self._device} {os.getpid()}")

    def close(self):
        pass
'''
CLIENT = """
import sys
from pathlib import Path
from resources.engines.devices import Devices
from resources.engines.local_host import LocalHost
from resources.engines.routing import Audio
from speech.engines import registry
from speech.engines.protocols import EngineChoice
from speech.waveforms import WaveformCache
folder, audio, key, *names = sys.argv[1:]
host = LocalHost(WaveformCache(Path(folder) / "waveforms", 10**9), Devices(tuple(names), Path(folder) / "leases"))
choice = EngineChoice("together")
spec = registry.describe_transcriber(choice)
(done,) = host.run("transcriber", choice, spec, [Audio(key, "a" * 64, Path(audio), "en")])
print(done.device)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "together.py").write_text(ENGINE)
    (tmp_path / "sitecustomize.py").write_text(
        "from speech.engines import registry\nregistry.TRANSCRIBERS['together'] = 'together'\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield tmp_path
    hosts.stop()


def _round(folder: Path, number: int) -> list[str]:
    """Four batches at once, each in a process of its own. Returns device and process of each."""
    audio = ROOT / "tests" / "audio" / "stereo.wav"
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, folder, audio, f"round{number}-{batch}", *DEVICES],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )
        for batch in range(4)
    ]  # fmt: skip
    return sorted(client.communicate(timeout=120)[0].strip() for client in clients)


def test_four_batches_use_four_devices_and_the_second_round_loads_nothing(folder: Path) -> None:
    first = _round(folder, 1)
    assert [line.split()[0] for line in first] == list(DEVICES)
    loads = sorted((folder / "loads").read_text().splitlines())
    assert loads == first
    assert _round(folder, 2) == first
    assert sorted((folder / "loads").read_text().splitlines()) == loads
    assert Devices(DEVICES, folder / "leases").holders() == {}
    assert sorted(status["device"] for status in hosts.statuses()) == list(DEVICES)
