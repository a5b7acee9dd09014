"""Which texts podlake takes from users: those that feeds, tags and subtitles can hold."""

from __future__ import annotations

import re

_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
"""What XML cannot contain or advises against: it would stop the feed of all podcasts."""


def is_text(text: str) -> bool:
    """Whether the text has no control characters but tabs and line breaks.

    Spaces that do not break, joiners inside of words and emoji, and marks of direction belong to text.
    """
    return _NOT_TEXT.search(text) is None


def is_line(text: str) -> bool:
    """Whether the text is one line that is not blank."""
    return bool(text.strip()) and is_text(text) and "\t" not in text and len(text.splitlines()) == 1
