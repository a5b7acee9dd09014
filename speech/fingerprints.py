"""Acoustic fingerprint of a whole waveform: Chromaprint's algorithm 1 (Lukáš Lalinský, MIT), on 16 kHz and in NumPy.

libchromaprint is not needed, so every machine can compare audio. Items are those of libchromaprint but for a few bits:
it resamples to 11 025 Hz, which these frames do not need.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from speech.types import SAMPLE_RATE_HZ

ITEM_MS = 1000 * 1365 / 11_025
"""From the start of an item to the next: 123.8 ms."""
REACH_MS = round(1000 * (4096 + 19 * 1365) / 11_025)
"""What one item is made of: 2.7 s."""

_FRAME = round(4096 * SAMPLE_RATE_HZ / 11_025)
_FFT = 6000
_SMOOTHING = (0.25, 0.75, 1.0, 0.75, 0.25)
_WIDTH = 16
"""Frames of the widest filter."""
_FRAMES_AT_ONCE = 512
_GRAY = np.array([0, 1, 3, 2], np.uint32)
_FILTERS = (
    (0, 4, 3, 15, 1.98215, 2.35817, 2.63523), (4, 4, 6, 15, -1.03809, -0.651211, -0.282167),
    (1, 0, 4, 16, -0.298702, 0.119262, 0.558497), (3, 8, 2, 12, -0.105439, 0.0153946, 0.135898),
    (3, 4, 4, 8, -0.142891, 0.0258736, 0.200632), (4, 0, 3, 5, -0.826319, -0.590612, -0.368214),
    (1, 2, 2, 9, -0.557409, -0.233035, 0.0534525), (2, 7, 3, 4, -0.0646826, 0.00620476, 0.0784847),
    (2, 6, 2, 16, -0.192387, -0.029699, 0.215855), (2, 1, 3, 2, -0.0397818, -0.00568076, 0.0292026),
    (5, 10, 1, 15, -0.53823, -0.369934, -0.190235), (3, 6, 2, 10, -0.124877, 0.0296483, 0.139239),
    (2, 1, 1, 14, -0.101475, 0.0225617, 0.231971), (3, 5, 6, 4, -0.0799915, -0.00729616, 0.063262),
    (1, 9, 2, 12, -0.272556, 0.019424, 0.302559), (3, 4, 2, 14, -0.164292, -0.0321188, 0.0846339),
)  # fmt: skip
"""Shape, first band, bands, frames, and the three limits of the quantizer."""


def fingerprint_items(samples: np.ndarray) -> np.ndarray:
    """One uint32 per 124 ms of int16 samples at 16 kHz. Empty for less than 2.7 s."""
    chroma = np.concatenate([np.zeros((0, 12), np.float32), *_chroma(samples)])
    if len(chroma) < len(_SMOOTHING) + _WIDTH - 1:
        return np.zeros(0, np.uint32)
    n = len(chroma) - len(_SMOOTHING) + 1
    smooth = sum(weight * chroma[start : start + n] for start, weight in enumerate(_SMOOTHING))
    norm = np.linalg.norm(smooth, axis=1, keepdims=True)
    image = np.where(norm < 0.01, 0, smooth / np.maximum(norm, 0.01)).astype(np.float64)
    sums = np.zeros((n + 1, 13))
    sums[1:, 1:] = image.cumsum(axis=0).cumsum(axis=1)
    items: np.ndarray = np.zeros(n - _WIDTH + 1, np.uint32)
    for shape, band, bands, frames, *limits in _FILTERS:
        value = _filtered(sums, int(shape), int(band), int(bands), int(frames), len(items))
        items = (items << 2) | _GRAY[np.searchsorted(limits, value, side="right")]
    return items


def _chroma(samples: np.ndarray) -> Iterator[np.ndarray]:
    """Energy per pitch class, from A, for each frame."""
    from scipy import fft

    hop = SAMPLE_RATE_HZ * ITEM_MS / 1000
    n_frames = int((len(samples) - _FRAME) / hop) + 1 if len(samples) >= _FRAME else 0
    hz = np.arange(_FFT // 2 + 1) * SAMPLE_RATE_HZ / _FFT
    used = (hz >= 28) & (hz < 3520)
    octave = np.log2(hz[used] / 27.5)
    classes = np.eye(12, dtype=np.float32)[(12 * (octave - np.floor(octave))).astype(int)]
    window = (np.hamming(_FRAME) / 32_767).astype(np.float32)
    for first in range(0, n_frames, _FRAMES_AT_ONCE):
        starts = np.rint(np.arange(first, min(n_frames, first + _FRAMES_AT_ONCE)) * hop).astype(int)
        starts = np.minimum(starts, len(samples) - _FRAME)
        frames = samples[starts[0] : starts[-1] + _FRAME][starts[:, None] - starts[0] + np.arange(_FRAME)]
        spectrum = fft.rfft(frames * window, _FFT, axis=1)[:, used]
        yield (spectrum.real**2 + spectrum.imag**2) @ classes


def _filtered(sums: np.ndarray, shape: int, band: int, bands: int, frames: int, n: int) -> np.ndarray:
    """A difference of areas of the image, as the logarithm of their ratio."""

    def area(from_frame: int, from_band: int, to_frame: int, to_band: int) -> np.ndarray:
        low, high = band + from_band, band + to_band
        rows = sums[to_frame : to_frame + n], sums[from_frame : from_frame + n]
        return rows[0][:, high] - rows[0][:, low] - rows[1][:, high] + rows[1][:, low]

    half, half_bands, third, third_bands = frames // 2, bands // 2, frames // 3, bands // 3
    whole = area(0, 0, frames, bands)
    if shape == 0:
        return np.log1p(whole)
    if shape == 1:
        first = area(0, half_bands, frames, bands)
    elif shape == 2:
        first = area(half, 0, frames, bands)
    elif shape == 3:
        first = area(0, half_bands, half, bands) + area(half, 0, frames, half_bands)
    elif shape == 4:
        first = area(0, third_bands, frames, 2 * third_bands)
    else:
        first = area(third, 0, 2 * third, bands)
    return np.log((1 + first) / (1 + whole - first))
