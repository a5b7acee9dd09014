"""Chapters in the JSON format of Podcasting 2.0: reads those that publishers offer, and writes our own.

Format: https://github.com/Podcastindex-org/podcast-namespace/blob/main/docs/examples/chapters/jsonChapters.md
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from speech.errors import BadTranscript
from speech.formats.published import seconds_to_ms, valid_text

MOST_CHAPTERS = 1_000
LONGEST_TEXT = 500


@dataclass(frozen=True, slots=True)
class Chapter:
    """A chapter that the table of contents lists."""

    start_ms: int
    end_ms: int | None
    title: str
    url: str | None
    image: str | None


def read_chapters(content: bytes) -> list[Chapter]:
    """The chapters in order of time, without those that have no title or that the table of contents leaves out.

    A chapter without a valid start is left out. Raises `BadTranscript` if the document is no list of chapters.
    """
    try:
        items = json.loads(content.decode("utf-8-sig", errors="replace"))["chapters"]
        found = [chapter for item in items if (chapter := _chapter(item))]
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise BadTranscript(f"The chapters are no valid JSON chapters: {error}") from error
    return sorted(found[:MOST_CHAPTERS], key=lambda chapter: chapter.start_ms)


def write_chapters(chapters: Sequence[Chapter]) -> str:
    """The document of these chapters."""
    items = [
        {
            "startTime": chapter.start_ms / 1000,
            **({"endTime": chapter.end_ms / 1000} if chapter.end_ms is not None else {}),
            "title": chapter.title,
        }
        for chapter in chapters
    ]
    return json.dumps({"version": "1.2.0", "chapters": items}, ensure_ascii=False, indent=1) + "\n"


def _chapter(item: dict[str, Any]) -> Chapter | None:
    start_ms, title = seconds_to_ms(item.get("startTime")), _text(item.get("title"))
    if start_ms is None or not title or item.get("toc") is False:
        return None
    return Chapter(start_ms, seconds_to_ms(item.get("endTime")), title, _text(item.get("url")), _text(item.get("img")))


def _text(value: Any) -> str | None:
    return " ".join(valid_text(value).split())[:LONGEST_TEXT] or None if isinstance(value, str) else None
