"""Captions: words in lines that fit, and lines in pages that follow each other. Knows widths, not how words are drawn.

Lines of a right-to-left text run from the right. A word that is wider than a line is divided.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from speech.audiogram.card import ShownTurn, ShownWord
from speech.turns import join_words

PAUSE_MS = 1_500
"""A pause of this length begins another page."""
_ENDS = (".", "!", "?", "…", "。", "！", "？", "؟", "।")
_CLOSING = "\"'”’»)]"
Measure = Callable[[str], int]
"""A text → its width in pixels."""


@dataclass(frozen=True, slots=True)
class PlacedWord:
    """A word, or a piece of a long one, in a line. `left` is in pixels from the line's left end."""

    text: str
    left: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Line:
    words: tuple[PlacedWord, ...]
    is_rtl: bool


@dataclass(frozen=True, slots=True)
class Page:
    """The lines that are shown at once, from `start_ms` until the next page."""

    turn: ShownTurn
    lines: tuple[Line, ...]
    start_ms: int
    end_ms: int

    def spoken_at(self, at_ms: int) -> int:
        """How many words of the page have begun."""
        return sum(word.start_ms <= at_ms for line in self.lines for word in line.words)


def pages_of(turns: Sequence[ShownTurn], width_px: int, lines: int, measure: Measure) -> list[Page]:
    """The captions in the order in which they are spoken."""
    pages: list[Page] = []
    for turn in turns:
        for words in _sentences(turn.words):
            from_right = next((rtl for rtl in (is_rtl(word.text) for word in words) if rtl is not None), False)
            broken = list(_lines(_pieces(words, width_px, measure), width_px, measure))
            for first in range(0, len(broken), lines):
                placed = tuple(
                    _placed(line, width_px, measure, from_right=from_right) for line in broken[first : first + lines]
                )
                shown = [word for line in broken[first : first + lines] for word in line]
                pages.append(Page(turn, placed, shown[0].start_ms, max(word.end_ms for word in shown)))
    return sorted(pages, key=lambda page: page.start_ms)


def is_rtl(text: str) -> bool | None:
    """Whether the text's first letter is of a right-to-left script; None without letters."""
    for char in text:
        kind = unicodedata.bidirectional(char)
        if kind in ("L", "R", "AL"):
            return kind != "L"
    return None


def _sentences(words: Sequence[ShownWord]) -> Iterator[list[ShownWord]]:
    """The words of a turn, divided at the ends of sentences and at pauses."""
    part: list[ShownWord] = []
    for word in words:
        if part and (_ends(part[-1].text) or word.start_ms - part[-1].end_ms >= PAUSE_MS):
            yield part
            part = []
        part.append(word)
    if part:
        yield part


def _ends(text: str) -> bool:
    bare = text.strip().rstrip(_CLOSING)
    return bare.endswith(_ENDS) and len(bare) > 2  # no initial, no number with a point


def _pieces(words: Sequence[ShownWord], width_px: int, measure: Measure) -> Iterator[ShownWord]:
    """The words, with those divided that are wider than a line. A mark stays with its letter."""
    for word in words:
        text = word.text.strip()
        while text and measure(text) > width_px:
            fits = next((n for n in range(len(text) - 1, 1, -1) if measure(text[:n]) <= width_px), 1)
            while fits < len(text) and unicodedata.category(text[fits]) in ("Mn", "Mc", "Me"):
                fits += 1
            yield ShownWord(text[:fits], word.start_ms, word.end_ms)
            text = text[fits:]
        if text:
            yield ShownWord(text, word.start_ms, word.end_ms)


def _lines(words: Iterator[ShownWord], width_px: int, measure: Measure) -> Iterator[list[ShownWord]]:
    line: list[ShownWord] = []
    for word in words:
        if line and measure(join_words([*(one.text for one in line), word.text])) > width_px:
            yield line
            line = []
        line.append(word)
    if line:
        yield line


def _placed(words: Sequence[ShownWord], width_px: int, measure: Measure, *, from_right: bool) -> Line:
    """The words from left to right on the screen, with the direction of their sentence."""
    ordered = _visual(words, from_right=from_right)
    space = measure("n n") - measure("nn")
    left, placed, before = 0, list[PlacedWord](), ""
    for word in ordered:
        pair = (word.text, before) if from_right else (before, word.text)
        left += space if before and " " in join_words(pair) else 0
        placed.append(PlacedWord(word.text, left, word.start_ms, word.end_ms))
        left += measure(word.text)
        before = word.text
    shift = width_px - left if from_right else 0
    return Line(
        tuple(PlacedWord(word.text, word.left + shift, word.start_ms, word.end_ms) for word in placed), from_right
    )


def _visual(words: Sequence[ShownWord], *, from_right: bool) -> list[ShownWord]:
    """The order on the screen: stretches of the other direction keep their own (as in the Unicode algorithm, by words)."""
    directions: list[bool] = []
    for word in words:
        own = is_rtl(word.text)
        directions.append(own if own is not None else directions[-1] if directions else from_right)
    runs = [
        [word for _, word in run]
        for _, run in groupby(zip(directions, words, strict=True), key=lambda pair: pair[0] == from_right)
    ]
    same = [directions[0] == from_right]
    for _ in runs[1:]:
        same.append(not same[-1])
    if not from_right:
        return [word for run, is_same in zip(runs, same, strict=True) for word in (run if is_same else run[::-1])]
    return [
        word
        for run, is_same in zip(reversed(runs), reversed(same), strict=True)
        for word in (run[::-1] if is_same else run)
    ]
