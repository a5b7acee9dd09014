"""Local segmentation for `campplus`: who of at most three local speakers speaks in each window of 10 s.

The model (Plaquet and Bredin, "Powerset multi-class cross entropy loss for neural speaker diarization",
2023) sees every moment in two windows. What does not depend on names, whether one speaks and
whether several do, is averaged over the windows; the local speakers get their names later.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from speech.engines.onnx_models import run

STEP_SAMPLES = 270
"""Samples between two frames: 16.875 ms."""
FIRST_CENTRE = 495
"""The sample on which frame 0 is centred."""
WINDOW_FRAMES = 589
HOP_FRAMES = 296
"""Frames between the starts of two windows: 5 s. Half of that costs twice as much, with equal error rates."""
SPEECH = 0.4
"""There is speech where the probability exceeds this: missed speech costs more than a breath."""
OVERLAP = 0.4

_WINDOW_SAMPLES = 160_000
_BATCH = 1
"""Windows at once. Memory grows with them (40 MB each for a thread), and a CPU is not faster with more."""
_SETS = np.array(
    [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]], np.float32
)  # which local speakers each class of the powerset holds
_FIRST_OVERLAP = 4


@dataclass(frozen=True, slots=True)
class Activity:
    """Probabilities per frame of 16.875 ms, of a whole recording of n frames."""

    speech: np.ndarray
    """That at least one speaks, shape (n,)."""
    overlap: np.ndarray
    """That at least two speak, shape (n,)."""
    local: np.ndarray
    """That local speaker k of window w speaks, float16, shape (windows, 589, 3)."""

    def named(self, voices: np.ndarray) -> np.ndarray:
        """Probability that each voice speaks, shape (n, k), from the voices' probabilities per frame, (n, k).

        A local speaker is distributed over the voices that are likely while it speaks alone.
        """
        total = np.zeros(voices.shape, np.float32)
        for window, local in enumerate(self.local):
            part = slice(window * HOP_FRAMES, window * HOP_FRAMES + WINDOW_FRAMES)
            speaks = local.astype(np.float32)[: len(voices[part])]
            single = speaks * (2 - speaks.sum(axis=1, keepdims=True)).clip(0, 1)
            shares = single.T @ voices[part].astype(np.float32)
            total[part] += speaks @ (shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-6))
        total /= _windows_per_frame(len(voices), len(self.local))[:, None]
        return total


def activity(samples: np.ndarray, session: Any, pool: Executor, report: Callable[[float], None]) -> Activity:
    """`samples`: int16, 16 kHz, shape (n,); a window is read when it is due. `report` takes the share that is done."""
    hop = HOP_FRAMES * STEP_SAMPLES
    windows = 1 + max(0, -(-(len(samples) - _WINDOW_SAMPLES) // hop))
    batches = [range(at, min(at + _BATCH, windows)) for at in range(0, windows, _BATCH)]

    def probabilities(batch: range) -> np.ndarray:
        inputs = np.zeros((len(batch), 1, _WINDOW_SAMPLES), np.float32)
        for row, window in zip(inputs[:, 0], batch, strict=True):
            part = samples[window * hop : window * hop + _WINDOW_SAMPLES]
            row[: len(part)] = part / np.float32(32768)
        return np.exp(run(session, inputs))

    frames = HOP_FRAMES * (windows - 1) + WINDOW_FRAMES
    speech, overlap = np.zeros(frames, np.float32), np.zeros(frames, np.float32)
    local = np.zeros((windows, WINDOW_FRAMES, _SETS.shape[1]), np.float16)
    for batch, classes in zip(batches, pool.map(probabilities, batches), strict=True):
        local[batch.start : batch.stop] = classes @ _SETS
        for window, one in zip(batch, classes, strict=True):
            part = slice(window * HOP_FRAMES, window * HOP_FRAMES + WINDOW_FRAMES)
            speech[part] += 1 - one[:, 0]
            overlap[part] += one[:, _FIRST_OVERLAP:].sum(axis=1)
        report(batch.stop / windows)
    per_frame = _windows_per_frame(frames, windows)
    within = min(frames, -(-len(samples) // STEP_SAMPLES))
    return Activity((speech / per_frame)[:within], (overlap / per_frame)[:within], local)


def _windows_per_frame(frames: int, windows: int) -> np.ndarray:
    count = np.zeros(frames, np.float32)
    for window in range(windows):
        count[window * HOP_FRAMES : window * HOP_FRAMES + WINDOW_FRAMES] += 1
    return count
