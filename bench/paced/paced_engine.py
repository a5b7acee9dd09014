"""A diarizer and transcriber of known speed: sleeps `PODLAKE_PACE_MS` for each recording, and finds no speech."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator

from speech.engines.protocols import ON_CPU, DeviceUse, EngineChoice, EngineSpec
from speech.types import Diarization, Recording, Transcript

PACE_MS = int(os.environ.get("PODLAKE_PACE_MS", "250"))


def describe(choice: EngineChoice) -> EngineSpec:  # noqa: ARG001 - it has one model
    return EngineSpec("paced", "paced", "1", {"ms": PACE_MS}, needs_gpu=True)


def load(choice: EngineChoice, device: str) -> Paced:  # noqa: ARG001
    return Paced()


class Paced:
    """A `Diarizer` and a `Transcriber`."""

    spec = describe(EngineChoice("paced"))

    def diarize(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Diarization]]:
        for recording in recordings:
            time.sleep(PACE_MS / 1000)
            yield recording, Diarization((), None, engine_ms=PACE_MS)

    def transcribe(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Transcript]]:
        for recording in recordings:
            time.sleep(PACE_MS / 1000)
            yield recording, Transcript((), speech_ms=0, engine_ms=PACE_MS)

    def device_use(self) -> DeviceUse:
        return ON_CPU

    def close(self) -> None:
        """There is nothing to free."""
