"""Reads lists of feeds and audio, a line each: JSONL, CSV with a header, plain URLs, or OPML. No URL is opened.

The fields are `url`, and optionally `kind` (`feed` or `audio`), `language`, `title`, `guid` and `date`.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import urlsplit

from partitions.credentials import without_credentials
from partitions.feeds.enclosures import is_media_name
from partitions.feeds.links import web_url
from partitions.feeds.opml import parse_opml
from partitions.feeds.times import parse_date
from partitions.languages import normalise_language

Kind = Literal["feed", "audio"]
FIELDS = ("url", "kind", "language", "title", "guid", "date")
FORMATS = ("jsonl", "csv", "txt", "opml")
_URL = re.compile(r"https?://[^\s/?#]+\S*", re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")
_BAD_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Line:
    """A feed or a file of audio."""

    url: str
    kind: Kind
    language: str | None = None
    title: str | None = None
    guid: str | None = None
    published_at: datetime | None = None


@dataclass
class Bad:
    """The lines that cannot be read."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, number: int, reason: object) -> None:
        self.count += 1
        if len(self.first) < _BAD_SHOWN:
            self.first.append(f"line {number}: {reason}")


def read_lines(form: str, lines: Iterable[str], bad: Bad, kind: Kind | None = None) -> Iterator[Line]:
    """The lines that can be read. `kind` is that of lines that name none."""
    for number, record in _RECORDS[form](lines, bad):
        try:
            yield line_of(record, kind)
        except ValueError as error:
            bad.add(number, error)


def line_of(record: Mapping[str, object], kind: Kind | None = None) -> Line:
    """A record of a list as a line. Raises ValueError, which says what is wrong."""
    given = _text(record, "url") or ""
    url = given if given.startswith(("https://", "http://")) else web_url(given) or ""
    if not _URL.fullmatch(url):
        raise ValueError(f"{without_credentials(given)[:80]!r} is no http(s) URL")
    language, date, guid = _text(record, "language"), _text(record, "date"), _text(record, "guid")
    if language and normalise_language(language) is None:
        raise ValueError(f"{language[:40]!r} names no language")
    published_at = _date(date) if date else None
    if date and published_at is None:
        raise ValueError(f"{date[:40]!r} is no date; write 2026-01-31T08:00:00Z")
    own = _text(record, "kind")
    if own not in (None, "feed", "audio"):
        raise ValueError(f"kind is {own[:40]!r}, and must be feed or audio")
    chosen: Kind = own or kind or _kind(url, has_item=bool(guid or date))  # type: ignore[assignment]
    return Line(url, chosen, language, _text(record, "title"), guid, published_at)


def _text(record: Mapping[str, object], name: str) -> str | None:
    value = record.get(name)
    if value is None:
        return None
    if isinstance(value, str):  # a check of a union takes five times as long
        if not value.isascii() and _SURROGATE.search(value):
            raise ValueError(f"{name} has half of a character, such as \\ud800")
        return value.strip() or None
    if isinstance(value, int):
        return str(value)
    raise ValueError(f"{name} must be text")


def _kind(url: str, *, has_item: bool) -> Kind:
    """By the name of the file. A line with a guid or a date is an episode."""
    return "audio" if has_item or is_media_name(PurePosixPath(urlsplit(url).path).name) else "feed"


def _date(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return parse_date(text)
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


Records = Iterator[tuple[int, Mapping[str, object]]]


def _jsonl(lines: Iterable[str], bad: Bad) -> Records:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            bad.add(number, f"no JSON ({error})")
            continue
        if isinstance(record, dict):
            yield number, record
        else:
            bad.add(number, "no JSON object")


def _csv(lines: Iterable[str], bad: Bad) -> Records:
    reader = csv.DictReader(lines)
    names: Sequence[str] = ()
    with suppress(csv.Error):
        names = reader.fieldnames or ()
    if "url" not in names:
        bad.add(1, f"the header must name url; it may name {', '.join(FIELDS[1:])}")
        return
    while True:
        try:
            yield reader.line_num, next(reader)
        except StopIteration:
            return
        except csv.Error as error:  # such as a quotation mark without its second: the next lines are read again
            bad.add(reader.reader.line_num, error)


def _txt(lines: Iterable[str], _: Bad) -> Records:
    for number, line in enumerate(lines, 1):
        if line.strip() and not line.startswith("#"):
            yield number, {"url": line}


def _opml(lines: Iterable[str], _: Bad) -> Records:
    for number, feed in enumerate(parse_opml("".join(lines).encode()), 1):
        yield number, {"url": feed.url, "title": feed.title, "kind": "feed"}


_RECORDS: Mapping[str, Callable[[Iterable[str], Bad], Records]] = {
    "jsonl": _jsonl,
    "csv": _csv,
    "txt": _txt,
    "opml": _opml,
}
