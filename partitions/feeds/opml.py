"""Reads OPML, the format in which podcast apps export subscriptions."""

from __future__ import annotations

from dataclasses import dataclass

from partitions.feeds.encodings import feed_text
from partitions.feeds.links import web_url
from partitions.feeds.markup import from_root, read_tree
from speech.errors import NotAFeed


@dataclass(frozen=True, slots=True)
class OpmlFeed:
    """A feed that the file lists."""

    url: str
    title: str | None


def parse_opml(document: bytes) -> tuple[OpmlFeed, ...]:
    """Every outline with an `xmlUrl` of the web, at any depth, in document order, each URL once.

    Raises NotAFeed if there is none.
    """
    text, _ = feed_text(document)
    body = from_root(text, ("opml", "body", "outline"))
    root = read_tree(body) if body else None
    found: dict[str, str | None] = {}
    for outline in root.iter("{*}outline") if root is not None else ():
        attributes = {str(name).lower(): str(value).strip() for name, value in outline.attrib.items()}
        if url := web_url(attributes.get("xmlurl", "")):  # a list from elsewhere must not name files of this machine
            found[url] = found.get(url) or attributes.get("title") or attributes.get("text") or None
    if not found:
        raise NotAFeed(
            "The file has no subscription: no <outline> with an xmlUrl. "
            "Export your subscriptions as OPML from a podcast app, or subscribe to a feed's URL directly."
        )
    return tuple(OpmlFeed(url, title) for url, title in found.items())
