"""Reads transcripts that publishers offer: SubRip, WebVTT, Podcasting 2.0 JSON, HTML and plain text.

Formats: https://github.com/Podcastindex-org/podcast-namespace/blob/main/docs/examples/transcripts/transcripts.md
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import unescape
from itertools import islice
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from speech.errors import BadTranscript

PREFERENCE = ("json", "vtt", "srt", "html", "text")
"""Formats, those that say most first: times and speakers, times, neither."""
LONGEST_MS = 7 * 24 * 3_600_000
LONGEST_SPEAKER = 60
MOST_SEGMENTS = 100_000
"""Of a transcript that are read. An episode of ten hours has 20 000."""

_TYPES = {
    "application/json": "json", "text/vtt": "vtt", "application/srt": "srt", "application/x-subrip": "srt",
    "text/srt": "srt", "text/html": "html", "text/plain": "text",
}  # fmt: skip
_SUFFIXES = {".json": "json", ".vtt": "vtt", ".srt": "srt", ".html": "html", ".htm": "html", ".txt": "text"}
_CUE = re.compile(r"\d[.,]\d+[ \t]*-->")
_COMMA_TIME = re.compile(r"(?<=\d),(?=\d{1,3}(?:[ \t]*-->|[ \t]*$))", re.MULTILINE)
_SURROGATE = re.compile("[\ud800-\udfff]")
"""Halves of characters, which JSON can name and no table holds."""
_TAG = re.compile(r"<[^<>]{0,500}>")
_CLOCK = re.compile(r"(?:(\d+):)?(\d{1,2}):(\d{2})(?:[.,](\d{1,3}))?")
_SPEAKER = re.compile(r"(?:-\s*|>>\s*)?([^\W_][^:.!?\n]{0,39}):\s+(?=\S)")
MOST_WORDS_OF_NAME = 4


@dataclass(frozen=True, slots=True)
class PublishedSegment:
    """A passage of the publisher's transcript. HTML and text may lack times; most formats may lack speakers."""

    start_ms: int | None
    end_ms: int | None
    speaker: str | None
    text: str


def declared_format(url: str, mime_type: str | None) -> str | None:
    """The format by the MIME type or, if that says nothing exact, by the file's suffix. None: it cannot be read."""
    by_type = _TYPES.get((mime_type or "").partition(";")[0].strip().lower())
    by_suffix = _SUFFIXES.get(PurePosixPath(urlsplit(url).path).suffix.lower())
    return by_suffix or by_type if by_type in (None, "text") else by_type


def read_published(content: bytes, declared: str) -> tuple[str, list[PublishedSegment]]:
    """The format that the content has, and its segments in order, none of them empty.

    Raises `BadTranscript` if it is in no known format, which a web page in place of captions is, or has no text.
    """
    text = content.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n").strip()
    found = _format_of(text, declared)
    try:
        segments = [one for one in _READERS[found](text) if one.text] if found else []
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise BadTranscript(f"The transcript is no valid {found}: {error}") from error
    if not found or not segments:
        raise BadTranscript(f"The transcript is declared as {declared} and has no text in that format.")
    return found, segments


def _format_of(text: str, declared: str) -> str | None:
    """By the content, because types are often wrong. HTML and text must be declared: error pages are such."""
    if text.startswith("WEBVTT"):
        return "vtt"
    if text.startswith(("{", "[")) and declared == "json":
        return "json"
    if _CUE.search(text[:4_000]) and not text.startswith("<"):
        return "srt"
    if text.startswith("<"):
        return "html" if declared in ("html", "text") else None
    return declared if declared in ("html", "text") else None


