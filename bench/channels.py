"""Channels that all speakers of a recording share, so that no diarizer tells them apart by their microphones."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from scipy.signal import butter, fftconvolve, resample_poly, sosfiltfilt

from speech.types import SAMPLE_RATE_HZ

PEAK = 32_768
MU = 255
REVERBERATION_S = 0.3
"""Until the room's answer has fallen by 60 dB."""
SPEECH_ABOVE_NOISE_DB = 20


def telephone(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # noqa: ARG001 - it has no noise
    """8 kHz, 300 to 3 400 Hz, 8 bits of µ-law (G.711). `samples`: float, ±32 768, 16 kHz, shape (n,)."""
    band = butter(4, (300, 3_400), "bandpass", fs=8_000, output="sos")
    narrow = sosfiltfilt(band, resample_poly(samples, 1, 2)).clip(-PEAK, PEAK) / PEAK
    bits = np.round(np.sign(narrow) * np.log1p(MU * np.abs(narrow)) / np.log1p(MU) * 127) / 127
    heard = np.sign(bits) * np.expm1(np.abs(bits) * np.log1p(MU)) / MU
    return PEAK * resample_poly(heard, 2, 1)[: len(samples)]


def room(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One microphone in a room with noise: speech after decaying noise as the room's answer, and white noise."""
    n = int(REVERBERATION_S * SAMPLE_RATE_HZ)
    answer = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / n) * 0.03
    answer[0] = 1
    heard = fftconvolve(samples, answer)[: len(samples)]
    noise = rng.standard_normal(len(heard)) * heard.std() * 10 ** (-SPEECH_ABOVE_NOISE_DB / 20)
    return np.asarray(heard + noise)


CHANNELS: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {"telephone": telephone, "room": room}
