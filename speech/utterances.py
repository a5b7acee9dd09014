"""Cuts turns into utterances: stretches of one speaker, 1–30 s long, that begin and end in a pause between words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

from speech.assignment import AssignedWord
from speech.turns import join_words
from speech.types import Word

RULE_VERSION = "1"
"""Raised when other utterances follow from the same words: part of the fingerprint."""


@dataclass(frozen=True, slots=True)
class UtteranceRule:
    """Where turns are cut."""

    min_ms: int = 1_000
    """Shorter stretches are left out."""
    max_ms: int = 30_000
    """A longer stretch is cut at its longest pause; without a pause it is left out."""
    min_gap_ms: int = 40
    """Words closer than this are not cut apart: the edge would lie inside a sound."""
    pause_ms: int = 800
    """A pause of this length always ends an utterance."""
    pad_ms: int = 100
    """Audio kept before the first and after the last word: at most half of the pause there."""

    def __post_init__(self) -> None:
        if not (0 < self.min_ms < self.max_ms and 0 <= 2 * self.pad_ms < self.max_ms and self.min_gap_ms > 0):
            raise ValueError(f"{self}: 0 < min_ms < max_ms, 0 < min_gap_ms and 2 × pad_ms < max_ms must hold.")

    @property
    def fingerprint(self) -> str:
        """Changes when the utterances do."""
        return hashlib.sha256(repr((RULE_VERSION, sorted(asdict(self).items()))).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Utterance:
    """Consecutive words of one speaker, with the audio around them."""

    utterance_idx: int
    speaker: str
    turn_idx: int
    start_ms: int
    end_ms: int
    text: str
    first_word_idx: int
    n_words: int


def build_utterances(
    words: Sequence[Word],
    assigned: Sequence[AssignedWord],
    turn_idx: Sequence[int],
    *,
    duration_ms: int,
    rule: UtteranceRule,
) -> list[Utterance]:
    """The utterances of all turns with a known speaker, in the order of the words.

    `words` are ordered by start; `assigned` and `turn_idx` tell each word's speaker and turn.
    """
    found: list[Utterance] = []
    for turn, group in groupby(range(len(words)), key=turn_idx.__getitem__):
        indices = list(group)
        speaker = assigned[indices[0]].speaker
        if speaker is None:
            continue
        for first, stop in _cut(words, indices[0], indices[-1] + 1, rule):
            start_ms, end_ms = _padded(words, first, stop, duration_ms, rule)
            if rule.min_ms <= end_ms - start_ms <= rule.max_ms:
                text = join_words(word.text for word in words[first:stop])
                found.append(Utterance(len(found), speaker, turn, start_ms, end_ms, text, first, stop - first))
    return found


def _cut(words: Sequence[Word], first: int, stop: int, rule: UtteranceRule) -> Iterator[tuple[int, int]]:
    """The stretches between pauses, then those that are too long cut again at their longest gap."""
    gaps = _gaps(words, first, stop)
    waiting = [(first, stop)]
    limit_ms = rule.max_ms - 2 * rule.pad_ms
    while waiting:
        start, end = waiting.pop()
        middle = (start + end) / 2
        best = max(range(start + 1, end), key=lambda i: (gaps[i - first], -abs(i - middle)), default=None)
        is_long = max(word.end_ms for word in words[start:end]) - words[start].start_ms > limit_ms
        at_least_ms = rule.min_gap_ms if is_long else rule.pause_ms
        if best is not None and gaps[best - first] >= at_least_ms:
            waiting += [(best, end), (start, best)]
        else:
            yield start, end


def _gaps(words: Sequence[Word], first: int, stop: int) -> list[int]:
    """The silence before each word, since the last of the words before it has ended; 0 before the first."""
    gaps, end_ms = [0], words[first].end_ms
    for word in words[first + 1 : stop]:
        gaps.append(word.start_ms - end_ms)
        end_ms = max(end_ms, word.end_ms)
    return gaps


def _padded(words: Sequence[Word], first: int, stop: int, duration_ms: int, rule: UtteranceRule) -> tuple[int, int]:
    """Start and end with the audio around the words, up to the middle of the pause to the words beside them."""
    start_ms, end_ms = words[first].start_ms, max(word.end_ms for word in words[first:stop])
    before_ms = words[first - 1].end_ms if first else -start_ms
    after_ms = words[stop].start_ms if stop < len(words) else 2 * duration_ms - end_ms
    lead_ms = min(rule.pad_ms, max(0, start_ms - before_ms) // 2)
    tail_ms = min(rule.pad_ms, max(0, after_ms - end_ms) // 2)
    return start_ms - lead_ms, min(end_ms + tail_ms, max(duration_ms, end_ms))
