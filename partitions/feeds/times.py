"""Reads dates and durations as feeds write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

LONGEST_MS = 500 * 3_600_000
"""A longer declared duration is an error (and does not fit in 32 bits)."""
LONGEST_TEXT = 200
"""Characters of a date or duration that are read."""


def parse_date(text: str | None) -> datetime | None:
    """A date in RFC 822, ISO 8601 or one of their common misspellings, in UTC.

    A date without a zone, or with an unknown one, is in UTC. None for text that is not a date, for years outside
    1900–2100, and for second 0 of 1970, which often stands for a missing date.
    """
    if (found := _USUAL.fullmatch(text or "")) and (usual := _usual(found)):
        return usual
    for pattern in _DATES:
        if found := pattern.search((text or "")[:LONGEST_TEXT]):
            return _utc(found.groupdict())
    return None


def parse_duration_ms(text: str | None) -> int | None:
    """`1:02:03`, `62:03`, `3600`, `3600.5`, `PT1H2M`, `1h 2m 3s`, `45 min` in milliseconds. None for 0 and for other text."""
    if not text:
        return None
    text = text.strip().lower()[:LONGEST_TEXT]
    if _COLONS.fullmatch(text):
        seconds = 0.0
        for part in text.replace(",", ".").split(":"):
            seconds = seconds * 60 + float(part)
    elif (found := _WORDED.fullmatch(text)) and any(found.groupdict().values()):
        worth = {"d": 86_400, "h": 3600, "m": 60, "s": 1}
        seconds = sum(float(value.replace(",", ".")) * worth[unit] for unit, value in found.groupdict("0").items())
    else:
        return None
    return round(seconds * 1000) or None if seconds * 1000 <= LONGEST_MS else None


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{1,2})(?:[.,]\d+)?)?\s*(?P<half>[ap]\.?m\b)?"
_ZONE = r"\s*(?P<zone>[+-]\d{1,2}:?\d{0,2}\b|[A-Za-z]{1,5}(?:[+-]\d{1,2}(?::?\d{2})?)?\b)?"
_MONTH = rf"(?P<month>(?:{'|'.join(_MONTHS)})[a-z]*)\.?"

_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?P<year>\d{{4}})-(?P<month>\d{{1,2}})-(?P<day>\d{{1,2}})(?:[T\s]+{_CLOCK}{_ZONE})?",
        rf"\b(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[\s-]+{_MONTH},?[\s-]+(?P<year>\d{{4}}|\d{{2}})\b(?:[\s,T]+{_CLOCK}{_ZONE})?",
        rf"\b{_MONTH}\s+(?P<day>\d{{1,2}})\s+{_CLOCK}(?:\s+(?P<zone>[A-Z]{{3,4}}))?\s+(?P<year>\d{{4}})\b",
        rf"\b{_MONTH}\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year>\d{{4}})\b(?:[\s,]+(?:at\s+)?{_CLOCK}{_ZONE})?",
        r"^\s*(?P<year>(?:19|20)\d{2})(?P<month>\d{2})(?P<day>\d{2})\s*$",
    )
)
"""ISO 8601; RFC 822; C's asctime; American; ISO 8601 without hyphens."""

_USUAL = re.compile(
    rf"(?:[A-Z][a-z]{{2}}, )?(\d{{1,2}}) ({'|'.join(_MONTHS)}) (\d{{4}}) (\d\d):(\d\d):(\d\d) (?:GMT|UTC|([+-])(\d\d)(\d\d))",
    re.IGNORECASE,
)
"""RFC 822 as nearly all feeds write it, read in less than half of the time."""

_ZONES_H = {
    "ast": -4, "adt": -3, "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7,
    "akst": -9, "akdt": -8, "hst": -10, "brt": -3, "wet": 0, "west": 1, "bst": 1, "cet": 1, "cest": 2, "mez": 1,
    "mesz": 2, "met": 1, "mest": 2, "eet": 2, "eest": 3, "sast": 2, "msk": 3, "ist": 5.5, "hkt": 8, "sgt": 8,
    "awst": 8, "jst": 9, "kst": 9, "aest": 10, "aedt": 11, "nzst": 12, "nzdt": 13,
}  # fmt: skip
"""Zone → hours east of UTC. Of several zones with one name, the one that most feeds mean."""

_COLONS = re.compile(r"\d+(:\d{1,2}){0,2}([.,]\d+)?")
_WORDED = re.compile(
    r"p?(?:(?P<d>\d+(?:[.,]\d+)?)\s*d(?:ays?)?)?\s*t?"
    r"(?:(?P<h>\d+(?:[.,]\d+)?)\s*(?:h|hrs?|hours?))?\s*"
    r"(?:(?P<m>\d+(?:[.,]\d+)?)\s*(?:m|mins?|minutes?))?\s*"
    r"(?:(?P<s>\d+(?:[.,]\d+)?)\s*(?:s|secs?|seconds?))?"
)


def _usual(found: re.Match[str]) -> datetime | None:
    """None for what needs more care, such as 24:00."""
    day, month, year, hour, minute, second, sign, zone_h, zone_min = found.groups()
    try:
        date = datetime(
            int(year), 1 + _MONTHS.index(month.lower()), int(day), int(hour), int(minute), int(second), tzinfo=UTC
        )
        if sign:
            date -= timedelta(hours=int(zone_h), minutes=int(zone_min)) * (-1 if sign == "-" else 1)
    except (ValueError, OverflowError):
        return None
    return date if 1970 < date.year <= 2100 else None


def _utc(parts: dict[str, str | None]) -> datetime | None:
    month = parts["month"] or ""
    hour = int(parts.get("hour") or 0)
    if half := parts.get("half"):
        hour = hour % 12 + (12 if half[0] in "pP" else 0)
    try:
        day = datetime(
            _year(parts["year"] or ""),
            int(month) if month.isdigit() else 1 + _MONTHS.index(month[:3].lower()),
            int(parts["day"] or 0),
            tzinfo=UTC,
        )
        # Added, because "24:00" and a 60th second occur.
        clock = timedelta(hours=hour, minutes=int(parts.get("minute") or 0), seconds=int(parts.get("second") or 0))
        date = day + clock - _offset(parts.get("zone"))
    except (ValueError, OverflowError):
        return None
    return date if 1900 <= date.year <= 2100 and date.timestamp() != 0 else None


_OFFSET = re.compile(r"([a-z]*)([+-]?)([\d:]*)")


def _year(digits: str) -> int:
    """Two digits as RFC 2822 reads them: 50–99 are in the 20th century."""
    year = int(digits)
    if len(digits) == 4:
        return year
    return year + (1900 if year >= 50 else 2000)


def _offset(zone: str | None) -> timedelta:
    """The offset from UTC of `+0530`, `-08:00`, `PST`, `GMT+2`."""
    found = _OFFSET.fullmatch((zone or "").lower())
    name, sign, digits = found.groups() if found else ("", "", "")
    if not sign:
        return timedelta(hours=_ZONES_H.get(name, 0))
    digits = digits.replace(":", "")
    hours, minutes = (digits[:-2], digits[-2:]) if len(digits) > 2 else (digits, "0")
    return timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == "-" else 1)
