"""What a path or URL turns out to be when one looks at its first bytes: a feed, a list of feeds, or audio."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from partitions.feeds.encodings import feed_text
from partitions.feeds.links import web_url
from partitions.feeds.opml import parse_opml
from partitions.feeds.rss import parse_feed
from resources.fetch.exchange import body, get, refuse_larger, refuse_short, refuse_unless
from resources.fetch.hosts import FetchPolicy
from resources.fetch.http import DOCUMENT_LIMIT_BYTES, DOCUMENT_WITHIN_S
from speech.containers import UNTRUSTED
from speech.errors import NotAFeed, NotAudio, NotFound

MOST_LINKS = 20
"""Feeds of a web page that are named."""
BEGINNING_BYTES = 1 << 16
"""Enough to tell what a document is, and for most containers what they hold."""


@dataclass(frozen=True)
class Target:
    """What there is to add."""

    feeds: tuple[tuple[str, str | None], ...] = ()
    """URL (or absolute path) and title of each."""
    audio: str | None = None
    """URL or absolute path."""


def is_url(text: str) -> bool:
    return web_url(text) is not None


def recognise(text: str, policy: FetchPolicy) -> Target:
    """Look at a URL or path and say what it is.

    Raises NotFound, NotAFeed (also for a web page, with the feeds that it names), NotAudio, and what HTTP raises.
    """
    return _at_url(url, policy) if (url := web_url(text)) else _at_path(Path(text).expanduser().resolve())


def _at_path(path: Path) -> Target:
    if not path.is_file():
        what = "is a folder: name the files in it" if path.is_dir() else "does not exist, and is no http(s) URL"
        raise NotFound(f"{path} {what}.")
    with path.open("rb") as stream:
        kind = _markup(stream.read(BEGINNING_BYTES))
    if kind is None:
        _require_audio(path, str(path))
        return Target(audio=str(path))
    return _document(kind, path.read_bytes(), str(path), None)


def _at_url(url: str, policy: FetchPolicy) -> Target:
    with get(url, {"Accept": "*/*"}, policy) as exchange:
        refuse_unless(exchange, 200, 203)
        chunks = body(exchange, 60.0, DOCUMENT_LIMIT_BYTES, DOCUMENT_WITHIN_S)
        document = bytearray()
        _fill(document, chunks, BEGINNING_BYTES)
        content_type = exchange.header("Content-Type") or ""
        kind = _markup(bytes(document))
        if kind is None:
            # A container whose index stands at its end cannot be told by its beginning: the server's word must do.
            if not content_type.lower().startswith(("audio/", "video/")):
                _require_audio(io.BytesIO(document), url)
            return Target(audio=url)
        _fill(document, chunks, DOCUMENT_LIMIT_BYTES + 1)
        refuse_larger(exchange, len(document), DOCUMENT_LIMIT_BYTES)
        refuse_short(exchange)
    return _document(kind, bytes(document), url, content_type)


def _fill(document: bytearray, chunks: Iterator[bytes], size: int) -> None:
    """Read on until the document has that many bytes, or ends."""
    while len(document) < size and (chunk := next(chunks, None)) is not None:
        document += chunk


_MARKUP = (
    ("opml", r"<opml[\s>]"),
    ("feed", r"<(?:\w+:)?(?:rss|rdf|feed|channel)[\s>]"),
    ("page", r"<!doctype html|<(?:html|head|body)[\s>]"),
)


def _markup(beginning: bytes) -> str | None:
    """The kind of document that the first tag known to us makes it; None where there is none."""
    text, _ = feed_text(beginning)
    found = {kind: tag.start() for kind, pattern in _MARKUP if (tag := re.search(pattern, text, re.IGNORECASE))}
    return min(found, key=found.__getitem__) if found else None


def _document(kind: str, document: bytes, where: str, content_type: str | None) -> Target:
    if kind == "opml":
        return Target(feeds=tuple((feed.url, feed.title) for feed in parse_opml(document)))
    if kind == "page":
        raise NotAFeed(_page_message(where, feed_text(document, content_type)[0]))
    return Target(feeds=((where, parse_feed(document, url=where, content_type=content_type).title),))


def _page_message(where: str, text: str) -> str:
    """A web page is no feed, but may say where its feeds are."""
    links = list(_feed_links(where, text)) if is_url(where) else []
    if not links:
        return f"{where} is a web page, not a feed, and it names none. Look for “RSS” on it and add that address."
    return f"{where} is a web page, not a feed. It names:\n" + "\n".join(
        f"  podlake add {shlex.quote(link)}" for link in links
    )


def _feed_links(where: str, text: str) -> Iterator[str]:
    """The feeds that a page names, a few of them: it may be hostile."""
    from lxml import etree, html

    try:
        links = html.document_fromstring(text.encode(), parser=html.HTMLParser(encoding="utf-8")).iter("link")
    except etree.ParserError:  # nothing but comments
        return
    named = (
        link.get("href", "")
        for link in links
        if "alternate" in link.get("rel", "").lower().split()
        and link.get("type", "").lower() in ("application/rss+xml", "application/atom+xml")
    )
    for href in islice(filter(None, named), MOST_LINKS):
        with suppress(ValueError):
            link = urljoin(where, href.strip())
            if link.isprintable() and is_url(link):
                yield link


def _require_audio(source: Path | io.BytesIO, where: str) -> None:
    """Raises NotAudio where the bytes hold no audio stream."""
    import av

    try:
        # A file's name has a scheme of its own, so that FFmpeg takes no part of it for another protocol.
        name = f"file:{source}" if isinstance(source, Path) else source
        with av.open(name, options=UNTRUSTED, metadata_errors="ignore") as container:
            if container.streams.audio:
                return
        reason = "it has no sound"
    except (av.FFmpegError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error)
    name = urlsplit(where).path.rpartition("/")[2] or where
    raise NotAudio(
        f"{where} is neither a feed, nor a list of feeds, nor audio ({reason}). "
        f"Check that {name} is what you meant; a feed that cannot be reached now is added with --no-check."
    )
