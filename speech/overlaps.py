"""Lengths of overlapping segments: speech of any speaker, and speech of several at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from speech.types import Segment, Span


def union_ms(spans: Iterable[Segment | Span]) -> int:
    """Time that at least one of the spans covers."""
    return _covered(spans, at_least=1)


def overlap_ms(segments: Iterable[Segment]) -> int:
    """Time in which at least two speakers speak. A speaker does not overlap itself."""
    return _covered((span for own in _by_speaker(segments) for span in own), at_least=2)


def overlap_of_each(segments: Sequence[Segment]) -> list[int]:
    """For each segment, how much of it some other speaker's segments cover."""
    by_speaker: dict[str, list[Segment]] = {}
    for segment in segments:
        by_speaker.setdefault(segment.speaker, []).append(segment)
    covered = {
        speaker: Cover(other for name, own in by_speaker.items() if name != speaker for other in own)
        for speaker in by_speaker
    }
    return [covered[segment.speaker].within(segment.start_ms, segment.end_ms) for segment in segments]


def alone(speaker: str, segments: Iterable[Segment]) -> list[Span]:
    """Where the speaker speaks and no other does."""
    edges = sorted(
        edge
        for segment in segments
        for edge in ((segment.start_ms, 1, segment.speaker), (segment.end_ms, -1, segment.speaker))
    )
    own, others, since_ms = 0, 0, 0
    spans: list[Span] = []
    for at_ms, change, name in edges:
        if own and not others and at_ms > since_ms:
            spans.append(Span(since_ms, at_ms))
        own += change * (name == speaker)
        others += change * (name != speaker)
        since_ms = at_ms
    return _merged(spans)


class Cover:
    """The union of spans, which tells how much of a stretch it covers."""

    def __init__(self, spans: Iterable[Segment | Span]) -> None:
        merged = _merged(spans)
        self._edges = np.array([edge for span in merged for edge in (span.start_ms, span.end_ms)], dtype=np.int64)
        lengths = np.array([span.duration_ms for span in merged], dtype=np.int64)
        self._before = np.concatenate([[0], np.cumsum(lengths)])

    def within(self, start_ms: int, end_ms: int) -> int:
        return max(0, self._until(end_ms) - self._until(start_ms))

    def _until(self, at_ms: int) -> int:
        edge = int(np.searchsorted(self._edges, at_ms, side="right"))
        inside = at_ms - int(self._edges[edge - 1]) if edge % 2 else 0
        return int(self._before[edge // 2]) + inside


def _merged(spans: Iterable[Segment | Span]) -> list[Span]:
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start_ms):
        if merged and span.start_ms <= merged[-1].end_ms:
            merged[-1] = Span(merged[-1].start_ms, max(merged[-1].end_ms, span.end_ms))
        else:
            merged.append(Span(span.start_ms, span.end_ms))
    return merged


def _by_speaker(segments: Iterable[Segment]) -> list[list[Span]]:
    by_speaker: dict[str, list[Segment]] = {}
    for segment in segments:
        by_speaker.setdefault(segment.speaker, []).append(segment)
    return [_merged(own) for own in by_speaker.values()]


def _covered(spans: Iterable[Segment | Span], *, at_least: int) -> int:
    edges = sorted(edge for span in spans for edge in ((span.start_ms, 1), (span.end_ms, -1)))
    total, active, since = 0, 0, 0
    for at_ms, change in edges:
        if active >= at_least:
            total += at_ms - since
        active, since = active + change, at_ms
    return total