def _captions(text: str) -> Iterator[PublishedSegment]:
    import webvtt

    try:
        cues = webvtt.from_buffer(io.StringIO(text)).captions[:MOST_SEGMENTS]
    except (webvtt.errors.MalformedFileError, webvtt.errors.MalformedCaptionError) as error:
        raise ValueError(str(error) or "malformed captions") from error
    yield from _named(
        [
            PublishedSegment(_clock_ms(cue.start), _clock_ms(cue.end), _name(cue.voice), _plain(cue.raw_text))
            for cue in cues
        ]
    )


def _subrip(text: str) -> Iterator[PublishedSegment]:
    """As WebVTT, whose times have a point; so cues without numbers are read too."""
    return _captions("WEBVTT\n\n" + _COMMA_TIME.sub(".", text))


def _podcast_json(text: str) -> Iterator[PublishedSegment]:
    for one in islice(json.loads(text)["segments"], MOST_SEGMENTS):
        start_ms, end_ms = seconds_to_ms(one.get("startTime")), seconds_to_ms(one.get("endTime"))
        yield PublishedSegment(start_ms, end_ms, _name(one.get("speaker")), _plain(str(one.get("body") or "")))


def _page(text: str) -> Iterator[PublishedSegment]:
    """`cite` names the speaker and `time` says when, before the paragraphs that they are about."""
    from lxml import etree, html

    try:
        root = html.document_fromstring(text.encode(), parser=html.HTMLParser(encoding="utf-8", huge_tree=False))
    except etree.ParserError as error:  # nothing but comments
        raise ValueError(str(error)) from error
    speaker, start_ms, found = None, None, []
    for element in islice(root.iter("cite", "time", "p"), MOST_SEGMENTS):
        content = _plain(element.text_content())
        if element.tag == "cite":
            speaker = _name(content.rstrip(":"))
        elif element.tag == "time":
            start_ms = _clock_ms(content)
        elif content:
            found.append(PublishedSegment(start_ms, None, speaker, content))
            start_ms = None
    yield from _named(found)


def _lines(text: str) -> Iterator[PublishedSegment]:
    yield from _named(
        [PublishedSegment(None, None, None, _plain(line)) for line in text.split("\n", MOST_SEGMENTS)[:MOST_SEGMENTS]]
    )


def _named(segments: list[PublishedSegment]) -> Iterator[PublishedSegment]:
    """With the speaker from `Name: text`, where no speaker is given and the name occurs at least twice."""
    labels = [None if one.speaker else _label(one.text) for one in segments]
    counts = Counter(label.group(1) for label in labels if label)
    for one, label in zip(segments, labels, strict=True):
        if label and counts[label.group(1)] > 1:
            one = replace(one, speaker=_name(label.group(1)), text=one.text[label.end() :])  # noqa: PLW2901
        yield one


def _label(text: str) -> re.Match[str] | None:
    found = _SPEAKER.match(text)
    return found if found and len(found.group(1).split()) <= MOST_WORDS_OF_NAME else None


def _plain(text: str) -> str:
    """One line without markup."""
    return " ".join(valid_text(unescape(_TAG.sub("", text))).split())


def valid_text(text: str) -> str:
    """The text with `\ufffd` for what is no character."""
    return _SURROGATE.sub("\ufffd", text)


def _name(speaker: Any) -> str | None:
    return _plain(speaker)[:LONGEST_SPEAKER] or None if isinstance(speaker, str) else None


def _clock_ms(clock: str) -> int | None:
    found = _CLOCK.search(clock)
    if not found:
        return None
    hours, minutes, seconds, fraction = found.groups(default="0")
    return seconds_to_ms(int(hours) * 3_600 + int(minutes) * 60 + int(seconds) + float(f"0.{fraction}"))


def seconds_to_ms(seconds: Any) -> int | None:
    """None for what is no time within a week."""
    try:
        ms = 1_000 * float(seconds)
    except (TypeError, ValueError, OverflowError):
        return None
    return round(ms) if 0 <= ms <= LONGEST_MS else None


_READERS = {"json": _podcast_json, "vtt": _captions, "srt": _subrip, "html": _page, "text": _lines}
