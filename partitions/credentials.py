"""Finds credentials in URLs, and writes the URLs without them.

In a path, a segment is a token if its letters and digits look random: `/rss/Zk3fQ9xLw2PbT8vN5rYc/feed.xml`. Hex numbers
and UUIDs, which public addresses have too, count only beside a word such as `private` or on a host of paid feeds.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import SplitResult, unquote, urlsplit

HIDDEN = "***"

_URL = re.compile(r"\w+://[^\s\"'<>]+")
_SECRET_NAME = re.compile(
    r".*(?:token|secret|passw|pwd|signature|credential|api-?_?key|auth(?!or)|jwt|hmac|session).*"
    r"|key|sig|pass|hash|policy|x-(?:amz|goog)-.*",
    re.IGNORECASE,
)
_PAID_HOSTS = (
    "patreon.com", "patreonusercontent.com", "supportingcast.fm", "supercast.com", "supercast.tech", "memberful.com",
    "glow.fm", "substack.com", "memberfulcontent.com", "plus.acast.com", "floatplane.com",
)  # fmt: skip
_PRIVATE_WORD = re.compile(
    r"rss|private.*|premium.*|members?|memberfeed|subscribers?|subscriptions?|patrons?|plus|paid|auth|tokens?|secret"
    r"|u|users?|personal",
    re.IGNORECASE,
)
_TOKEN = re.compile(r"[A-Za-z0-9_~+=.-]{10,}")
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]+(\.[\w-]*)?")
_FILE_SUFFIX = re.compile(
    r"\.(?:rss|xml|json|php|aspx?|html?|mp3|m4a|m4b|aac|ogg|opus|flac|wav|mp4|webm|vtt|srt)$", re.I
)
_IDENTIFIER = re.compile(r"[0-9a-f]{10,}|[0-9A-F]{10,}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SHORTEST_RANDOM = 20
_MAYBE = re.compile(
    rf"[@?]|eyJ|[\w~+=.%-]{{{_SHORTEST_RANDOM}}}|/(?:{_PRIVATE_WORD.pattern})/|{'|'.join(map(re.escape, _PAID_HOSTS))}",
    re.IGNORECASE,
)
"""Most URLs of audio do not match, which saves nine tenths of the time."""
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_MEAN_RANDOM_PIECE = 2.7
"""Letters of one case, or digits, that follow each other: 1.8 in random text, over 3 in words and dates."""


def without_credentials(text: str) -> str:
    """The text, with `***` for the user information, the secret parameters and the tokens in paths of every URL."""
    return _URL.sub(lambda found: _shown(found.group(0)), text) if "://" in text else text


@lru_cache(maxsize=1 << 14)
def _shown(url: str) -> str:
    if not _MAYBE.search(url, url.index("://") + 3):
        return url
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return url
    user, at, netloc = parts.netloc.rpartition("@")
    query = "&".join(_parameter(part) for part in parts.query.split("&"))
    path = _path(parts, host)
    if not user and query == parts.query and path == parts.path:
        return url
    return parts._replace(netloc=f"{HIDDEN}{at}{netloc}" if user else netloc, query=query, path=path).geturl()


def _parameter(part: str) -> str:
    name, equals, value = part.partition("=")
    return f"{name}={HIDDEN}" if equals and value and _SECRET_NAME.fullmatch(name) else part


def _path(parts: SplitResult, host: str) -> str:
    is_paid = any(host == name or host.endswith(f".{name}") for name in _PAID_HOSTS)
    segments = parts.path.split("/")
    shown = []
    for index, segment in enumerate(segments):
        suffix = found.group(0) if (found := _FILE_SUFFIX.search(segment)) else ""
        name = segment.removesuffix(suffix)
        is_private = is_paid or any(_PRIVATE_WORD.fullmatch(before) for before in segments[:index])
        shown.append(HIDDEN + suffix if _is_token(unquote(name), is_private) else segment)
    return "/".join(shown)


def _is_token(name: str, is_private: bool) -> bool:
    if _JWT.fullmatch(name):
        return True
    if not _TOKEN.fullmatch(name):
        return False
    if _IDENTIFIER.fullmatch(name):
        return is_private and not name.isdigit()
    kinds = sum(bool(re.search(kind, name)) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    enough = kinds >= 2 if is_private else kinds == 3 and len(name) >= _SHORTEST_RANDOM
    pieces = _PIECE.findall(name)
    return enough and sum(map(len, pieces)) / len(pieces) <= _MEAN_RANDOM_PIECE
