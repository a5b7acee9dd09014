"""Levels of a stretch of samples, and the signal-to-noise ratio against the pauses around it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from speech.types import SAMPLE_RATE_HZ, Span, Word

FRAME_MS = 20
_FRAME = SAMPLE_RATE_HZ * FRAME_MS // 1000
_BLOCK = 3_000 * _FRAME
FULL_SCALE = 32_768.0
CLIPPED_FROM = 32_767
PAUSE_FRAMES = 10
"""Fewer frames without words (200 ms) say nothing about the noise."""
CONTEXT_MS = 2_000
"""Pauses this far before and after an utterance count as its background."""
NOISE_PERCENTILE = 20
"""Of the frames without words: word times are not exact, so louder ones can hold speech."""


@dataclass(frozen=True, slots=True)
class Levels:
    peak_dbfs: float | None
    clip_rate: float
    dc_offset: float
    edge_db: float | None


def levels_of(samples: np.ndarray) -> Levels:
    """Peak, share of samples at full scale, mean, and the louder edge against the mean power. `samples`: int16, not empty."""
    values = samples.astype(np.float64) / FULL_SCALE
    peak = float(np.abs(values).max())
    clipped = np.count_nonzero((samples >= CLIPPED_FROM) | (samples <= -CLIPPED_FROM))
    power = float(np.square(values).mean())
    edge = max(float(np.square(part).mean()) for part in (values[:_FRAME], values[-_FRAME:]))
    return Levels(
        peak_dbfs=20 * math.log10(peak) if peak else None,
        clip_rate=clipped / len(samples),
        dc_offset=float(values.mean()),
        edge_db=10 * math.log10(edge / power) if edge and power else None,
    )


class Background:
    """The power of each 20 ms frame of a recording, and which frames are pauses between words."""

    def __init__(self, samples: np.ndarray, words: Iterable[Word]) -> None:
        blocks = [_powers(samples[start : start + _BLOCK]) for start in range(0, len(samples) - _FRAME + 1, _BLOCK)]
        self._powers = np.concatenate(blocks) if blocks else np.zeros(0)
        self._is_pause = np.ones(len(self._powers), bool)
        for word in words:
            self._is_pause[word.start_ms // FRAME_MS : -(-word.end_ms // FRAME_MS)] = False

    def noise_power(self, span: Span) -> float | None:
        """The power of the pauses in and around the span; None where there are too few."""
        frames = self._near(span)
        pauses = self._powers[frames][self._is_pause[frames]]
        return float(np.percentile(pauses, NOISE_PERCENTILE)) if len(pauses) >= PAUSE_FRAMES else None

    def pauses(self, span: Span) -> list[int]:
        """The first samples of the frames that are pauses in and around the span."""
        frames = self._near(span)
        return [(frames.start + int(index)) * _FRAME for index in np.flatnonzero(self._is_pause[frames])]

    def snr_db(self, span: Span) -> tuple[float | None, str | None]:
        """(power of the span without the noise over the noise, None), or (None, why there is none)."""
        noise = self.noise_power(span)
        if noise is None:
            return None, "no pause between words within 2 s"
        if noise == 0:
            return None, "digital silence between words"
        own = self._powers[span.start_ms // FRAME_MS : max(span.end_ms // FRAME_MS, span.start_ms // FRAME_MS + 1)]
        speech = float(own.mean()) - noise
        return (10 * math.log10(speech / noise), None) if speech > 0 else (None, "not louder than the pauses around it")

    def _near(self, span: Span) -> slice:
        return slice(max(0, span.start_ms - CONTEXT_MS) // FRAME_MS, (span.end_ms + CONTEXT_MS) // FRAME_MS)


def _powers(block: np.ndarray) -> np.ndarray:
    whole = block[: len(block) // _FRAME * _FRAME].astype(np.float64) / FULL_SCALE
    powers: np.ndarray = np.square(whole).reshape(-1, _FRAME).mean(axis=1)
    return powers
