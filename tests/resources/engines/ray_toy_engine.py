"""A diarizer that finds one speaker, writes down what it does, and kills its process where it is told to.

Options: `journal`, a file that gets a line for each thing done; `meet`, how many engines have to be at work before
one answers; `hold`, a file that all but an engine's first recording wait to see removed; `kill_once` and
`kill_always`, lengths in ms of the recordings that kill; `unavailable`, why it cannot load.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from speech.engines import torch_runtime
from speech.engines.protocols import DeviceUse, EngineChoice, EngineSpec
from speech.errors import EngineUnavailable
from speech.types import SAMPLE_RATE_HZ, Diarization, Recording, Segment


def describe(choice: EngineChoice) -> EngineSpec:
    return EngineSpec("toy", "toy", choice.model or "1", needs_gpu=True)


def load(choice: EngineChoice, device: str) -> Toy:
    if "unavailable" in choice.options:
        raise EngineUnavailable(choice.options["unavailable"])
    return Toy(choice, device)


class Toy:
    def __init__(self, choice: EngineChoice, device: str) -> None:
        self.spec = describe(choice)
        self._options = choice.options
        self._journal = Path(choice.options["journal"])
        self._device = device
        self._has_worked = False
        self._write("loaded", device, os.environ.get("CUDA_VISIBLE_DEVICES", ""))

    def diarize(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Diarization]]:
        self._write("began")
        while len({pid for did, pid, *_ in read(self._journal) if did == "began"}) < int(self._options.get("meet", 1)):
            time.sleep(0.05)
        for recording in recordings:
            duration_ms = len(recording.samples()) * 1000 // SAMPLE_RATE_HZ
            self._kill_if(duration_ms)
            recording.report(duration_ms // 2)
            while self._has_worked and Path(self._options.get("hold", "")).is_file():
                time.sleep(0.05)
            self._has_worked = True
            self._write("did", recording.episode_id)
            voice = np.ones(3, np.float32)
            yield recording, Diarization((Segment("S1", 0, duration_ms),), 4, {"S1": voice}, "toy", engine_ms=10)

    def device_use(self) -> DeviceUse:
        return torch_runtime.device_use(self._device)

    def close(self) -> None:
        self._write("closed")

    def _kill_if(self, duration_ms: int) -> None:
        has_killed = any(did == "killed" for did, *_ in read(self._journal))
        once, always = (self._options.get(name) == str(duration_ms) for name in ("kill_once", "kill_always"))
        if always or (once and not has_killed):
            self._write("killed")
            os.kill(os.getpid(), signal.SIGKILL)

    def _write(self, did: str, *what: str) -> None:
        with self._journal.open("a") as file:
            file.write(" ".join([did, str(os.getpid()), *what]) + "\n")


def read(journal: Path) -> list[list[str]]:
    """What was done, in order: the deed, the process, and what it was done to."""
    return [line.split() for line in journal.read_text().splitlines()] if journal.exists() else []
