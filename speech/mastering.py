"""Assembles the lines of a podcast, and brings them to the loudness and the peak that podcast platforms ask for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from speech.engines.line_synthesizer import Sound
from speech.errors import BadOutput
from speech.facts import k_weighting
from speech.types import Span

SAMPLE_RATE_HZ = 48_000
"""The rate of Opus, also used for MP3."""
MONO_LUFS = -19.0
"""As loud to a listener as -16 LUFS in stereo."""
MOST_DBTP = -1.0
CEILING_DBTP = -1.6
"""What the limiter leaves: lossy codecs exceed the peaks of what they are given."""
LEAD_MS = 250
PAUSE_MS = 400
"""Between turns of two speakers."""
OWN_PAUSE_MS = 250
"""Between turns of one speaker."""
_TRIES = 8
_OVERSAMPLING = 4
_ATTACK = SAMPLE_RATE_HZ // 200
_BLOCK = SAMPLE_RATE_HZ * 60


@dataclass(frozen=True)
class Assembled:
    """A podcast before it is encoded: mono float32 at 48 kHz, and where each turn is."""

    samples: np.ndarray
    turns: tuple[Span, ...]


def assemble(lines: Sequence[tuple[str, Sound]]) -> Assembled:
    """The lines, each with its speaker, with pauses between them, each as loud as the others.

    Raises `BadOutput` for a line without speech.
    """
    parts, turns, before = list[np.ndarray](), list[Span](), Spoken()
    for speaker, sound in lines:
        samples, span = before.append(speaker, sound)
        parts.append(samples)
        turns.append(span)
    return Assembled(np.concatenate([*parts, closing_silence()]), tuple(turns))


@dataclass
class Spoken:
    """A podcast as far as it is assembled: its turns are appended one by one, as their lines are made."""

    n_samples: int = 0
    n_turns: int = 0
    _speaker: str | None = None

    def append(self, speaker: str, sound: Sound) -> tuple[np.ndarray, Span]:
        """The samples that follow, with the silence before the turn, and where the turn is. Raises `BadOutput`."""
        levelled = _levelled(sound, self.n_turns)
        pause_ms = OWN_PAUSE_MS if self._speaker == speaker else PAUSE_MS
        silence = _silence(pause_ms if self.n_turns else LEAD_MS)
        start = self.n_samples + len(silence)
        self.n_samples, self.n_turns, self._speaker = start + len(levelled), self.n_turns + 1, speaker
        return np.concatenate([silence, levelled]), Span(_ms(start), _ms(self.n_samples))


def closing_silence() -> np.ndarray:
    """What follows the last turn."""
    return _silence(LEAD_MS)


def mastered(samples: np.ndarray, *, target_lufs: float = MONO_LUFS, ceiling_dbtp: float = CEILING_DBTP) -> np.ndarray:
    """The samples at this loudness, with no peak above the ceiling. Limiting makes them softer, so it is done again."""
    gained = samples
    for _ in range(_TRIES):
        loudness = loudness_lufs(gained, SAMPLE_RATE_HZ)
        if loudness is None:
            raise BadOutput("The podcast is silent.")
        if abs(loudness - target_lufs) < 0.1 and gained is not samples:
            break
        gained = limited(gained * np.float32(10 ** ((target_lufs - loudness) / 20)), ceiling_dbtp)
    return gained


def limited(samples: np.ndarray, ceiling_dbtp: float) -> np.ndarray:
    """With a gain that is lowered smoothly around each peak above the ceiling, 5 ms ahead of it."""
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    ceiling = 10 ** (ceiling_dbtp / 20)
    wanted = np.minimum(1.0, ceiling / np.maximum(_peaks(samples), 1e-9)).astype(np.float32)
    if wanted.min() >= 1.0:
        return samples
    lowest = minimum_filter1d(wanted, 2 * _ATTACK + 1)
    gain = uniform_filter1d(lowest, _ATTACK + 1)
    result: np.ndarray = (samples * gain).astype(np.float32)
    return result


def loudness_lufs(samples: np.ndarray, rate_hz: int) -> float | None:
    """Integrated loudness of mono samples, ITU-R BS.1770-4; None if they are silent or shorter than 400 ms."""
    from scipy.signal import sosfilt

    hop = rate_hz // 10
    sos = k_weighting(rate_hz)
    state, hops = np.zeros((len(sos), 2)), list[np.ndarray]()
    step = hop * 600
    for start in range(0, len(samples), step):
        weighted, state = sosfilt(sos, samples[start : start + step].astype(np.float64), zi=state)
        whole = len(weighted) // hop * hop
        hops.append(np.square(weighted[:whole]).reshape(-1, hop).mean(axis=1))
    powers = np.concatenate(hops) if hops else np.zeros(0)
    if len(powers) < 4:
        return None
    blocks = np.convolve(powers, np.full(4, 0.25), "valid")
    loud = blocks[blocks > 10 ** ((-70 + 0.691) / 10)]
    if len(loud) == 0:
        return None
    gated = loud[loud > loud.mean() / 10]
    return -0.691 + 10 * math.log10(float(gated.mean()))


def true_peak_dbtp(samples: np.ndarray) -> float:
    """The highest level between samples, four times oversampled; -inf for digital silence."""
    peak = max((float(block.max()) for block in _peak_blocks(samples)), default=0.0)
    return 20 * math.log10(peak) if peak else -math.inf


def _peaks(samples: np.ndarray) -> np.ndarray:
    """The highest level near each sample."""
    return np.concatenate(list(_peak_blocks(samples))) if len(samples) else np.zeros(0)


def _peak_blocks(samples: np.ndarray) -> Iterator[np.ndarray]:
    from scipy.signal import resample_poly

    margin = 64
    for start in range(0, len(samples), _BLOCK):
        before = min(start, margin)
        part = samples[start - before : start + _BLOCK + margin].astype(np.float64)
        fine = np.abs(resample_poly(part, _OVERSAMPLING, 1)).reshape(-1, _OVERSAMPLING).max(axis=1)
        yield fine[before : before + min(_BLOCK, len(samples) - start)]


def _levelled(sound: Sound, index: int) -> np.ndarray:
    """At 48 kHz, and as loud as the podcast is to be, so that no voice is louder than another."""
    from scipy.signal import resample_poly

    samples = sound.samples.astype(np.float64) / 32_768
    divisor = math.gcd(SAMPLE_RATE_HZ, sound.sample_rate_hz)
    samples = resample_poly(samples, SAMPLE_RATE_HZ // divisor, sound.sample_rate_hz // divisor)
    loudness = loudness_lufs(np.pad(samples, (0, max(0, SAMPLE_RATE_HZ // 2 - len(samples)))), SAMPLE_RATE_HZ)
    if loudness is None:
        raise BadOutput(f"Turn {index} is silent.")
    return (samples * 10 ** ((MONO_LUFS - loudness) / 20)).astype(np.float32)


def _silence(ms: int) -> np.ndarray:
    return np.zeros(ms * SAMPLE_RATE_HZ // 1000, np.float32)


def _ms(samples: int) -> int:
    return round(samples * 1000 / SAMPLE_RATE_HZ)
