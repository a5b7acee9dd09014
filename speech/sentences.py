"""Cuts a transcript into sentences: spans of word indices, by punctuation, pauses, speakers and length.

No text is searched for in another: a sentence knows its words by their place, so that no spelling can lose one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from speech.turns import join_words
from speech.types import Word

_END = re.compile(r"[.!?…。！？]+[\"'”’»)\]）」』]*$")
_SURE_END = re.compile(r"[!?。！？]")
_CLAUSE_END = re.compile(r"[,;:，；：、—–][\"'”’»)\]）」』]*$")
_INITIAL = re.compile(r"^[\"'“‘«(]*[^\W\d_]\.$")
_INNER_POINTS = re.compile(r"^[\"'“‘«(]*(?:[^\W\d_]{1,3}\.){2,}$")
_ORDINAL = re.compile(r"^\d{1,2}\.$")
_ABBREVIATIONS = {
    "en": frozenset(
        {"mr.", "mrs.", "ms.", "dr.", "prof.", "st.", "vs.", "no.", "fig.", "eq.", "approx.", "jr.", "sr."}
    ),
    "de": frozenset({"dr.", "prof.", "nr.", "ca.", "bzw.", "vgl.", "str.", "hr.", "fr."}),
    "fr": frozenset({"m.", "mme.", "dr.", "prof.", "p.", "env."}),
    "es": frozenset({"sr.", "sra.", "dr.", "dra.", "ud.", "uds.", "núm.", "pág.", "aprox."}),
    "ru": frozenset({"г.", "ул.", "им.", "см.", "рис.", "проф.", "тыс.", "млн.", "руб."}),
}
"""Words with a full stop that end no sentence before a capital letter either."""
_ORDINALS_HAVE_POINTS = frozenset({"de", "cs", "da", "fi", "hu", "no", "pl", "sk", "sl", "tr"})
_CLAUSE_MS, _MIDDLE_MS = 400, 300
"""A place after a comma counts as a pause longer by this; the ends of a long sentence as one shorter by this."""


@dataclass(frozen=True, slots=True)
class SentenceRule:
    """Where a sentence ends beside its punctuation."""

    pause_ms: int = 1_500
    """A pause of this length ends a sentence without punctuation."""
    max_characters: int = 180
    """A longer one is cut at a clause or pause. Voices that are cloned say at most 300 characters at a time."""
    max_ms: int = 14_000

    def __post_init__(self) -> None:
        if min(self.pause_ms, self.max_characters, self.max_ms) < 1:
            raise ValueError(f"{self}: every limit is at least 1.")


@dataclass(frozen=True, slots=True)
class Sentence:
    """Consecutive words of one speaker: what is translated, and spoken, as a whole."""

    sentence_idx: int
    speaker: str | None
    start_ms: int
    end_ms: int
    text: str
    first_word_idx: int
    """Its words are `first_word_idx` … `first_word_idx + n_words - 1`."""
    n_words: int


def build_sentences(
    words: Sequence[Word],
    speakers: Sequence[str | None],
    *,
    language: str | None = None,
    rule: SentenceRule = SentenceRule(),
) -> list[Sentence]:
    """Every word in exactly one sentence, in the order of the words, which is by start.

    `speakers` has the speaker of each word. A word without one between words of the same speaker is that speaker's.
    """
    if len(speakers) != len(words):
        raise ValueError(f"{len(words)} words have {len(speakers)} speakers.")
    own = _filled(speakers)
    found: list[Sentence] = []
    first = 0
    end_ms = 0
    for i, word in enumerate(words):
        end_ms = max(end_ms, word.end_ms) if i > first else word.end_ms
        if i + 1 == len(words) or _ends(words, own, i, end_ms, language or "", rule):
            for start, stop in _cut(words, first, i + 1, rule):
                found.append(_sentence(len(found), own[start], words, start, stop))
            first = i + 1
    return found


def _ends(
    words: Sequence[Word], speakers: Sequence[str | None], i: int, end_ms: int, language: str, rule: SentenceRule
) -> bool:
    following = words[i + 1]
    if speakers[i] != speakers[i + 1] or following.start_ms - end_ms >= rule.pause_ms:
        return True
    return _ends_sentence(words[i].text.strip(), following.text.strip(), language)


def _ends_sentence(text: str, following: str, language: str) -> bool:
    """Whether a sentence ends between two words, by their characters."""
    end = _END.search(text)
    if end is None:
        return False
    if _SURE_END.search(end[0]):
        return True
    letters = [one for one in following if one.isalpha()]
    if letters and letters[0].islower():
        return False  # `etc. and`, `… and then`
    if _INITIAL.match(text) or _INNER_POINTS.match(text) or text.lower() in _ABBREVIATIONS.get(language, frozenset()):
        return False
    return not (_ORDINAL.match(text) and language in _ORDINALS_HAVE_POINTS)


def _filled(speakers: Sequence[str | None]) -> list[str | None]:
    """With the speaker on both sides for the words that have none."""
    filled = list(speakers)
    last: int | None = None
    for i, speaker in enumerate(speakers):
        if speaker is None:
            continue
        if last is not None and filled[last] == speaker:
            filled[last:i] = [speaker] * (i - last)
        last = i
    return filled


def _cut(words: Sequence[Word], first: int, stop: int, rule: SentenceRule) -> Iterator[tuple[int, int]]:
    """The span in parts that keep to the limits, each cut at the best place; one word is never cut."""
    waiting = [(first, stop)]
    while waiting:
        start, end = waiting.pop()
        if end - start == 1 or not _is_long(words[start:end], rule):
            yield start, end
            continue
        middle, half = (start + end) / 2, (end - start) / 2

        def weight(i: int, middle: float = middle, half: float = half) -> float:
            gap_ms = min(max(0, words[i].start_ms - words[i - 1].end_ms), 2_000)
            clause_ms = _CLAUSE_MS if _CLAUSE_END.search(words[i - 1].text.strip()) else 0
            return gap_ms + clause_ms - _MIDDLE_MS * (abs(i - middle) / half) ** 2

        best = max(range(start + 1, end), key=weight)
        waiting += [(best, end), (start, best)]


def _is_long(words: Sequence[Word], rule: SentenceRule) -> bool:
    text = join_words(word.text for word in words)
    duration_ms = max(word.end_ms for word in words) - words[0].start_ms
    return len(text) > rule.max_characters or duration_ms > rule.max_ms


def _sentence(index: int, speaker: str | None, words: Sequence[Word], first: int, stop: int) -> Sentence:
    own = words[first:stop]
    text = join_words(word.text for word in own)
    return Sentence(index, speaker, own[0].start_ms, max(word.end_ms for word in own), text, first, stop - first)
