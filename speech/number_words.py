"""Numbers in words, in the language of the text around them. The package num2words does the work."""

from __future__ import annotations

from speech.errors import EngineUnavailable

_DECIMAL_POINTS = {"en": "point", "de": "Komma", "fr": "virgule", "es": "coma"}
_LONGEST_NUMBER = 15
"""Digits. A longer sequence is a code, and is read digit by digit."""


def number_words(number: float, language: str, **options: str) -> str:
    """A number as words without hyphens and commas. Options are those of num2words, such as `to="ordinal"`.

    Raises `EngineUnavailable` without num2words.
    """
    try:
        from num2words import num2words
    except ImportError as error:
        raise EngineUnavailable("Not installed: num2words. Install it with: pip install 'podlake[studio]'") from error
    return str(num2words(number, lang=language, **options)).replace(",", "").replace("-", " ")


def decimal_words(plain: str, language: str) -> str:
    """`1234.50`, written with digits and at most one point, as words. No digit after the point is left out."""
    whole, _, decimals = plain.partition(".")
    said = digit_words(whole, language) if len(whole) > _LONGEST_NUMBER else number_words(int(whole or "0"), language)
    if not decimals:
        return said
    together = language == "fr" and len(decimals) == 2 and decimals[0] != "0"  # "trois virgule quatorze"
    after = number_words(int(decimals), language) if together else digit_words(decimals, language)
    return f"{said} {_DECIMAL_POINTS[language]} {after}"


def digit_words(digits: str, language: str) -> str:
    """A telephone number or a code, digit by digit."""
    return " ".join(number_words(int(digit), language) for digit in digits)
