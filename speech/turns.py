"""Builds turns: consecutive words of one speaker, without a long pause."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from speech.assignment import AssignedWord
from speech.types import Word

MAX_GAP_MS = 2_000
"""A longer pause ends a turn even if the same speaker continues. Pauses within speech are shorter (more than 1 s is
already long: Campione and Véronis, Speech Prosody 2002), so a monologue stays whole; jingles and adverts are longer."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Consecutive words of one speaker."""

    turn_idx: int
    speaker: str | None
    """None: words without a speaker."""
    start_ms: int
    end_ms: int
    text: str
    n_words: int
    mean_confidence: float | None
    """Mean over the words that have a confidence; None if no word has one."""
    has_overlap: bool
    """Whether another speaker talks during one of its words."""
    gap_before_ms: int | None
    """From the end of the turn before; negative where the two overlap, None for the first turn."""
    first_word_idx: int
    """Its words are `first_word_idx` … `first_word_idx + n_words - 1`."""


def build_turns(words: Sequence[Word], assigned: Sequence[AssignedWord], *, max_gap_ms: int = MAX_GAP_MS) -> list[Turn]:
    """Every word in exactly one turn, turns in time order.

    `words` are ordered by start, `assigned` is the result of `assign_speakers`. A turn ends where the
    speaker changes and where the next word begins more than `max_gap_ms` after the turn's end. Words
    without a speaker form turns of their own: the neighbour's speaker would be a guess.
    """
    turns: list[Turn] = []
    first = 0
    end_ms = 0
    for i, (word, own) in enumerate(zip(words, assigned, strict=True)):
        if i > first and (own.speaker != assigned[first].speaker or word.start_ms - end_ms > max_gap_ms):
            turns.append(_turn(turns, words, assigned, first, i))
            first, end_ms = i, word.end_ms
        end_ms = max(end_ms, word.end_ms)
    if words:
        turns.append(_turn(turns, words, assigned, first, len(words)))
    return turns


def turn_idx_of_words(turns: Iterable[Turn]) -> list[int]:
    """The turn of each word, in the words' order."""
    return [turn.turn_idx for turn in turns for _ in range(turn.n_words)]


def join_words(texts: Iterable[str]) -> str:
    """Words as running text: a space between two words, but none in scripts without spaces.

    Chinese, Japanese, Thai, Lao, Khmer and Burmese have no spaces between words, and there is none beside full-width
    punctuation. Korean has spaces. A word of another script among them keeps its spaces.
    """
    line = ""
    for text in filter(None, map(str.strip, texts)):
        line += f" {text}" if line and _spaced(line[-1], text[0]) else text
    return line


def _turn(
    turns: Sequence[Turn], words: Sequence[Word], assigned: Sequence[AssignedWord], first: int, stop: int
) -> Turn:
    """Words `first` … `stop - 1` as the turn after `turns`."""
    own = words[first:stop]
    confidences = [word.confidence for word in own if word.confidence is not None]
    return Turn(
        turn_idx=len(turns),
        speaker=assigned[first].speaker,
        start_ms=own[0].start_ms,
        end_ms=max(word.end_ms for word in own),
        text=join_words(word.text for word in own),
        n_words=len(own),
        mean_confidence=fmean(confidences) if confidences else None,
        has_overlap=any(word.in_overlap for word in assigned[first:stop]),
        gap_before_ms=own[0].start_ms - turns[-1].end_ms if turns else None,
        first_word_idx=first,
    )


_FULL_WIDTH_PUNCTUATION = re.compile(r"[\u3000-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65]")
UNSPACED_SCRIPT = re.compile(
    r"[\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    r"\U00020000-\U0003ffff"  # Han, kana
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"  # Thai and Lao, Burmese, Khmer
)
"""A character of a script without spaces between words."""


def _spaced(before: str, after: str) -> bool:
    """Whether a space separates two words, of which the first ends and the second begins with these characters."""
    if _FULL_WIDTH_PUNCTUATION.match(before) or _FULL_WIDTH_PUNCTUATION.match(after):
        return False
    return not (UNSPACED_SCRIPT.match(before) and UNSPACED_SCRIPT.match(after))
