"""Spectral measures by librosa: effective bandwidth, and how noise-like the background is."""

from __future__ import annotations

import numpy as np

from speech.types import SAMPLE_RATE_HZ

FFT = 512
LOUD_PERCENTILE = 98
"""Of the frames: consonants that use the upper band are short."""
BELOW_PEAK_DB = 65.0
"""A band is used where its loud frames are less than this below the loudest band."""
BACKGROUND_FRAMES = 200


def bandwidth_hz(samples: np.ndarray) -> float | None:
    """The highest frequency that is used, at most 8 kHz; None for digital silence. `samples`: int16."""
    import librosa

    spectrum = np.abs(librosa.stft(samples.astype(np.float32) / 32_768, n_fft=FFT, hop_length=FFT // 2))
    loud = np.percentile(spectrum, LOUD_PERCENTILE, axis=1)
    if loud.max() == 0:
        return None
    level_db = librosa.amplitude_to_db(loud, ref=np.max, top_db=None)
    last = int(np.flatnonzero(level_db > -BELOW_PEAK_DB)[-1])
    return last * SAMPLE_RATE_HZ / FFT


def background_flatness(pauses: np.ndarray) -> float:
    """Spectral flatness of pauses: near 1 for noise, near 0 for music or hum. `pauses`: int16, shape (frames, n)."""
    import librosa

    power = np.abs(np.fft.rfft(pauses[:BACKGROUND_FRAMES] / 32_768.0 * np.hanning(pauses.shape[1]), axis=1)) ** 2
    return float(librosa.feature.spectral_flatness(S=power.mean(axis=0)[:, None], power=1.0)[0, 0])
