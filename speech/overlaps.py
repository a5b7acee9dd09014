"""Divides segments into stretches with a constant set of speakers, and measures speech and overlap with them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from operator import itemgetter

from speech.types import Segment, Span

_BEGINS, _ENDS = 0, 1
"""In this order at the same time: a speaker who ends a segment and begins another does not stop talking."""


@dataclass(frozen=True, slots=True)
class Stretch(Span):
    """A span during which the same speakers talk."""

    speakers: tuple[str, ...]
    """At least one; in the order in which they began to talk, then by name."""


def stretches(segments: Iterable[Segment]) -> Iterator[Stretch]:
    """The segments, in any order, as disjoint stretches in time order; silence is left out."""
    changes = sorted(
        (at_ms, order, segment.speaker)
        for segment in segments
        if segment.end_ms > segment.start_ms
        for at_ms, order in ((segment.start_ms, _BEGINS), (segment.end_ms, _ENDS))
    )
    n_open: dict[str, int] = {}  # who talks now; a speaker's own segments may overlap or touch, and act as one
    since_ms = 0
    for at_ms, here in groupby(changes, key=itemgetter(0)):
        if n_open:
            yield Stretch(since_ms, at_ms, tuple(n_open))
        since_ms = at_ms
        for _, order, speaker in here:
            n_open[speaker] = n_open.get(speaker, 0) + (1 if order == _BEGINS else -1)
            if not n_open[speaker]:
                del n_open[speaker]


def union_ms(segments: Iterable[Segment]) -> int:
    """Time in which at least one speaker speaks."""
    return sum(stretch.duration_ms for stretch in stretches(segments))


def overlap_ms(segments: Iterable[Segment]) -> int:
    """Time in which at least two speakers speak. A speaker does not overlap itself."""
    return sum(_overlap_ms(stretch) for stretch in stretches(segments))


def overlap_of_each(segments: Sequence[Segment]) -> list[int]:
    """For each segment, how much of it some other speaker's segments cover."""
    parts = list(stretches(segments))
    starts_ms, ends_ms = [part.start_ms for part in parts], [part.end_ms for part in parts]
    until_ms = [0, *accumulate(map(_overlap_ms, parts))]
    return [
        until_ms[bisect_left(starts_ms, segment.end_ms)] - until_ms[bisect_right(ends_ms, segment.start_ms)]
        if segment.end_ms > segment.start_ms
        else 0
        for segment in segments
    ]


def alone(speaker: str, segments: Iterable[Segment]) -> list[Span]:
    """Where the speaker speaks and no other does."""
    spans: list[Span] = []
    for stretch in stretches(segments):
        if stretch.speakers != (speaker,):
            continue
        touches = bool(spans) and spans[-1].end_ms == stretch.start_ms
        start_ms = spans.pop().start_ms if touches else stretch.start_ms
        spans.append(Span(start_ms, stretch.end_ms))
    return spans


def _overlap_ms(stretch: Stretch) -> int:
    return stretch.duration_ms if len(stretch.speakers) > 1 else 0
