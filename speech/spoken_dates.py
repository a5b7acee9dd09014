"""Dates and times of day in words."""

from __future__ import annotations

import re
from datetime import date

from speech.number_words import number_words
from speech.spoken_languages import TextLanguage
from speech.spoken_units import agreeing, measure_words

_DATIVE = ("am", "vom", "zum", "dem", "den", "im", "beim", "zur", "des", "der")
"""German words after which an ordinal ends in -en; after "der" it may also be a nominative."""


def date_words(day: int, month: int, year: int | None, rules: TextLanguage, language: str, *, before: str = "") -> str:
    """A date as it is said after the text `before`, which decides the ending of a German ordinal."""
    if language == "en":
        parts = [rules.months[month - 1], number_words(day, language, to="ordinal")]
    elif language == "de":
        parts = [german_ordinal(day, before), rules.months[month - 1]]
    elif language == "es":
        parts = [number_words(day, language), "de", rules.months[month - 1]]
    else:
        parts = ["premier" if day == 1 else number_words(day, language), rules.months[month - 1]]
    if year is not None:
        parts += ["de"] * (language == "es") + [number_words(year, language, to="year")]
    return " ".join(parts)


def figures_date(match: re.Match[str]) -> tuple[int, int, int] | None:
    """Day, month and year of a date in figures, or None if there is no such day."""
    found = match.groupdict()
    if "a" in found:  # American order, unless only the other one is a date
        first, second = int(found["a"]), int(found["b"])
        day, month = (second, first) if first <= 12 else (first, second)
    else:
        day, month = int(found["day"]), int(found["month"])
    try:
        date(int(found["year"]), month, day)
    except ValueError:
        return None
    return day, month, int(found["year"])


def german_ordinal(number: int, before: str) -> str:
    """A number in a date: dritter, dritte after an article, dritten after a preposition."""
    word = re.search(r"(\w+)\s*$", before)
    article = word[1].lower() if word else ""
    stem = number_words(number, "de", to="ordinal")
    if article in ("der", "die", "das", "diese", "dieser"):
        return stem
    return stem + ("n" if article in _DATIVE else "r")


def clock_words(text: str, rules: TextLanguage, language: str) -> str:
    """`14:30`, `2:00 pm`, `14h30`, `14.30 Uhr`."""
    hour, *rest = (int(part) for part in re.findall(r"\d+", text))
    minute = rest[0] if rest else 0
    half_day = re.search(r"[ap]\.?m\.?$", text, re.IGNORECASE)
    if language == "fr":
        said_hour = measure_words(str(hour), (("h", 1),), language)
    else:
        said_hour = agreeing(number_words(hour, language), feminine=language == "es", language=language)
    said_minute = number_words(minute, language)
    if language == "en" and 0 < minute < 10:
        said_minute = f"oh {said_minute}"
    form = rules.clock if minute or len(rest) > 1 else "{hour}" if half_day else rules.full_hour
    said = form.format(hour=said_hour, minute=said_minute)
    if len(rest) > 1:
        seconds = measure_words(str(rest[1]), (("s", 1),), language)
        said = rules.seconds.format(time=said, seconds=seconds)
    return f"{said} {half_day[0]}" if half_day else said
