"""An engine costs one file and one line: it can then be chosen, described, loaded and used."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]

ENGINE = '''
"""Writes the name of the episode, as one word."""

from speech.engines.protocols import ON_CPU, EngineSpec
from speech.types import Transcript, Word


def describe(choice):
    return EngineSpec("parrot", choice.model or "small", "1", languages=frozenset({"en"}))


def load(choice, device):
    return Parrot(describe(choice))


class Parrot:
    def __init__(self, spec):
        self.spec = spec

    def transcribe(self, recordings):
        for recording in recordings:
            yield recording, Transcript((Word(recording.episode_id, 0, 100),), speech_ms=100)

    def device_use(self):
        return ON_CPU

    def close(self):
        pass
'''

SCRIPT = """
import sys
from pathlib import Path
from dagster_project.build_resources import chosen_transcribers
from dagster_project.settings import Settings
from resources.engines.devices import Devices
from resources.engines.local_host import LocalHost
from resources.engines.routing import Audio, Engines
from speech.engines.protocols import EngineChoice
from speech.waveforms import WaveformCache

host = LocalHost(WaveformCache(Path(sys.argv[1]), 10**9), Devices(()), idle_s=0.0)
engines = Engines(EngineChoice("campplus"), chosen_transcribers(Settings(transcriber="parrot:large")), host)
(done,) = engines.transcribe([Audio("show-1", "a" * 64, Path(sys.argv[2]), "en")])
print(done.spec.name, done.spec.model, done.result.words[0].text, done.device)
"""


def test_an_engine_is_one_file_and_one_line(tmp_path: Path) -> None:
    for package in ("dagster_project", "assets", "pipeline", "resources", "partitions", "speech", "sql", "profiles"):
        ignored = shutil.ignore_patterns("__pycache__", "*.onnx")
        shutil.copytree(ROOT / package, tmp_path / "code" / package, ignore=ignored)
    engines = tmp_path / "code" / "speech" / "engines"
    (engines / "parrot.py").write_text(ENGINE)
    registry = engines / "registry.py"
    line = '    "parrot": "speech.engines.parrot",\n'
    registry.write_text(registry.read_text().replace("TRANSCRIBERS = {\n", "TRANSCRIBERS = {\n" + line))
    audio = ROOT / "tests" / "audio" / "stereo.wav"
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "waveforms"), str(audio)],
        cwd=tmp_path / "code", env={"PYTHONPATH": str(tmp_path / "code"), "PATH": "", "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.stdout.strip() == "parrot large show-1 cpu", ran.stderr
