"""HTTP downloads: feeds with conditional GET, audio with resumption.

No function retries: the batch contract does, by the class of the error. The next try resumes a partial
download.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

from resources.fetch.codings import codings_of
from resources.fetch.exchange import Exchange, body, get, refuse_larger, refuse_short, refuse_unless, shown
from resources.fetch.hosts import FetchPolicy
from resources.fetch.part_file import Origin, PartFile, url_sha256
from speech.errors import HttpRefused, NetworkError, TooLarge

DOCUMENT_LIMIT_BYTES = 64 * 1024**2
DOCUMENT_WITHIN_S = 110.0
DOWNLOAD_LIMIT_BYTES = 2 * 1024**3


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The headers of a response."""

    requested_url: str
    final_url: str
    redirect_chain: tuple[tuple[str, int], ...]
    """Every URL that redirected, with the status it did so with."""
    http_status: int
    etag: str | None
    last_modified: str | None
    content_type: str | None
    fetched_at: datetime


@dataclass(frozen=True, kw_only=True)
class NotModified(Answer):
    """The caller's copy is current."""

    not_modified: ClassVar[Literal[True]] = True


@dataclass(frozen=True, kw_only=True)
class Document(Answer):
    """A document in memory."""

    not_modified: ClassVar[Literal[False]] = False
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Download(Answer):
    """A file on disk, and its SHA-256 in hex."""

    not_modified: ClassVar[Literal[False]] = False
    path: Path
    sha256: str
    bytes: int
    resumed: bool
    """Whether it continued a partial download."""


def fetch_document(
    url: str,
    policy: FetchPolicy,
    *,
    etag: str | None = None,
    last_modified: str | None = None,
    limit_bytes: int = DOCUMENT_LIMIT_BYTES,
    patience_s: float = 60.0,
    within_s: float = DOCUMENT_WITHIN_S,
) -> Document | NotModified:
    """GET a document, unless it is still the one that `etag` and `last_modified` came with.

    `patience_s` is how far the server may lag behind `connections.SLOWEST_BYTES_PER_S`; `within_s` is for all of it.
    Raises NotFound, RateLimited, HttpRefused, HttpServerError, NetworkError, TooLarge.
    """
    conditions = _conditions(etag, last_modified)
    with get(url, {"Accept": _FEED_TYPES} | conditions, policy) as exchange:
        if conditions and exchange.status == 304:
            return NotModified(**_exchange_fields(exchange))
        refuse_unless(exchange, 200, 203)
        content = bytearray()
        for chunk in body(exchange, patience_s, limit_bytes, within_s):
            content += chunk
            refuse_larger(exchange, len(content), limit_bytes)
        refuse_short(exchange)
        return Document(**_exchange_fields(exchange), content=bytes(content))


def download(
    url: str,
    target: Path,
    policy: FetchPolicy,
    *,
    known_etag: str | None = None,
    known_last_modified: str | None = None,
    limit_bytes: int = DOWNLOAD_LIMIT_BYTES,
    patience_s: float = 60.0,
) -> Download | NotModified:
    """GET a file to `target`, hashed on the way; go on from what an earlier try left, if it is of the same file.

    With `known_etag` or `known_last_modified` nothing is sent if the file is still that one. Never is a
    short file taken for the whole: `target` appears complete or not at all.
    Raises NotFound, RateLimited, HttpRefused, HttpServerError, NetworkError, TooLarge, StorageError.
    """
    with PartFile(target) as part:
        if part.origin and part.origin.validator and part.origin.url_sha256 == url_sha256(url):
            rest = {"Range": f"bytes={part.size}-", "If-Range": part.origin.validator}
            with get(url, _AUDIO | rest, policy) as exchange:
                refuse_unless(exchange, 200, 203, 206, 416)
                if exchange.status in (200, 203) or _continues(exchange, part):
                    return _received(exchange, part, target, limit_bytes, patience_s)
        # From the start: there is nothing to go on from, or not in a way that the server understands.
        conditions = _conditions(known_etag, known_last_modified)
        with get(url, _AUDIO | conditions, policy) as exchange:
            if conditions and exchange.status == 304:
                part.discard()
                return NotModified(**_exchange_fields(exchange))
            refuse_unless(exchange, 200, 203)
            return _received(exchange, part, target, limit_bytes, patience_s)


