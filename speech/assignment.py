"""Assigns a speaker to each word, and records the rule that chose the speaker.

The segments are divided once into stretches with a constant set of speakers; bisection finds the stretches of a word.
n segments and m words cost O((n + m) log n).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from speech.overlaps import Stretch
from speech.overlaps import stretches as divided
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
    stretches = list(divided(segments))
    ends_ms = [stretch.end_ms for stretch in stretches]
    return [_assign(word_idx, word, stretches, ends_ms) for word_idx, word in enumerate(words)]


def _assign(word_idx: int, word: Word, stretches: Sequence[Stretch], ends_ms: Sequence[int]) -> AssignedWord:
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


def _nearest(word_idx: int, start_ms: int, end_ms: int, neighbours: Sequence[Stretch]) -> AssignedWord:
    """Of the stretches before and after a word in silence, the nearer one's first speaker.

    A speaker who talks at the edge of a silence ends or begins there, so the stretch at the edge names all of them.
    """
    gaps_ms = [max(start_ms - stretch.end_ms, stretch.start_ms - end_ms) for stretch in neighbours]
    nearest_ms = min(gaps_ms, default=NEAREST_GAP_MS + 1)
    if nearest_ms > NEAREST_GAP_MS:
        return AssignedWord(word_idx, None, "none", in_overlap=False)
    return AssignedWord(word_idx, neighbours[gaps_ms.index(nearest_ms)].speakers[0], "nearest", in_overlap=False)
