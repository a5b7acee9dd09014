"""Reads links to feeds: http(s), and the schemes by which web pages open podcast apps."""

from __future__ import annotations

import re

_LINK = re.compile(
    r"(?:(?:feed|itpc|itms|itms-pcast|pcast|podcast):(?://)?)?(?:(https?)://)?(?=[^\s/:]+[./:])", re.IGNORECASE
)


def web_url(link: str) -> str | None:
    """The http(s) URL that a link means: `feed://a.org/x`, `feed:https://a.org/x`, `HTTP://a.org/x`. None for others."""
    link = link.strip()
    found = _LINK.match(link)
    if not found or not found.group(0):
        return None
    return f"{(found.group(1) or 'http').lower()}://{link[found.end() :]}"
