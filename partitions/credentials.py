"""Finds credentials in URLs, and writes the URLs without them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

HIDDEN = "***"

_URL = re.compile(r"\w+://[^\s\"'<>]+")
_SECRET_NAME = re.compile(
    r".*(?:token|secret|passw|pwd|signature|credential|api-?_?key|auth(?!or)|jwt|hmac|session).*"
    r"|key|sig|pass|hash|policy|x-(?:amz|goog)-.*",
    re.IGNORECASE,
)


def without_credentials(text: str) -> str:
    """The text, with `***` for the user information and the secret parameters of every URL in it."""
    return _URL.sub(lambda found: _shown(found.group(0)), text) if "://" in text else text


def _shown(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    user, at, host = parts.netloc.rpartition("@")
    query = "&".join(_parameter(part) for part in parts.query.split("&"))
    if not user and query == parts.query:
        return url
    return parts._replace(netloc=f"{HIDDEN}{at}{host}" if user else host, query=query).geturl()


def _parameter(part: str) -> str:
    name, equals, value = part.partition("=")
    return f"{name}={HIDDEN}" if equals and value and _SECRET_NAME.fullmatch(name) else part
