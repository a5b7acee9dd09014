"""Edges of words from an attention alignment, corrected with the edges of voiced spans.

Cross-attention is accurate to some 100 ms inside speech, and assigns a pause to the word before or after it.
Voice activity is accurate to 32 ms at pauses.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

from speech.types import Span, Word
from speech.vad import VadSettings

FOR_WORD_EDGES = VadSettings(on=0.5, off=0.4, min_silence_ms=64, min_speech_ms=50, pad_ms=0)
"""Every pause of two frames or more ends a span."""
SHORTEST_WORD_MS = 20
LONGEST_WORD_MS = 1_500
"""The end of a longer word is not believed: the alignment has stretched it over words that are missing."""


def snapped(words: Sequence[Word], voiced: Sequence[Span], within: Span) -> list[Word]:
    """The words, each limited to the voiced span that it overlaps most, ordered, inside `within`.

    They do not overlap, unless there is no room for the last ones.
    """
    ends = [span.end_ms for span in voiced]
    edged: list[Word] = []
    floor_ms = within.start_ms
    for word in words:
        span = _most_overlapped(word, voiced, bisect_left(ends, word.start_ms + 1))
        start_ms = max(word.start_ms, span.start_ms, floor_ms)
        start_ms = min(start_ms, within.end_ms - SHORTEST_WORD_MS)
        floor_ms = min(max(min(word.end_ms, span.end_ms), start_ms + SHORTEST_WORD_MS), within.end_ms)
        edged.append(replace(word, start_ms=start_ms, end_ms=floor_ms))
    return edged


def untranscribed(words: Sequence[Word], voiced: Sequence[Span], within: Span, at_least_ms: int) -> list[Span]:
    """Stretches between words, or before the first or after the last, that hold so much voice and no word."""
    edges = [within.start_ms]
    for word in words:
        edges += [word.start_ms, min(word.end_ms, word.start_ms + LONGEST_WORD_MS)]
    gaps = [Span(start, end) for start, end in zip(edges[::2], [*edges[1::2], within.end_ms], strict=True)]
    return [gap for gap in gaps if gap.duration_ms >= at_least_ms and _voiced_ms(gap, voiced) >= at_least_ms]


def _most_overlapped(word: Word, voiced: Sequence[Span], first: int) -> Span:
    """The word itself where nothing is voiced."""
    best, most_ms = Span(word.start_ms, word.end_ms), 0
    for span in voiced[first:]:
        if span.start_ms >= word.end_ms:
            break
        overlap_ms = _overlap_ms(Span(word.start_ms, word.end_ms), span)
        if overlap_ms > most_ms:
            best, most_ms = span, overlap_ms
    return best


def _voiced_ms(gap: Span, voiced: Sequence[Span]) -> int:
    return sum(max(0, _overlap_ms(gap, span)) for span in voiced)


def _overlap_ms(one: Span, other: Span) -> int:
    return min(one.end_ms, other.end_ms) - max(one.start_ms, other.start_ms)
