"""Compares our words with a publisher's transcript."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_UNSPOKEN = re.compile(r"\[[^][]{0,200}\]|\([^()]{0,200}\)")
"""`[music]` and `(laughs)`."""
_APOSTROPHES = re.compile(r"['’ʼ]")
_PUNCTUATION = re.compile(r"[^\w\s]|_")
_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "km"})
"""Languages whose words no spaces separate: their characters are compared."""


def normalised_words(texts: Iterable[str], language: str | None) -> list[str]:
    """Lower case, without punctuation and without remarks in brackets."""
    text = unicodedata.normalize("NFKC", " ".join(texts)).casefold()
    text = _PUNCTUATION.sub(" ", _APOSTROPHES.sub("", _UNSPOKEN.sub(" ", text)))
    return list("".join(text.split())) if language in _WITHOUT_SPACES else text.split()


def word_error_rate(words: list[str], reference: list[str]) -> float:
    """Substitutions, deletions and insertions per word of the reference, which is not empty."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(reference, words) / len(reference)
