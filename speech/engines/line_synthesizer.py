"""Makes a synthesizer of a voice that says one line: the loop, the files, and the check that it was really said."""

from __future__ import annotations

import hashlib
import logging
import os
import time
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from speech.engines.protocols import ON_CPU, DeviceUse, EngineSpec
from speech.errors import BadOutput, PodlakeError
from speech.types import Line, SpokenLine

log = logging.getLogger("podlake")

SILENT_DBFS = -50.0
"""Frames of 20 ms under this level are silence, at the ends and in between."""
FASTEST_PER_S = 40.0
"""Letters and digits in a second of speech: the fastest readers say 25."""
SLOWEST_PER_S = 2.0
SLACK_S = 5.0
"""A line may take so much longer than the slowest speech: pauses, laughter."""
KEPT_SILENCE_S = 0.05
"""Silence that stays before and after the speech of a line."""


@dataclass(frozen=True)
class Sound:
    """Mono samples, int16."""

    samples: np.ndarray
    sample_rate_hz: int


class Voice(Protocol):
    """What the module of a synthesizer loads."""

    @property
    def spec(self) -> EngineSpec: ...

    def say(self, line: Line) -> Sound:
        """Raises a `PodlakeError` that belongs to the line."""
        ...

    def close(self) -> None: ...


class LineSynthesizer:
    """A `Synthesizer` whose voice says the lines in order."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice

    @property
    def spec(self) -> EngineSpec:
        return self._voice.spec

    def synthesize(self, lines: Iterable[Line]) -> Iterator[tuple[Line, SpokenLine | PodlakeError]]:
        """Each line once, in order."""
        for line in lines:
            try:
                result: SpokenLine | PodlakeError = self._said(line)
            except PodlakeError as error:
                result = error
            yield line, result

    def device_use(self) -> DeviceUse:
        return ON_CPU

    def close(self) -> None:
        self._voice.close()

    def _said(self, line: Line) -> SpokenLine:
        if not line.text.strip():
            raise BadOutput(f"{line.episode_id} has no text to say.")
        if line.path.exists():
            return spoken_line(line.path, was_there=True)
        started = time.monotonic()
        sound = self._voice.say(line)
        trimmed = _trimmed(sound)
        _check(line, trimmed)
        write_wav(line.path, trimmed)
        line.report(line.duration_ms)
        return spoken_line(line.path, engine_ms=round(1000 * (time.monotonic() - started)))


def spoken_line(path: Path, *, engine_ms: int = 0, was_there: bool = False) -> SpokenLine:
    """The facts of a line's file."""
    sound = read_wav(path)
    duration_ms = round(1000 * len(sound.samples) / sound.sample_rate_hz)
    digest = hashlib.sha256(sound.samples.tobytes()).hexdigest()
    return SpokenLine(duration_ms, sound.sample_rate_hz, digest, engine_ms, was_there)


def read_wav(source: Path | BinaryIO) -> Sound:
    """A WAV file of mono int16 samples."""
    with wave.open(str(source) if isinstance(source, Path) else source, "rb") as file:
        return Sound(np.frombuffer(file.readframes(file.getnframes()), "<i2"), file.getframerate())


def write_wav(path: Path, sound: Sound) -> None:
    """Write a WAV file, which appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    with wave.open(str(hidden), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.sample_rate_hz)
        file.writeframes(sound.samples.astype("<i2").tobytes())
    hidden.replace(path)


def _trimmed(sound: Sound) -> Sound:
    """Without the silence before and after the speech. All samples of a sound without speech are removed."""
    loud = np.flatnonzero(_frame_levels(sound) > _power(SILENT_DBFS))
    if len(loud) == 0:
        return Sound(sound.samples[:0], sound.sample_rate_hz)
    frame, kept = _frame(sound), round(KEPT_SILENCE_S * sound.sample_rate_hz)
    start, end = loud[0] * frame, (loud[-1] + 1) * frame
    return Sound(sound.samples[max(0, start - kept) : end + kept], sound.sample_rate_hz)


def _check(line: Line, sound: Sound) -> None:
    """Raise `BadOutput` if the sound cannot be the line."""
    spoken = sum(character.isalnum() for character in line.text)
    duration_s = len(sound.samples) / sound.sample_rate_hz
    if len(sound.samples) == 0:
        raise BadOutput(f"{line.episode_id}: the voice gave silence instead of {line.text[:60]!r}.")
    if duration_s < spoken / FASTEST_PER_S:
        raise BadOutput(
            f"{line.episode_id}: the voice gave {duration_s:.1f} s for {spoken} letters, which is too short: "
            f"{line.text[:60]!r} was not said completely."
        )
    if duration_s > SLACK_S + spoken / SLOWEST_PER_S:
        raise BadOutput(
            f"{line.episode_id}: the voice gave {duration_s:.1f} s for {spoken} letters, which is too long: "
            "it said more than the text."
        )


def _frame(sound: Sound) -> int:
    return sound.sample_rate_hz // 50


def _frame_levels(sound: Sound) -> np.ndarray:
    frame = _frame(sound)
    padded = np.pad(sound.samples.astype(np.float64) / 32_768, (0, -len(sound.samples) % frame))
    levels: np.ndarray = np.square(padded).reshape(-1, frame).mean(axis=1)
    return levels


def _power(dbfs: float) -> float:
    return float(10 ** (dbfs / 10))
