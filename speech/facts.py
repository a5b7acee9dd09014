"""Measures a decoded waveform: loudness, silence, acoustic fingerprint. It reads blocks, so memory does not grow.

Everything is measured on the 16 kHz mono mix that the engines get. Loudness of a stereo file as broadcast
is up to 3 dB higher, since BS.1770 adds the channels' powers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Lock

import numpy as np

from speech.types import SAMPLE_RATE_HZ

SILENCE_DBFS = -50.0
FINGERPRINTED_S = 300
"""From the start: past the usual advertisements, so that two fetches of one episode still have much in common."""
FRAME_MS = 20
_FRAME = SAMPLE_RATE_HZ * FRAME_MS // 1000
_HOP = SAMPLE_RATE_HZ // 10
_BLOCK_HOPS = 4
_BLOCK = 600 * _HOP
"""A minute: whole frames and whole hops."""
_IMPORTING = Lock()
"""While a thread imports a module in vain, another one would get the unfinished module."""


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """The measurements of a waveform."""

    loudness_lufs: float | None
    """Integrated loudness, ITU-R BS.1770-4."""
    loudness_absent_reason: str | None
    silence_ratio: float
    """Share of 20-ms frames whose RMS is under -50 dBFS."""
    chromaprint: str | None
    """Compressed base64 fingerprint of the first five minutes."""
    chromaprint_absent_reason: str | None


def facts_of(samples: np.ndarray) -> AudioFacts:
    """All facts of a waveform: int16 at 16 kHz, shape (n,), n > 0."""
    loudness_lufs, loudness_absent_reason = integrated_loudness(samples)
    chromaprint, chromaprint_absent_reason = fingerprint(samples)
    return AudioFacts(
        loudness_lufs=loudness_lufs,
        loudness_absent_reason=loudness_absent_reason,
        silence_ratio=silence_ratio(samples),
        chromaprint=chromaprint,
        chromaprint_absent_reason=chromaprint_absent_reason,
    )


def silence_ratio(samples: np.ndarray) -> float:
    """Share of 20-ms frames under -50 dBFS RMS; an incomplete frame at the end counts as one."""
    threshold = 32_768.0**2 * 10 ** (SILENCE_DBFS / 10)
    n_frames = n_silent = 0
    for block in _blocks(samples):
        starts = np.arange(0, len(block), _FRAME)
        sizes = np.minimum(_FRAME, len(block) - starts)
        powers = np.add.reduceat(np.square(block), starts) / sizes
        n_frames += len(starts)
        n_silent += int(np.count_nonzero(powers < threshold))
    return n_silent / n_frames if n_frames else 0.0


def integrated_loudness(samples: np.ndarray) -> tuple[float | None, str | None]:
    """(LUFS, None) or (None, why there is none).

    ITU-R BS.1770-4: K-weighting, blocks of 400 ms every 100 ms, gates at -70 LUFS and at 10 LU under the mean of
    what is left. A block is four hops of 100 ms, so that only one number per 100 ms is kept.
    """
    if len(samples) < _BLOCK_HOPS * _HOP:
        return None, "shorter than the 400 ms that BS.1770 measures over"
    hops = np.concatenate(list(_hop_powers(samples)))
    powers = np.convolve(hops, np.full(_BLOCK_HOPS, 1 / _BLOCK_HOPS), "valid")
    loud = powers[powers > _power(-70.0)]
    if len(loud) == 0:
        return None, "silent: nothing is louder than the gate at -70 LUFS"
    gated = loud[loud > loud.mean() * 10**-1]
    return round(_lufs(float(gated.mean())), 2), None


def fingerprint(samples: np.ndarray) -> tuple[str | None, str | None]:
    """(Chromaprint in compressed base64, as AcoustID reads it, None) or (None, why there is none)."""
    with _IMPORTING:
        try:
            import chromaprint  # pyacoustid's binding, which needs the system's library
        except ImportError:
            return None, "libchromaprint is not installed (Debian: libchromaprint1)"
    fingerprinter = chromaprint.Fingerprinter()
    fingerprinter.start(SAMPLE_RATE_HZ, 1)
    fingerprinter.feed(samples[: FINGERPRINTED_S * SAMPLE_RATE_HZ].tobytes())
    text = fingerprinter.finish()
    items, _ = chromaprint.decode_fingerprint(text)
    return (text.decode("ascii"), None) if items else (None, "shorter than the 2.6 s that a fingerprint needs")


def _lufs(power: float) -> float:
    return -0.691 + 10 * math.log10(power)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs + 0.691) / 10))


def _hop_powers(samples: np.ndarray) -> Iterator[np.ndarray]:
    """Mean square of the K-weighted signal in each whole hop of 100 ms."""
    from scipy.signal import sosfilt

    sos = k_weighting(SAMPLE_RATE_HZ)
    state = np.zeros((len(sos), 2))
    for block in _blocks(samples):
        weighted, state = sosfilt(sos, block / 32_768.0, zi=state)
        whole = len(weighted) // _HOP * _HOP
        yield np.square(weighted[:whole]).reshape(-1, _HOP).mean(axis=1)


def k_weighting(rate_hz: int) -> np.ndarray:
    """BS.1770's two filters as second-order sections, shape (2, 6), for any rate.

    The standard gives coefficients for 48 kHz alone; these analogue prototypes, which give the same ones there,
    are those of Brecht De Man, "Evaluation of Implementations of the EBU R128 Loudness Measurement" (AES, 2018).
    """
    shelf_hz, shelf_q, shelf_db = 1681.974450955533, 0.7071752369554196, 3.999843853973347
    k = math.tan(math.pi * shelf_hz / rate_hz)
    vh = 10 ** (shelf_db / 20)
    vb = vh**0.4996667741545416
    a0 = 1 + k / shelf_q + k * k
    numerator = [vh + vb * k / shelf_q + k * k, 2 * (k * k - vh), vh - vb * k / shelf_q + k * k]
    shelf = [x / a0 for x in (*numerator, a0, 2 * (k * k - 1), 1 - k / shelf_q + k * k)]

    pass_hz, pass_q = 38.13547087602444, 0.5003270373238773
    k = math.tan(math.pi * pass_hz / rate_hz)
    a0 = 1 + k / pass_q + k * k
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / pass_q + k * k) / a0]
    return np.array([shelf, high_pass])


def _blocks(samples: np.ndarray) -> Iterator[np.ndarray]:
    """A minute at a time, as float64."""
    for start in range(0, len(samples), _BLOCK):
        yield samples[start : start + _BLOCK].astype(np.float64)
