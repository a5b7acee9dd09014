"""Fractions of small whole numbers: two thirds."""

from __future__ import annotations

from speech.formulas.languages import FORMULA_LANGUAGES
from speech.number_words import number_words
from speech.spoken_units import agreeing


def fraction_words(above: int, below: int, language: str) -> str | None:
    """A fraction that has a short name, or None: "two thirds", "ein halb"."""
    words = FORMULA_LANGUAGES[language]
    names = words.fractions.get(below)
    if names is None or not 0 < above < 100:
        return None
    if above == 1:
        return f"{words.one_fraction} {names[0]}"
    return f"{agreeing(number_words(above, language), feminine=False, language=language)} {names[1]}"
