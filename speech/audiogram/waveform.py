"""The moving bars: how loud the audio is around the present moment, drawn on the planes of a video frame."""

from __future__ import annotations

import numpy as np

from speech.audiogram.card import Box

STEP_MS = 50
"""Audio per bar."""
_FLOOR = 0.06
"""The height of silence, as a share of the box."""


def bar_levels(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """A height in 0–1 for each 50 ms, float32, shape (n,): loud speech is near 1. `samples` is float, shape (n, channels)."""
    step = rate_hz * STEP_MS // 1000
    minute = step * (60_000 // STEP_MS)  # a copy of hours would not fit into memory
    minutes = [_rms(samples[start : start + minute].mean(axis=1), step) for start in range(0, len(samples), minute)]
    rms = np.concatenate(minutes) if minutes else np.zeros(0, np.float32)
    loud = float(np.quantile(rms, 0.95)) if len(rms) else 0.0
    levels = np.sqrt(np.clip(rms / loud, 0, 1)) if loud > 1e-5 else np.zeros_like(rms)
    return (_FLOOR + (1 - _FLOOR) * levels).astype(np.float32)


def _rms(samples: np.ndarray, step: int) -> np.ndarray:
    whole = np.pad(samples, (0, -len(samples) % step)).reshape(-1, step)
    rms: np.ndarray = np.sqrt(np.square(whole.astype(np.float32)).mean(axis=1))
    return rms


class Bars:
    """Bars that move through a box from right to left; the one of the present moment is in the middle."""

    def __init__(self, levels: np.ndarray, box: Box) -> None:
        self._levels, self._box = levels, box
        self._pitch = max(4, box.width // 64)
        """Pixels from bar to bar."""
        self._radius = self._pitch * 0.3
        self._columns = np.arange(box.width, dtype=np.float32) + 0.5
        self._rows = np.abs(np.arange(box.height, dtype=np.float32) + 0.5 - box.height / 2)

    def coverage(self, at_ms: float) -> tuple[np.ndarray, np.ndarray]:
        """The share of each pixel that a bar covers, float32, shape (height, width); and which columns are in the past.

        Ends of bars are round, and their edges smooth.
        """
        position = (self._columns - self._box.width / 2) / self._pitch + at_ms / STEP_MS
        index = np.floor(position).astype(np.int64)
        inside = (index >= 0) & (index < len(self._levels))
        height = np.where(inside, self._levels[np.clip(index, 0, max(0, len(self._levels) - 1))], 0)
        offset = np.abs(position - index - 0.5) * self._pitch
        half = np.maximum(height * self._box.height / 2, self._radius)
        round_end = np.sqrt(np.maximum(self._radius**2 - np.minimum(offset, self._radius) ** 2, 0))
        reach = np.where(inside, half - self._radius + round_end, -1)
        sideways = np.clip(self._radius + 0.5 - offset, 0, 1)
        covered = np.clip(reach[None, :] - self._rows[:, None] + 0.5, 0, 1) * sideways[None, :]
        return covered.astype(np.float32), index < at_ms / STEP_MS
