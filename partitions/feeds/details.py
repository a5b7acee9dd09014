"""What a feed and its items say about themselves beyond what podlake works with: texts, people, licences, payments."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Annotated

import pyarrow as pa
from lxml import etree, html

from partitions.feeds.markup import Fields, absolute_url, first_text, text_of

LONGEST_TEXT = 50_000
LONGEST_VALUE = 500
MOST_ENTRIES = 100

Int32 = Annotated[int, pa.int32()]


@dataclass(frozen=True, slots=True)
class Person:
    """podcast:person."""

    name: str
    role: str | None
    group: str | None
    url: str | None
    image_url: str | None


@dataclass(frozen=True, slots=True)
class Link:
    """A URL and its text."""

    url: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Recipient:
    """podcast:valueRecipient: whom listeners can pay."""

    name: str | None
    type: str | None
    address: str
    split: Int32 | None
    method: str | None
    """Of the podcast:value element, such as `keysend`."""


@dataclass(frozen=True, slots=True)
class Details:
    """The same for a feed and for an item. None or empty: it says nothing."""

    description_html: str | None
    description_text: str | None
    link: str | None
    image_url: str | None
    explicit: bool | None
    authors: tuple[str, ...]
    kind: str | None
    """itunes:episodeType of an item, itunes:type of a feed."""
    persons: tuple[Person, ...] = ()
    license: str | None = None
    license_url: str | None = None
    blocked: bool | None = None
    locked: bool | None = None
    """Of a feed only."""
    funding: tuple[Link, ...] = ()
    value: tuple[Recipient, ...] = ()


def details_of(fields: Fields) -> Details:
    description = first_text(
        fields, "content:encoded", "description", "content", "itunes:summary", "summary", "subtitle"
    )
    usual = Details(
        description_html=description[:LONGEST_TEXT] if description else None,
        description_text=plain_text(description) if description else None,
        link=_link(fields),
        image_url=_image(fields),
        explicit=_yes(first_text(fields, "itunes:explicit")),
        authors=_authors(fields),
        kind=short(first_text(fields, "itunes:episodetype", "itunes:type")),
    )
    if _RARE.isdisjoint(fields):  # nearly always, and a look at each of them takes a quarter of the time
        return usual
    licenses = fields.get("podcast:license", []) + fields.get("creativecommons:license", [])
    return replace(
        usual,
        persons=tuple(_person(element) for element in fields.get("podcast:person", [])[:MOST_ENTRIES]),
        license=short(text_of(licenses[0])) if licenses else None,
        license_url=next((url for one in licenses if (url := _license_url(one))), None),
        blocked=_blocked(fields),
        locked=_yes(first_text(fields, "podcast:locked")),
        funding=_funding(fields),
        value=_recipients(fields),
    )


_RARE = frozenset({
    "podcast:person", "podcast:license", "creativecommons:license", "itunes:block", "podcast:block", "podcast:locked",
    "podcast:funding", "podcast:value",
})  # fmt: skip


def plain_text(markup: str) -> str | None:
    """The text of HTML, blocks separated by line breaks. Scripts and styles are left out."""
    if "<" not in markup and "&" not in markup:
        text = markup
    else:
        try:
            root = html.fromstring(f"<div>{re.sub(_BREAK, chr(10), markup[:LONGEST_TEXT])}</div>")
        except (etree.ParserError, ValueError):
            return None
        etree.strip_elements(root, "script", "style", etree.Comment, with_tail=False)
        text = str(root.text_content())
    lines = (" ".join(line.split()) for line in text[:LONGEST_TEXT].splitlines())
    return "\n".join(line for line in lines if line) or None


_BREAK = re.compile(r"(?=<(?:br|p|div|li|h[1-6]|tr)\b)", re.IGNORECASE)


def short(text: str | None) -> str | None:
    """In one line of limited length. None for an empty one."""
    return " ".join(text.split())[:LONGEST_VALUE] or None if text else None


def _link(fields: Fields) -> str | None:
    for element in fields.get("link", ()):
        if element.get("rel") in (None, "alternate") and (
            url := absolute_url(element, element.get("href") or text_of(element))
        ):
            return url
    return None


def _image(fields: Fields) -> str | None:
    for name, attribute in (("itunes:image", "href"), ("media:thumbnail", "url"), ("logo", ""), ("icon", "")):
        for element in fields.get(name, ()):
            if url := absolute_url(element, element.get(attribute) if attribute else text_of(element)):
                return url
    images = (
        absolute_url(one, text_of(part)) for one in fields.get("image", ()) for part in one.iterchildren("{*}url")
    )
    return next((url for url in images if url), None)


def _license_url(element: etree._Element) -> str | None:
    """podcast:license has it as an attribute, creativeCommons:license as its text."""
    text = text_of(element)
    return absolute_url(element, element.get("url") or (text if text.startswith(("http://", "https://")) else None))


def _yes(text: str | None) -> bool | None:
    word = (text or "").strip().lower()
    return True if word in ("yes", "true", "explicit") else False if word in ("no", "false", "clean") else None


def _blocked(fields: Fields) -> bool | None:
    """Whether every directory is asked to leave it out; podcast:block with an id concerns one of them."""
    words = [text_of(element) for element in fields.get("itunes:block", ())]
    words += [text_of(element) for element in fields.get("podcast:block", ()) if not element.get("id")]
    known = [answer for word in words if (answer := _yes(word)) is not None]
    return any(known) if known else None


def _authors(fields: Fields) -> tuple[str, ...]:
    found = [text_of(element) for name in ("itunes:author", "dc:creator") for element in fields.get(name, ())]
    for element in fields.get("author", ()):  # Atom's has a name inside, that of RSS is text
        names = [text_of(part) for part in element.iterchildren("{*}name")]
        found += names or [text_of(element)]
    return tuple(dict.fromkeys(name for text in found[:MOST_ENTRIES] if (name := short(text))))


def _person(element: etree._Element) -> Person:
    role, group = (short(element.get(name)) for name in ("role", "group"))
    urls = (absolute_url(element, element.get(name)) for name in ("href", "img"))
    return Person(short(text_of(element)) or "", role, group, *urls)


def _funding(fields: Fields) -> tuple[Link, ...]:
    links = ((absolute_url(one, one.get("url")), one) for one in fields.get("podcast:funding", [])[:MOST_ENTRIES])
    return tuple(Link(url, short(text_of(element))) for url, element in links if url)


def _recipients(fields: Fields) -> tuple[Recipient, ...]:
    return tuple(
        Recipient(short(one.get("name")), short(one.get("type")), address, _split(one.get("split")), short(value.get("method")))
        for value in fields.get("podcast:value", ())[:MOST_ENTRIES]
        for one in list(value.iterchildren("{*}valueRecipient"))[:MOST_ENTRIES]
        if (address := short(one.get("address")))
    )[:MOST_ENTRIES]  # fmt: skip


def _split(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,9}", text) else None
