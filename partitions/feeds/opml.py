"""The subscriptions in an OPML file, the format in which podcast apps export them."""

from __future__ import annotations

from dataclasses import dataclass

from partitions.feeds.encodings import feed_text
from partitions.feeds.markup import from_root, read_tree
from speech.errors import NotAFeed


@dataclass(frozen=True, slots=True)
class Subscription:
    """A feed that somebody subscribes to."""

    url: str
    title: str | None


def parse_opml(document: bytes) -> tuple[Subscription, ...]:
    """Every outline with an `xmlUrl`, at any depth, in document order; the same URL once.

    Raises NotAFeed where there is none.
    """
    text, _ = feed_text(document)
    body = from_root(text, ("opml", "body", "outline"))
    root = read_tree(body) if body else None
    found: dict[str, str | None] = {}
    for outline in root.iter("{*}outline") if root is not None else ():
        attributes = {str(name).lower(): str(value).strip() for name, value in outline.attrib.items()}
        if url := attributes.get("xmlurl"):
            found[url] = found.get(url) or attributes.get("title") or attributes.get("text") or None
    if not found:
        raise NotAFeed(
            "The file holds no subscription: no <outline> with an xmlUrl. "
            "Export your subscriptions as OPML from a podcast app, or subscribe to a feed's URL directly."
        )
    return tuple(Subscription(url, title) for url, title in found.items())