_FEED_TYPES = "application/rss+xml, application/atom+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.5"
_AUDIO = {"Accept": "audio/*, video/*;q=0.9, */*;q=0.5", "Accept-Encoding": "identity"}


def _received(exchange: Exchange, part: PartFile, target: Path, limit_bytes: int, patience_s: float) -> Download:
    """Write the body to disk."""
    _refuse_radio(exchange)
    resumed = exchange.status == 206
    if not resumed:
        part.start_over(Origin(url_sha256(exchange.url), _validator(exchange), _total_bytes(exchange)))
    try:
        refuse_larger(exchange, _total_bytes(exchange) or 0, limit_bytes)
        for chunk in body(exchange, patience_s, limit_bytes):
            part.append(chunk)
            refuse_larger(exchange, part.size, limit_bytes)
    except TooLarge:
        part.discard()
        raise
    refuse_short(exchange)
    if not _is_coded(exchange) and part.size != (_total_bytes(exchange) or part.size):
        raise NetworkError(
            f"The server ended after {part.size} of {_total_bytes(exchange)} bytes. Another try goes on from there."
        )
    sha256 = part.finish()
    return Download(**_exchange_fields(exchange), path=target, sha256=sha256, bytes=part.size, resumed=resumed)


def _refuse_radio(exchange: Exchange) -> None:
    """Raises HttpRefused for a live stream, which would be read for a day until it is too large."""
    if _total_bytes(exchange) is None and any(name.startswith("icy-") for name in exchange.response.headers):
        raise HttpRefused(
            f"{shown(exchange.url)} is a live stream of a radio (it has icy- headers and no length), which has no end. "
            "An episode is a file."
        )


def _continues(exchange: Exchange, part: PartFile) -> bool:
    """Whether the answer is the rest of the file that the part is the start of."""
    span, _, total = (exchange.header("Content-Range") or "").removeprefix("bytes ").partition("/")
    known_total = part.origin.total_bytes if part.origin else None
    is_same_length = known_total is None or total in ("*", str(known_total))
    starts_there = span.startswith(f"{part.size}-")
    return exchange.status == 206 and starts_there and is_same_length and _is_same_version(exchange, part)


def _is_same_version(exchange: Exchange, part: PartFile) -> bool:
    """Not every server that knows Range knows If-Range."""
    now, then = _validator(exchange), part.origin.validator if part.origin else None
    return not _is_coded(exchange) and now in (None, then)


def _total_bytes(exchange: Exchange) -> int | None:
    """The whole file's length, as announced."""
    of_range = (exchange.header("Content-Range") or "").rpartition("/")[2]
    length = of_range if exchange.status == 206 else exchange.header("Content-Length") or ""
    return int(length) if length.isascii() and length.isdigit() else None


def _is_coded(exchange: Exchange) -> bool:
    """Some servers compress although they were asked not to."""
    return bool(codings_of(exchange.header("Content-Encoding")))


def _validator(exchange: Exchange) -> str | None:
    """What proves later that two answers are of the same bytes (RFC 9110, sections 8.8 and 13.1.5)."""
    etag = exchange.header("ETag")
    if _is_coded(exchange):
        return None
    if etag and etag.startswith('"'):
        return etag
    modified = exchange.header("Last-Modified")
    try:
        age = parsedate_to_datetime(exchange.header("Date") or "") - parsedate_to_datetime(modified or "")
    except (ValueError, TypeError):
        return None
    # A file that changed twice within a second has one date for both.
    return modified if age >= timedelta(seconds=60) else None


def _exchange_fields(exchange: Exchange) -> dict[str, Any]:
    return {
        "requested_url": exchange.url,
        "final_url": str(exchange.response.url),
        "redirect_chain": exchange.redirect_chain,
        "http_status": exchange.status,
        "etag": exchange.header("ETag"),
        "last_modified": exchange.header("Last-Modified"),
        "content_type": exchange.header("Content-Type"),
        "fetched_at": datetime.now(UTC),
    }


def _conditions(etag: str | None, last_modified: str | None) -> dict[str, str]:
    conditions = {"If-None-Match": etag, "If-Modified-Since": last_modified}
    return {name: value for name, value in conditions.items() if value}
