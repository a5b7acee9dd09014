"""Sums of money in words: "five dollars twenty five cents", "deux millions d'euros"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from speech.number_words import decimal_words, number_words
from speech.spoken_units import agreeing

SIGNS: Mapping[str, str] = {
    "$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR", "EUR": "EUR", "USD": "USD", "GBP": "GBP", "CHF": "CHF",
    "JPY": "JPY",
}  # fmt: skip
"""What stands before or after a number, and its currency."""


@dataclass(frozen=True, slots=True)
class _Currency:
    one: str
    many: str
    cent: str
    cents: str
    feminine: bool = False


_CURRENCIES: Mapping[str, Mapping[str, _Currency]] = {
    "en": {
        "USD": _Currency("dollar", "dollars", "cent", "cents"), "EUR": _Currency("euro", "euro", "cent", "cents"),
        "GBP": _Currency("pound sterling", "pounds sterling", "penny", "pence"),
        "JPY": _Currency("yen", "yen", "sen", "sen"),
        "CHF": _Currency("Swiss franc", "Swiss francs", "centime", "centimes"),
        "INR": _Currency("rupee", "rupees", "paisa", "paise"),
    },
    "de": {
        "USD": _Currency("Dollar", "Dollar", "Cent", "Cent"), "EUR": _Currency("Euro", "Euro", "Cent", "Cent"),
        "GBP": _Currency("Pfund", "Pfund", "Penny", "Pence"), "JPY": _Currency("Yen", "Yen", "Sen", "Sen"),
        "CHF": _Currency("Schweizer Franken", "Schweizer Franken", "Rappen", "Rappen"),
        "INR": _Currency("Rupie", "Rupien", "Paisa", "Paise", feminine=True),
    },
    "fr": {
        "USD": _Currency("dollar", "dollars", "cent", "cents"), "EUR": _Currency("euro", "euros", "centime", "centimes"),
        "GBP": _Currency("livre", "livres", "penny", "pence", feminine=True), "JPY": _Currency("yen", "yens", "sen", "sen"),
        "CHF": _Currency("franc suisse", "francs suisses", "centime", "centimes"),
        "INR": _Currency("roupie", "roupies", "paisa", "paisas", feminine=True),
    },
    "es": {
        "USD": _Currency("dólar", "dólares", "centavo", "centavos"),
        "EUR": _Currency("euro", "euros", "céntimo", "céntimos"),
        "GBP": _Currency("libra", "libras", "penique", "peniques", feminine=True),
        "JPY": _Currency("yen", "yenes", "sen", "sen"),
        "CHF": _Currency("franco suizo", "francos suizos", "céntimo", "céntimos"),
        "INR": _Currency("rupia", "rupias", "paisa", "paisas", feminine=True),
    },
}  # fmt: skip
_BETWEEN = {"en": " ", "de": " und ", "fr": " et ", "es": " con "}
"""Between whole units and cents."""


def amount_words(plain: str, sign: str, magnitude: tuple[str, str] | None, language: str) -> str:
    """A sum in words. `plain` has digits and at most one point; `magnitude` is `million` in singular and plural."""
    currency = _CURRENCIES[language][SIGNS[sign]]
    whole, _, decimals = plain.partition(".")
    if magnitude:
        single = float(plain) == 1 or (language == "fr" and float(plain) < 2)
        feminine = language == "de"  # die Million
        number = agreeing(decimal_words(plain, language), feminine=feminine, language=language)
        if language == "es" and magnitude[0] == "mil":
            return f"{number} mil {currency.many}"
        return _joined(f"{number} {magnitude[0 if single else 1]}", currency.many, language)
    if decimals and (len(decimals) > 2 or currency.cent == "sen"):
        return f"{decimal_words(plain, language)} {currency.many}"
    cents = int(decimals.ljust(2, "0")) if decimals else 0
    said = _joined(
        agreeing(decimal_words(whole, language), feminine=currency.feminine, language=language),
        currency.one if int(whole) == 1 else currency.many,
        language,
    )
    if not cents:
        return said
    small = agreeing(number_words(cents, language), feminine=False, language=language)
    small = f"{small} {currency.cent if cents == 1 else currency.cents}"
    return small if int(whole) == 0 else f"{said}{_BETWEEN[language]}{small}"


def _joined(number: str, noun: str, language: str) -> str:
    """A number and a noun, with the preposition that Romance languages put after a million."""
    if language == "es" and re.search(r"mill(?:ón|ones)$", number):
        return f"{number} de {noun}"
    if language == "fr" and re.search(r"(?:millions?|milliards?)$", number):
        return f"{number} d'{noun}" if noun[0] in "aeiou" else f"{number} de {noun}"
    return f"{number} {noun}"
