"""A diarizer and transcriber that needs a GPU; its output depends only on the hash of the audio."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator

from speech.engines.protocols import ON_CPU, DeviceUse, EngineChoice, EngineSpec
from speech.types import Diarization, Recording, Segment, Transcript, Word

PACE_S = float(os.environ.get("CHAOS_PACE_S", "0.1"))
"""Per episode: long enough that the process is killed while it works."""


def describe(choice: EngineChoice) -> EngineSpec:
    return EngineSpec("chaos", "chaos", "1", needs_gpu=True)


def load(choice: EngineChoice, device: str) -> Chaos:
    assert device == "cuda:0"
    return Chaos()


class Chaos:
    spec = describe(EngineChoice("chaos"))

    def diarize(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Diarization]]:
        for recording in recordings:
            time.sleep(PACE_S)
            middle_ms = 100 + int(recording.audio_sha256[:2], 16)
            yield recording, Diarization((Segment("S1", 0, middle_ms), Segment("S2", middle_ms, 1000)), 4)

    def transcribe(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Transcript]]:
        for recording in recordings:
            time.sleep(PACE_S)
            words = tuple(
                Word(recording.audio_sha256[n : n + 4], 90 * n, 90 * n + 80, confidence=0.5) for n in range(10)
            )
            yield recording, Transcript(words, speech_ms=900)

    def device_use(self) -> DeviceUse:
        return ON_CPU

    def close(self) -> None:
        """It holds nothing."""
