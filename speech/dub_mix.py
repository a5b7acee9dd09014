"""Mixes the spoken lines over the background of a lesson, which is made soft under them.

Memory holds a second of the lesson and the lines that are heard in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speech.engines.line_synthesizer import read_wav
from speech.errors import BadOutput
from speech.mastering import limited, loudness_lufs
from speech.sound_files import RATE_HZ, even_blocks, read_blocks
from speech.time_stretch import stretched
from speech.types import Span

BLOCK = RATE_HZ
ATTACK_MS, RELEASE_MS = 50, 300
DUCK_DB = -20.0
"""Of the whole sound, in which somebody speaks another language."""
BACKGROUND_DUCK_DB = -6.0
"""Of a background without voices."""
PEAK_DBTP = -1.5
SOFTEST_LUFS, LOUDEST_LUFS, USUAL_LUFS = -28.0, -14.0, -19.0
MEASURED_S = 600
"""So much of a lesson tells how loud it is."""


@dataclass(frozen=True, slots=True)
class DubVoice:
    """A spoken line, and when it is heard."""

    path: Path
    start_ms: int
    end_ms: int
    speed: float


def source_loudness(source: Path) -> float:
    """How loud the first minutes of a lesson are, in LUFS, within what a dub may be; -19 where they are silent."""
    heard: list[np.ndarray] = []
    n_samples = 0
    for block in read_blocks(source, channels=1):
        heard.append(block[0])
        n_samples += block.shape[1]
        if n_samples > MEASURED_S * RATE_HZ:
            break
    found = loudness_lufs(np.concatenate(heard), RATE_HZ) if heard else None
    return USUAL_LUFS if found is None else min(max(found, SOFTEST_LUFS), LOUDEST_LUFS)


def mixed(
    background: Iterable[np.ndarray], voices: Sequence[DubVoice], ducked: Sequence[Span], *, duck_db: float, lufs: float
) -> Iterator[np.ndarray]:
    """Blocks of shape (2, n): the background, soft during `ducked`, and the lines at this loudness.

    The voices are ordered by their starts. A line that ends after the background makes the mix as much longer.
    """
    spans = merged(ducked)
    waiting, sounding = list(reversed(voices)), list[tuple[int, np.ndarray]]()
    at = 0
    for block in even_blocks(background, BLOCK):
        at += block.shape[1]
        yield _mixed_block(at - block.shape[1], block, waiting, sounding, spans, duck_db, lufs)
    end = max((_samples(voice.end_ms) for voice in voices), default=0)
    while at < end:
        rest = np.zeros((2, min(BLOCK, end - at)), np.float32)
        yield _mixed_block(at, rest, waiting, sounding, spans, duck_db, lufs)
        at += rest.shape[1]


def duck_gain(start: int, n_samples: int, spans: Sequence[Span], duck_db: float) -> np.ndarray:
    """The gain of each sample: down 50 ms before a span, up within 300 ms after it. The spans are merged."""
    times_ms, levels_db = list[float](), list[float]()
    begin_ms, end_ms = 1000 * start / RATE_HZ, 1000 * (start + n_samples) / RATE_HZ
    for span in spans:
        if span.end_ms + RELEASE_MS < begin_ms or span.start_ms - ATTACK_MS > end_ms:
            continue
        times_ms += [span.start_ms - ATTACK_MS, span.start_ms, span.end_ms, span.end_ms + RELEASE_MS]
        levels_db += [0.0, duck_db, duck_db, 0.0]
    if not times_ms:
        return np.ones(n_samples, np.float32)
    at_ms = begin_ms + np.arange(n_samples) * (1000 / RATE_HZ)
    gain: np.ndarray = (10 ** (np.interp(at_ms, times_ms, levels_db) / 20)).astype(np.float32)
    return gain


def merged(spans: Iterable[Span]) -> list[Span]:
    """In order; two that are closer than attack and release together are one."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: one.start_ms):
        if found and span.start_ms - found[-1].end_ms <= ATTACK_MS + RELEASE_MS:
            found[-1] = Span(found[-1].start_ms, max(found[-1].end_ms, span.end_ms))
        else:
            found.append(span)
    return found


def prepared(voice: DubVoice, lufs: float) -> np.ndarray:
    """The line as mono float32 at 48 kHz: as fast, as long and as loud as it is to be. Raises `BadOutput` if silent."""
    from scipy.signal import resample_poly

    sound = read_wav(voice.path)
    divisor = math.gcd(RATE_HZ, sound.sample_rate_hz)
    samples = resample_poly(
        sound.samples.astype(np.float64) / 32_768, RATE_HZ // divisor, sound.sample_rate_hz // divisor
    ).astype(np.float32)
    samples = stretched(samples, RATE_HZ, voice.speed)
    wanted = _samples(voice.end_ms) - _samples(voice.start_ms)
    samples = np.pad(samples[:wanted], (0, max(0, wanted - len(samples))))
    loudness = loudness_lufs(np.pad(samples, (0, max(0, RATE_HZ // 2 - len(samples)))), RATE_HZ)
    if loudness is None:
        raise BadOutput(f"The line {voice.path.name} is silent.")
    return limited(samples * np.float32(10 ** ((lufs - loudness) / 20)), PEAK_DBTP)


def _mixed_block(
    start: int, block: np.ndarray, waiting: list[DubVoice], sounding: list[tuple[int, np.ndarray]],
    spans: Sequence[Span], duck_db: float, lufs: float,
) -> np.ndarray:  # fmt: skip
    n_samples = block.shape[1]
    while waiting and _samples(waiting[-1].start_ms) < start + n_samples:
        voice = waiting.pop()
        sounding.append((_samples(voice.start_ms), prepared(voice, lufs)))
    own = np.zeros(n_samples, np.float32)
    for at, samples in sounding:
        part = samples[max(0, start - at) : max(0, start + n_samples - at)]
        offset = max(0, at - start)
        own[offset : offset + len(part)] += part
    sounding[:] = [(at, samples) for at, samples in sounding if at + len(samples) > start + n_samples]
    mix: np.ndarray = block * duck_gain(start, n_samples, spans, duck_db) + own
    return mix


def _samples(ms: int) -> int:
    return ms * RATE_HZ // 1000
