"""Chunks that a transcriber can take: as long as it allows, cut at pauses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from speech.types import SAMPLE_RATE_HZ, Span

LONGEST_PAUSE_MS = 3_000
"""A longer pause always ends a chunk: decoding it costs time, and transcribers invent words in it."""


def silence_bounded(speech: Sequence[Span], max_ms: int, samples: np.ndarray) -> list[Span]:
    """Chunks of at most `max_ms` that together hold all speech once, ordered, without overlap.

    A chunk begins and ends with speech and holds the pauses between. A full one is ended at the
    longest pause in its second half: chunks are not tiny, and seldom end inside a sentence. A span
    longer than `max_ms` is cut at its quietest points in `samples` (int16, 16 kHz, shape (n,));
    its pieces meet, so that no millisecond of it is lost or decoded twice.
    """
    pieces = [piece for span in speech for piece in _cut(span, max_ms, samples)]
    chunks: list[Span] = []
    first = 0
    while first < len(pieces):
        end = _chunk_end(pieces, first, max_ms)
        chunks.append(Span(pieces[first].start_ms, pieces[end - 1].end_ms))
        first = end
    return chunks


def _chunk_end(pieces: Sequence[Span], first: int, max_ms: int) -> int:
    """The index after the last piece of the chunk that begins with piece `first`."""

    def pause_before(index: int) -> int:
        return pieces[index].start_ms - pieces[index - 1].end_ms

    start_ms = pieces[first].start_ms
    end = first + 1
    while end < len(pieces) and pause_before(end) <= LONGEST_PAUSE_MS:
        if pieces[end].end_ms > start_ms + max_ms:
            half_full = [i for i in range(first + 1, end + 1) if pieces[i - 1].end_ms >= start_ms + max_ms // 2]
            return max(half_full, key=lambda i: (pause_before(i), i), default=end)
        end += 1
    return end


def _cut(span: Span, max_ms: int, samples: np.ndarray) -> Iterator[Span]:
    """Pieces of a quarter to the whole of `max_ms`."""
    while span.duration_ms > max_ms:
        earliest_ms = span.start_ms + max_ms // 2
        latest_ms = min(span.start_ms + max_ms, span.end_ms - max_ms // 4)
        cut_ms = _quietest_ms(samples, earliest_ms, latest_ms)
        yield Span(span.start_ms, cut_ms)
        span = Span(cut_ms, span.end_ms)
    yield span


def _quietest_ms(samples: np.ndarray, start_ms: int, end_ms: int) -> int:
    """The middle of the quietest 100 ms, found in steps of 10 ms: a pause, not a zero crossing."""
    step_ms, steps = 10, 10
    step = step_ms * SAMPLE_RATE_HZ // 1000
    part = samples[start_ms * SAMPLE_RATE_HZ // 1000 : end_ms * SAMPLE_RATE_HZ // 1000].astype(np.float64)
    energy = np.square(part[: len(part) // step * step]).reshape(-1, step).sum(axis=1)
    if len(energy) < steps:
        return (start_ms + end_ms) // 2
    loudness = np.convolve(energy, np.ones(steps), mode="valid")
    return start_ms + (int(loudness.argmin()) + steps // 2) * step_ms
