"""What a warm host process saves: two batches of each engine on this machine's CPU, the second one warm.

    python -m bench.warm [episodes]

The default engines, and after `make nemo` those of NeMo with the tests' small models, both of which run in one process.
Each batch runs in a process of its own, as a Dagster run does, and takes short episodes cut from the demo. Prints, for
each engine: the time from the request to the start of the engine's work when it is cold and when it is warm, their
ratio, and the time of each 35 s episode.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import wave
from contextlib import closing
from pathlib import Path

from speech.cores import usable_cores
from speech.decoding import decode_to_wav
from speech.engines import registry
from speech.engines.hosted_engine import HostedEngine
from speech.engines.protocols import EngineChoice, Slot
from speech.errors import PodlakeError
from speech.types import Recording

ROOT = Path(__file__).parents[1]
AUDIO_S = 35
ENGINES: dict[str, tuple[Slot, EngineChoice]] = {
    "campplus": ("diarizer", EngineChoice("campplus")),
    "whisper": ("transcriber", EngineChoice("whisper")),
}
NEMO_PYTHON = ROOT / ".venv-nemo" / "bin" / "python"
if NEMO_PYTHON.exists():
    under = {"python": str(NEMO_PYTHON)}
    ENGINES["sortformer"] = "diarizer", EngineChoice("nemo", str(ROOT / "tests/nemo/sortformer_tiny.nemo"), under)
    ENGINES["parakeet"] = "transcriber", EngineChoice("nemo", str(ROOT / "tests/nemo/parakeet_tdt_tiny.nemo"), under)


def main(n_episodes: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _write_episodes(Path(folder), n_episodes)
        environment = {**os.environ, "TMPDIR": folder}
        command = [sys.executable, "-m", "bench.warm", "--batch"]
        print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        print(f"{'engine':<10}{'cold start':>12}{'warm start':>12}{'cold / warm':>13}{'35 s episode':>20}")
        for name in ENGINES:
            cold, warm = (
                json.loads(subprocess.check_output([*command, name, folder], env=environment, cwd=ROOT))
                for _ in range(2)
            )
            print(f"{name:<10}{cold['start_s']:>10.2f} s{warm['start_s']:>10.2f} s"
                  f"{cold['start_s'] / warm['start_s']:>13.1f}{warm['each_s']:>18.2f} s")  # fmt: skip
        subprocess.run([sys.executable, "-m", "dagster_project.cli", "engines", "stop"], env=environment, check=True)


def batch(name: str, folder: Path) -> None:
    """One batch. Prints how long it took until the engine was ready, and from each result to the next."""
    slot, choice = ENGINES[name]
    recordings = [Recording(path.stem, "0" * 64, path, "en") for path in sorted(folder.glob("*.wav"))]
    began = time.monotonic()
    engine = HostedEngine(slot, choice, registry.describe(slot, choice), "cpu", idle_s=60.0, threads=usable_cores())
    with closing(engine):
        engine.wait_until_ready()
        ready = time.monotonic()
        for _, result in engine.diarize(recordings) if slot == "diarizer" else engine.transcribe(recordings):
            if isinstance(result, PodlakeError):
                raise result
        print(json.dumps({"start_s": ready - began, "each_s": (time.monotonic() - ready) / len(recordings)}))


def _write_episodes(folder: Path, n_episodes: int) -> None:
    samples = bytearray()
    for path in sorted((ROOT / "demo" / "audio").glob("*.flac")):
        decode_to_wav(path, folder / "whole.wav")
        with wave.open(str(folder / "whole.wav"), "rb") as file:
            samples += file.readframes(file.getnframes())
    (folder / "whole.wav").unlink()
    length = 2 * 16_000 * AUDIO_S
    for n in range(n_episodes):
        start = n * length % max(1, len(samples) - length) // 2 * 2
        with wave.open(str(folder / f"{n:03}.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
            file.writeframes(bytes(samples[start : start + length]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--batch"]:
        batch(sys.argv[2], Path(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
