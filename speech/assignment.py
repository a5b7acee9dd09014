"""Assigns a speaker to each word, and records the rule that chose the speaker.

The segments are divided once into stretches with a constant set of speakers; bisection finds the stretches of a word.
n segments and m words cost O((n + m) log n).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Literal

from speech.types import Segment, Word

Rule = Literal["inside", "most_overlap", "nearest", "none"]

NEAREST_GAP_MS = 1_000
"""A word outside all segments goes to the nearest segment within this distance. Voice activity detectors cut soft
starts and ends of speech by some hundred ms, rarely by more than a second."""


@dataclass(frozen=True, slots=True)
class AssignedWord:
    """A word's speaker, or None with the rule `none`."""

    word_idx: int
    """Index of the word in the input."""
    speaker: str | None
    rule: Rule
    in_overlap: bool
    """Whether two or more speakers talk at once during some part of the word."""


def assign_speakers(words: Sequence[Word], segments: Sequence[Segment]) -> list[AssignedWord]:
    """One `AssignedWord` per word, in the words' order; segments in any order.

    | rule | the word … | its speaker |
    |---|---|---|
    | `inside` | lies inside the segments of one speaker, and no other talks during it | that speaker |
    | `most_overlap` | overlaps several speakers, or is partly outside the segments of its only one | the one who talks longest during it; of equals the one who began first, then by name |
    | `nearest` | overlaps no segment; the nearest is at most `NEAREST_GAP_MS` away | the segment's speaker; of equals the one before the word; of those the one who began first |
    | `none` | is farther from all segments | None |

    A word without length counts as one of 1 ms. Segments without length are ignored.
    """
    stretches = list(_stretches(segments))
    ends_ms = [stretch.end_ms for stretch in stretches]
    return [_assign(word_idx, word, stretches, ends_ms) for word_idx, word in enumerate(words)]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """A span during which the same speakers talk."""

    start_ms: int
    end_ms: int
    speakers: tuple[str, ...]
    """At least one; in the order in which they began to talk, then by name."""


def _stretches(segments: Sequence[Segment]) -> Iterator[_Stretch]:
    """The segments as disjoint stretches in time order; silence is left out."""
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
            yield _Stretch(since_ms, at_ms, tuple(n_open))
        since_ms = at_ms
        for _, order, speaker in here:
            n_open[speaker] = n_open.get(speaker, 0) + (1 if order == _BEGINS else -1)
            if not n_open[speaker]:
                del n_open[speaker]


_BEGINS, _ENDS = 0, 1
"""In this order within an instant: who ends a segment and begins another at once goes on talking."""


def _assign(word_idx: int, word: Word, stretches: Sequence[_Stretch], ends_ms: Sequence[int]) -> AssignedWord:
    start_ms, end_ms = word.start_ms, max(word.end_ms, word.start_ms + 1)
    first = bisect_right(ends_ms, start_ms)
    talk_ms: dict[str, int] = {}  # keys in the order in which they began: `max` takes the first of equals
    in_overlap = False
    for i in range(first, len(stretches)):
        stretch = stretches[i]
        if stretch.start_ms >= end_ms:
            break
        common_ms = min(end_ms, stretch.end_ms) - max(start_ms, stretch.start_ms)
        in_overlap |= len(stretch.speakers) > 1
        for speaker in stretch.speakers:
            talk_ms[speaker] = talk_ms.get(speaker, 0) + common_ms
    if not talk_ms:
        return _nearest(word_idx, start_ms, end_ms, stretches[max(first - 1, 0) : first + 1])
    speaker = max(talk_ms, key=talk_ms.__getitem__)
    alone = len(talk_ms) == 1 and talk_ms[speaker] == end_ms - start_ms
    return AssignedWord(word_idx, speaker, "inside" if alone else "most_overlap", in_overlap)


def _nearest(word_idx: int, start_ms: int, end_ms: int, neighbours: Sequence[_Stretch]) -> AssignedWord:
    """Of the stretches before and after a word in silence, the nearer one's first speaker.

    Whoever talks at the edge of a silence ends or begins there, so the edge stretch knows them all.
    """
    gaps_ms = [max(start_ms - stretch.end_ms, stretch.start_ms - end_ms) for stretch in neighbours]
    nearest_ms = min(gaps_ms, default=NEAREST_GAP_MS + 1)
    if nearest_ms > NEAREST_GAP_MS:
        return AssignedWord(word_idx, None, "none", in_overlap=False)
    return AssignedWord(word_idx, neighbours[gaps_ms.index(nearest_ms)].speakers[0], "nearest", in_overlap=False)
