"""Kaldi's log-mel filterbank, as speaker models expect it: 80 bins, 25 ms every 10 ms, no dither."""

from __future__ import annotations

from functools import cache

import numpy as np

from speech.types import SAMPLE_RATE_HZ

FRAME_SAMPLES = 160
"""Samples between the starts of two frames: 10 ms."""
BINS = 80

_WINDOW_SAMPLES = 400
_FFT_SAMPLES = 512
_MARGIN_SAMPLES = (_WINDOW_SAMPLES - FRAME_SAMPLES) // 2
_LOWEST_HZ = 20.0


def filterbank(samples: np.ndarray, first: int, end: int) -> np.ndarray:
    """The frames `[first, end)` of a recording, float32, shape (end - first, 80).

    Frame i is centred on sample 160 i + 80, as with Kaldi's `snip_edges=false`; the samples outside the
    recording are its mirror image. `samples`: int16, 16 kHz, shape (n,), of which only the part that is needed
    is read. At most `frame_count(samples)` frames exist.
    """
    start, stop = first * FRAME_SAMPLES - _MARGIN_SAMPLES, end * FRAME_SAMPLES + _MARGIN_SAMPLES
    part = samples[max(start, 0) : stop].astype(np.float32)
    part = np.pad(part, (max(-start, 0), max(stop - len(samples), 0)), "symmetric")
    frames = np.lib.stride_tricks.sliding_window_view(part, _WINDOW_SAMPLES)[::FRAME_SAMPLES]
    frames = frames - frames.mean(axis=1, keepdims=True)
    emphasised = np.empty_like(frames)
    emphasised[:, 1:] = frames[:, 1:] - np.float32(0.97) * frames[:, :-1]
    emphasised[:, 0] = np.float32(0.03) * frames[:, 0]
    window, mel = _bases()
    spectrum = np.fft.rfft(emphasised * window, _FFT_SAMPLES)[:, :-1]
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    return np.log(np.maximum(power @ mel, np.finfo(np.float32).eps))


def frame_count(samples: np.ndarray) -> int:
    return (len(samples) + FRAME_SAMPLES // 2) // FRAME_SAMPLES


@cache
def _bases() -> tuple[np.ndarray, np.ndarray]:
    """Kaldi's "povey" window, and triangular filters on the mel scale, shape (256, 80)."""
    window = np.hanning(_WINDOW_SAMPLES) ** 0.85
    edges = np.linspace(_mel(_LOWEST_HZ), _mel(SAMPLE_RATE_HZ / 2), BINS + 2)
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    bins = _mel(np.fft.rfftfreq(_FFT_SAMPLES, 1 / SAMPLE_RATE_HZ)[:-1])[:, None]
    filters = np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)).clip(min=0)
    return window.astype(np.float32), filters.astype(np.float32)


def _mel(hz: np.ndarray | float) -> np.ndarray:
    return 1127.0 * np.log1p(np.asarray(hz) / 700.0)
