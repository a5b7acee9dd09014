"""Finds credentials in URLs, and writes the URLs without them.

In a path, a segment is a token if its letters and digits look random: `/rss/Zk3fQ9xLw2PbT8vN5rYc/feed.xml`. Hex numbers
and UUIDs, which public addresses have too, count only beside a word such as `private` or on a host of paid feeds.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote, urlsplit

HIDDEN = "***"

LONGEST_URL = 8192
_URL = re.compile(rf"(?:\b\w+:|(?<![\w:/]))//(?:[^\s/?#\"<>]{{0,1000}}@)?[^\s\"'<>]{{1,{LONGEST_URL}}}")
"""In a text, where quotation marks end it, except in the user information. The part before the colon is found at the
start of a word only: a search from each letter of a long word takes quadratic time."""
_WHOLE_URL = re.compile(rf"\w+://[^\s<]{{1,{LONGEST_URL}}}")
_UNREADABLE = re.compile(r"(?<=//)[^?#]*@|(?<=[?#]).+", re.DOTALL)
"""What is hidden in a URL that cannot be split: all up to the last `@`, and the query."""
_NESTED = re.compile(r"\b\w+://.*", re.DOTALL)
MOST_NESTED = 3
"""URLs inside of URLs that are read. Deeper ones are hidden."""
_SEPARATOR = re.compile(r"([&;])")
_MATRIX_PARAMETER = re.compile(r";([^;=]+)=[^;]+")
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
    rf"[@?#;]|%40|eyJ|[\w~+=.%-]{{{_SHORTEST_RANDOM}}}|/(?:{_PRIVATE_WORD.pattern})/|{'|'.join(map(re.escape, _PAID_HOSTS))}",
    re.IGNORECASE,
)
"""Most URLs of audio do not match, which saves nine tenths of the time."""
_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_MEAN_RANDOM_PIECE = 2.7
"""Letters of one case, or digits, that follow each other: 1.8 in random text, over 3 in words and dates."""


def without_credentials(text: str) -> str:
    """The text, with `***` for the user information, the secret parameters and the tokens in paths of every URL."""
    return _of_text(text, 0) if "//" in text else text


def _of_text(text: str, depth: int) -> str:
    if _WHOLE_URL.fullmatch(text):
        return _shown(text, depth)
    return _URL.sub(lambda found: _shown(found.group(0), depth), text)


@lru_cache(maxsize=1 << 14)
def _shown(url: str, depth: int) -> str:
    if not _MAYBE.search(url, url.index("//") + 2):
        return url
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return _UNREADABLE.sub(lambda found: f"{HIDDEN}@" if found.group(0).endswith("@") else HIDDEN, url)
    user, at, netloc = parts.netloc.rpartition("@")
    query, fragment = _parameters(parts.query, depth), _parameters(parts.fragment, depth)
    path = _path(parts.path, host, depth)
    if not user and (query, fragment, path) == (parts.query, parts.fragment, parts.path):
        return url
    netloc = f"{HIDDEN}{at}{netloc}" if user else netloc
    return parts._replace(netloc=netloc, query=query, fragment=fragment, path=path).geturl()


def _parameters(query: str, depth: int) -> str:
    """`;` separates parameters too, also in `&amp;`, by which HTML writes `&`; or it is part of a secret."""
    shown, separator, is_secret = [], "&", False
    for part in _SEPARATOR.split(query):
        name, equals, value = part.partition("=")
        if part in ("&", ";"):
            separator = part
            shown.append(part)
        elif is_secret and separator == ";" and part and not equals:
            shown.append(HIDDEN)
        else:
            is_secret = bool(equals and value and _SECRET_NAME.fullmatch(unquote(name) if "%" in name else name))
            rest = HIDDEN if is_secret else _nested(value, depth)
            shown.append(f"{name}={rest}" if equals else _nested(part, depth))
    return "".join(shown)


def _nested(value: str, depth: int) -> str:
    """A value that may be a URL itself."""
    plain = unquote(value) if "%" in value else value
    if "//" not in plain:
        return value
    if depth == MOST_NESTED:
        return HIDDEN
    shown = _of_text(plain, depth + 1)
    return value if shown == plain else shown if plain == value else HIDDEN


def _path(path: str, host: str, depth: int) -> str:
    """The path. It may end with a URL, as those of trackers do."""
    nested = found.group(0) if (found := _NESTED.search(path)) else ""
    is_private = any(host == name or host.endswith(f".{name}") for name in _PAID_HOSTS)
    shown = []
    for segment in path.removesuffix(nested).split("/"):
        suffix = found.group(0) if (found := _FILE_SUFFIX.search(segment)) else ""
        name = segment.removesuffix(suffix)
        is_hidden = _is_token(unquote(name), is_private) or _nested(name, depth) != name
        shown.append(HIDDEN + suffix if is_hidden else _segment(segment))
        is_private = is_private or bool(_PRIVATE_WORD.fullmatch(segment))
    return "/".join(shown) + (_nested(nested, depth) if nested else "")


def _segment(segment: str) -> str:
    """Without a user and a password (`name:password@host`), and without secret parameters after `;`."""
    user, at, host = segment.rpartition("@")
    if ":" in user:
        segment = f"{HIDDEN}{at}{host}"
    return _MATRIX_PARAMETER.sub(
        lambda found: f";{found.group(1)}={HIDDEN}" if _SECRET_NAME.fullmatch(found.group(1)) else found.group(0),
        segment,
    )


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
