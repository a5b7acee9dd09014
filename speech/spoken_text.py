"""Writes numbers, dates, amounts, abbreviations and addresses as they are spoken, for synthesizers that misread them.

A language without rules here is left as it is. Tags of speakers and sounds are not touched. Applied twice, it changes
nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date

from speech.number_words import number_words


@dataclass(frozen=True, slots=True)
class Change:
    """A place where the text was rewritten."""

    before: str
    after: str
    problem: str | None = None
    """Why it could not be read as it was meant."""


@dataclass(frozen=True)
class _Language:
    """What the rules need to know about a language."""

    abbreviations: Mapping[str, str]
    months: tuple[str, ...]
    units: Mapping[str, str]
    percent: str
    minus: str
    dot: str
    slash: str
    at: str
    point: str
    """The character before decimals."""
    group: str
    """The characters that may separate thousands."""
    day_first: bool = True
    clock: str = "{hour} {minute}"
    full_hour: str = "{hour}"


_LANGUAGES = {
    "en": _Language(
        abbreviations={
            "Dr.": "Doctor", "Mr.": "Mister", "Mrs.": "Missis", "Ms.": "Miss", "Prof.": "Professor", "St.": "Saint",
            "e.g.": "for example", "i.e.": "that is", "etc.": "et cetera", "vs.": "versus", "approx.": "approximately",
            "No.": "number", "&": "and",
        },
        months=("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
                "November", "December"),
        units={"km/h": "kilometres per hour", "km": "kilometres", "kg": "kilograms", "cm": "centimetres",
               "mm": "millimetres", "°C": "degrees Celsius", "°F": "degrees Fahrenheit", "GB": "gigabytes",
               "MB": "megabytes", "kHz": "kilohertz", "Hz": "hertz"},
        percent="percent", minus="minus", dot="dot", slash="slash", at="at", point=".", group=",", day_first=False,
        full_hour="{hour} o'clock",
    ),
    "de": _Language(
        abbreviations={
            "z. B.": "zum Beispiel", "z.B.": "zum Beispiel", "d. h.": "das heißt", "d.h.": "das heißt",
            "usw.": "und so weiter", "Dr.": "Doktor", "Prof.": "Professor", "Nr.": "Nummer", "ca.": "circa",
            "bzw.": "beziehungsweise", "u. a.": "unter anderem", "&": "und",
        },
        months=("Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober",
                "November", "Dezember"),
        units={"km/h": "Kilometer pro Stunde", "km": "Kilometer", "kg": "Kilogramm", "cm": "Zentimeter",
               "mm": "Millimeter", "°C": "Grad Celsius", "GB": "Gigabyte", "MB": "Megabyte", "kHz": "Kilohertz",
               "Hz": "Hertz"},
        percent="Prozent", minus="minus", dot="Punkt", slash="Schrägstrich", at="at", point=",", group=".",
        clock="{hour} Uhr {minute}", full_hour="{hour} Uhr",
    ),
    "fr": _Language(
        abbreviations={"M.": "Monsieur", "Mme": "Madame", "Dr": "Docteur", "etc.": "et cetera", "n°": "numéro", "&": "et"},
        months=("janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre",
                "novembre", "décembre"),
        units={"km/h": "kilomètres par heure", "km": "kilomètres", "kg": "kilogrammes", "cm": "centimètres",
               "°C": "degrés Celsius"},
        percent="pour cent", minus="moins", dot="point", slash="barre oblique", at="arobase", point=",",
        group=" \u202f\u00a0", clock="{hour} heures {minute}", full_hour="{hour} heures",
    ),
    "es": _Language(
        abbreviations={"Sr.": "Señor", "Sra.": "Señora", "Dr.": "Doctor", "Dra.": "Doctora", "etc.": "etcétera",
                       "p. ej.": "por ejemplo", "n.º": "número", "&": "y"},
        months=("enero", "febrero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "septiembre", "octubre",
                "noviembre", "diciembre"),
        units={"km/h": "kilómetros por hora", "km": "kilómetros", "kg": "kilogramos", "cm": "centímetros",
               "°C": "grados Celsius"},
        percent="por ciento", minus="menos", dot="punto", slash="barra", at="arroba", point=",", group=".",
        clock="{hour} y {minute}", full_hour="{hour} en punto",
    ),
}  # fmt: skip
LANGUAGES = frozenset(_LANGUAGES)
_CURRENCIES = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY"}
_PROTECTED = r"\[S\d+\]|<\|[a-zA-Z_]+\|>"
_URL = r"(?:https?://|www\.)[^\s<>\"'()\[\]]*[\w/]"
_EMAIL = r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
_ISO_DATE = r"\b\d{4}-\d{2}-\d{2}\b"
_TIME = r"\b(?:[01]?\d|2[0-3]):[0-5]\d\b"


def spoken_text(text: str, language: str | None) -> tuple[str, tuple[Change, ...]]:
    """The text as it is to be said, and what was changed. Raises `EngineUnavailable` without num2words."""
    rules = _LANGUAGES.get(language or "")
    if rules is None:
        return text, ()
    changes: list[Change] = []

    def replaced(match: re.Match[str]) -> str:
        before = match[0]
        after = next(rewrite(before) for name, rewrite in writers.items() if match[name] is not None)
        if after != before:
            changes.append(Change(before, after))
        return after

    writers = _writers(rules, language or "")
    return _pattern(rules).sub(replaced, text), tuple(changes)


def _pattern(rules: _Language) -> re.Pattern[str]:
    """One pass with one alternative per rule, the most special first, so that nothing is rewritten twice."""
    number = rf"\d+(?:[{re.escape(rules.group)}]\d{{3}})*(?:{re.escape(rules.point)}\d+)?"
    units = "|".join(map(re.escape, sorted(rules.units, key=len, reverse=True)))
    abbreviations = "|".join(map(re.escape, sorted(rules.abbreviations, key=len, reverse=True)))
    months = "|".join(rules.months)
    day = rf"(?P<day_month>(?:{months}) \d{{1,2}}(?:,? \d{{4}})?\b)" if not rules.day_first else (
        rf"(?P<day_month>\b\d{{1,2}}\.? (?:{months})(?: \d{{4}})?\b)"
    )  # fmt: skip
    signs = "".join(_CURRENCIES)
    ordinal = r"\b\d+(?:st|nd|rd|th)\b" if rules.point == "." else r"(?!)"
    return re.compile(
        rf"(?P<kept>{_PROTECTED})|(?P<email>{_EMAIL})|(?P<url>{_URL})|(?P<iso_date>{_ISO_DATE})|{day}|(?P<time>{_TIME})"
        rf"|(?P<amount>[{signs}] ?{number}|{number} ?[{signs}])|(?P<ordinal>{ordinal})"
        rf"|(?P<measure>(?:(?<![\w.,])[-−])?{number} ?(?:%|(?:{units})(?!\w)))"
        rf"|(?P<abbreviation>(?<!\w)(?:{abbreviations})(?!\w))|(?P<number>(?:(?<![\w.,])[-−])?{number})"
    )


def _writers(rules: _Language, language: str) -> dict[str, Callable[[str], str]]:
    """Name of an alternative → what is written for it."""

    def number(text: str) -> str:
        return _number(text, rules, language)

    def measure(text: str) -> str:
        found = re.match(r"[-−]?[\d.,\s\u202f\u00a0]*\d", text)
        assert found
        unit = text[found.end() :].strip()
        return f"{number(found[0])} {rules.percent if unit == '%' else rules.units[unit]}"

    def amount(text: str) -> str:
        sign = next(one for one in _CURRENCIES if one in text)
        plain = _plain(text.replace(sign, "").strip(), rules)
        given = {"to": "currency", "currency": _CURRENCIES[sign]}
        if float(plain).is_integer():  # without "and zero cents"
            return number_words(float(plain), language, separator="|", **given).partition("|")[0]
        return number_words(float(plain), language, **given)

    def iso_date(text: str) -> str:
        try:
            found = date.fromisoformat(text)
        except ValueError:
            return " ".join(number(part) for part in text.split("-"))
        return _date(found.day, rules.months[found.month - 1], found.year, rules, language)

    def day_month(text: str) -> str:
        month = next(one for one in rules.months if one in text)
        day, *year = re.findall(r"\d+", text)
        return _date(int(day), month, int(year[0]) if year else None, rules, language)

    def clock(text: str) -> str:
        hour, minute = text.split(":")
        spoken = number(str(int(minute)))
        if language == "en" and 0 < int(minute) < 10:
            spoken = f"oh {spoken}"
        form = rules.clock if int(minute) else rules.full_hour
        return form.format(hour=number(str(int(hour))), minute=spoken)

    def address(text: str) -> str:
        text = re.sub(r"^https?://", "", text).removeprefix("www.").rstrip("/")
        parts = re.split(r"([./@])", text)
        spoken = {".": rules.dot, "/": rules.slash, "@": rules.at}
        said = " ".join(spoken.get(part, re.sub(r"[-_?=&#+~:%]+", " ", part)) for part in parts if part)
        return re.sub(r"\d+", lambda match: f" {number(match[0])} ", said).strip()

    return {
        "kept": str, "email": address, "url": address, "iso_date": iso_date, "day_month": day_month, "time": clock,
        "amount": amount, "measure": measure, "abbreviation": rules.abbreviations.__getitem__, "number": number,
        "ordinal": lambda text: number_words(int(re.sub(r"\D", "", text)), language, to="ordinal"),
    }  # fmt: skip


def _date(day: int, month: str, year: int | None, rules: _Language, language: str) -> str:
    form = "ordinal" if language in ("en", "de") else "cardinal"
    spoken = number_words(day, language, to=form) + ("r" if language == "de" else "")
    parts = [spoken, month] if rules.day_first else [month, spoken]
    return " ".join([*parts, *([number_words(year, language, to="year")] if year else [])])


def _number(text: str, rules: _Language, language: str) -> str:
    sign = f"{rules.minus} " if text[0] in "-−" else ""
    plain = _plain(text.lstrip("-−"), rules)
    if re.fullmatch(r"(?:1[1-9]|20)\d\d", text):
        return sign + number_words(int(plain), language, to="year")
    if len(plain) > 1 and plain.isdigit() and (plain[0] == "0" or len(plain) > 15):  # a telephone number, a code
        return sign + " ".join(number_words(int(digit), language) for digit in plain)
    return sign + number_words(float(plain) if "." in plain else int(plain), language)


def _plain(text: str, rules: _Language) -> str:
    """`1.234,5` in German → `1234.5`."""
    for separator in rules.group:
        text = text.replace(separator, "")
    return text.replace(rules.point, ".")
