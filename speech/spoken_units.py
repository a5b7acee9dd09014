"""Units of measurement in words: `km/h` → "kilometres per hour", singular and plural, in each language of spoken text.

A unit is a product and quotient of symbols with powers: `kg`, `m/s²`, `kg·m^2`. Their names are in `speech.unit_names`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from speech.number_words import decimal_words
from speech.unit_names import UNITS

_RATHER_WORDS = frozenset(("A", "N", "J", "K", "C", "F", "T"))
_RATHER_WORDS_OF = {"es": frozenset(("ha", "cal")), "de": frozenset(("bar",)), "en": frozenset(("bar", "cal"))}

Factor = tuple[str, int]
"""A symbol and its exponent: ("s", -2)."""


def units_of(language: str) -> frozenset[str]:
    """The symbols that have a name in a language."""
    return frozenset(UNITS[language].names)


def prose_units(language: str) -> str:
    """A regular expression of the units that follow a number in ordinary text, where `A` or `C` is rather a letter."""
    names = sorted(set(UNITS[language].names) - _RATHER_WORDS - _RATHER_WORDS_OF.get(language, frozenset()), key=len)
    symbols = "|".join(re.escape(one) for one in reversed(names) if len(one) > 1 or one == "°")
    single = "|".join(sorted(one for one in names if len(one) == 1 and one != "°"))
    after = "|".join(re.escape(one) for one in reversed(names))
    power = r"(?:[²³]|\^[23])?"
    # A single letter right after a number is rather a name: 5G, 3D, 10s; `m²` and `m/s` are not.
    return (
        rf"(?:{symbols}){power}(?:/(?:{after}){power})?|(?<=[ \u00a0\u202f])(?:{single}){power}(?:/(?:{after}){power})?"
        rf"|m(?:[²³]|/(?:s|h|min){power})|g/(?:l|m[²³]|cm[²³]|kg)"
    )


def parse_unit(text: str, language: str) -> tuple[Factor, ...] | None:
    """The factors of `m/s²` or `kg·m^2`, or None if it is not a unit."""
    factors: list[Factor] = []
    for index, part in enumerate(text.split("/")):
        for one in re.split(r"[\s·⋅*.\u00a0]+", part.strip()):
            found = re.fullmatch(r"([^\d²³⁻¹^-]+)(?:\^?([-−⁻]?)([\d²³¹]))?", one)
            if not found or found[1] not in UNITS[language].names:
                return None
            exponent = "0¹²³".find(found[3]) if found[3] and found[3] in "¹²³" else int(found[3] or 1)
            factors.append((found[1], -exponent if found[2] or index else exponent))
    return tuple(factors)


def unit_words(factors: Sequence[Factor], language: str, *, plural: bool) -> str:
    """`(("m", 1), ("s", -2))` → "metres per second squared"."""
    units = UNITS[language]
    above = [one for one in factors if one[1] > 0]
    below = [one for one in factors if one[1] < 0]
    names = [units.name(*one, plural=plural and one is above[-1]) for one in above]
    if language in ("fr", "es") and plural:
        names = [units.name(*one, plural=True) for one in above]
    return " ".join([*names, *(f"{units.per} {units.name(symbol, -power, plural=False)}" for symbol, power in below)])


def measure_words(plain: str, factors: Sequence[Factor], language: str) -> str:
    """A number, in digits with at most one point and no sign, with its unit: "one kilometre", "una hora"."""
    units = UNITS[language]
    first = units.names[factors[0][0]] if factors[0][1] > 0 else None
    number = agreeing(decimal_words(plain, language), feminine=bool(first and first.feminine), language=language)
    single = float(plain) == 1 or (language == "fr" and float(plain) < 2)
    return f"{number} {unit_words(factors, language, plural=not single)}"


def agreeing(number: str, *, feminine: bool, language: str) -> str:
    """The words of a number before a noun: "eins" → "ein", "uno" → "un", "veintiuno" → "veintiuna"."""
    if language == "es":
        if number.endswith("veintiuno"):
            return number.removesuffix("uno") + ("una" if feminine else "ún")
        if re.search(r"\buno$", number) and "coma" not in number:
            return number.removesuffix("uno") + ("una" if feminine else "un")
    if language == "fr" and feminine and re.search(r"\bun$", number) and "virgule" not in number:
        return number + "e"
    if language == "de" and re.search(r"(?:^|hundert|tausend)eins$", number):
        return number.removesuffix("eins") + ("eine" if feminine else "ein")
    return number
