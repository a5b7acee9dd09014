"""Reads a podcast feed, RSS or Atom: every episode that has audio or video.

An invalid item does not affect others. A missing or unreadable value is None. `Feed.problems` lists what was repaired
or left out.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from partitions.credentials import without_credentials
from partitions.feeds.details import MOST_ENTRIES, Details, details_of, short
from partitions.feeds.enclosures import audio_enclosures
from partitions.feeds.encodings import feed_text
from partitions.feeds.markup import Fields, absolute_url, first_text, from_root, read_items, text_of
from partitions.feeds.times import parse_date, parse_duration_ms
from partitions.keys import media_identity
from speech.errors import NotAFeed


@dataclass(frozen=True, slots=True)
class TranscriptLink:
    """A transcript that the publisher offers."""

    url: str
    type: str | None
    language: str | None


@dataclass(frozen=True, slots=True)
class Episode:
    """One item of a feed that has audio or video."""

    guid: str
    """Unique in its feed."""
    title: str | None
    published_at: datetime | None
    """In UTC."""
    duration_declared_ms: int | None
    enclosure_url: str
    """Absolute."""
    enclosure_type: str | None
    enclosure_length: int | None
    """Bytes, as declared; often wrong."""
    season: int | None
    episode_no: int | None
    language_declared: str | None
    transcript_urls: tuple[TranscriptLink, ...]
    chapters_url: str | None
    alternative_urls: tuple[str, ...] = ()
    """Other files of the item, in the order in which they are tried."""
    details: Details | None = None


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed and its episodes, in document order."""

    podcast_guid: str | None
    title: str | None
    author: str | None
    language: str | None
    """As declared. `partitions.languages` normalises it."""
    categories: tuple[str, ...]
    license: str | None
    canonical_url: str | None
    """The address that the feed declares: itunes:new-feed-url, else its link to itself."""
    episodes: tuple[Episode, ...]
    problems: tuple[str, ...]
    """What was repaired or skipped, in words."""
    details: Details | None = None
    moved_to: str | None = None
    """The address that the feed says it has now: itunes:new-feed-url."""
    next_url: str | None = None
    """The next page of a paged feed (RFC 5005)."""


def parse_feed(document: bytes, *, url: str, content_type: str | None = None) -> Feed:
    """Read a feed that was fetched from `url`; `content_type` is the header's, if there was one.

    Raises NotAFeed for anything but RSS, RDF or Atom, and TooLarge for a zip bomb.
    """
    text, problems = feed_text(document, content_type)
    feed_xml = from_root(text, ("rss", "RDF", "feed", "channel"))
    if feed_xml is None or _PAGE.search(text[: min(len(text) - len(feed_xml), 4096)]):
        raise NotAFeed(
            f"{without_credentials(url)} is not a podcast feed: {_what_it_is(text)}. Check the address in a browser."
        )
    del text  # may be large, and its part from the root element on is a copy
    is_tagged = "xml:lang" in feed_xml  # nearly never, and a look at the ancestors of each item takes long
    read = partial(_readable, is_tagged=is_tagged)
    head, items, repaired = read_items(feed_xml, url=url, items=("item", "entry"), read=read)
    notes = Counter(note for _, own in items for note in own)
    episodes = _distinct([episode for episode, _ in items if episode], notes)
    noted = [f"{count} × {note}" if count > 1 else note for note, count in notes.items()]
    problems += repaired + noted[:MOST_NOTES]
    problems += [f"and {len(noted) - MOST_NOTES} other kinds of problems"] if len(noted) > MOST_NOTES else []
    return Feed(
        podcast_guid=short(first_text(head, "podcast:guid")),
        title=_title(head),
        author=short(first_text(head, "itunes:author", "author", "dc:creator", "managingeditor")),
        language=_language(head, is_tagged=is_tagged),
        categories=_categories(head),
        license=_license(head),
        canonical_url=_canonical_url(head),
        episodes=episodes,
        problems=tuple(problems),
        details=details_of(head),
        moved_to=next(
            (url for url in (absolute_url(e, text_of(e)) for e in head.get("itunes:new-feed-url", ())) if url), None
        ),
        next_url=next((absolute_url(e, e.get("href")) for e in head.get("link", ()) if e.get("rel") == "next"), None),
    )


_PAGE = re.compile(r"<!doctype\s+html|<(?:html|head|body)[\s>]", re.IGNORECASE)
"""Before the root element: a web page that quotes a feed."""
MOST_NOTES = 50
LONGEST_TITLE = 500
LONGEST_GUID = 1000
MOST_ALTERNATIVES = 5
MOST_TRANSCRIPTS = 20


def _readable(item: Fields, *, is_tagged: bool) -> tuple[Episode | None, tuple[str, ...]]:
    """The item, and what is noted of it."""
    notes: list[str] = []
    try:
        return _episode(item, notes, is_tagged=is_tagged), tuple(notes)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with an item, the others are read
        return None, (*notes, f"item that cannot be read skipped ({type(error).__name__})")


def _episode(item: Fields, notes: list[str], *, is_tagged: bool) -> Episode | None:
    if not item:
        notes.append("empty item skipped")
        return None
    enclosures = audio_enclosures(item)
    if not enclosures:
        notes.append("item without audio or video skipped")
        return None
    enclosure = enclosures[0]
    date_text = first_text(item, "pubdate", "published", "dc:date", "updated", "date")
    published_at = parse_date(date_text)
    if published_at is None:
        notes.append("item without a date" if date_text is None else f"date not understood: {date_text[:60]!r}")
    guid = first_text(item, "guid", "id")
    if guid is None:
        notes.append("item without a guid: known by its enclosure")
    elif len(guid) > LONGEST_GUID:
        guid = f"{guid[: LONGEST_GUID - 65]}#{hashlib.sha256(guid.encode('utf-8', 'replace')).hexdigest()}"
    duration_text = first_text(item, "itunes:duration")
    return Episode(
        guid=guid or media_identity(enclosure.url),
        title=_title(item),
        published_at=published_at,
        duration_declared_ms=parse_duration_ms(duration_text) or enclosure.duration_ms,
        enclosure_url=enclosure.url,
        enclosure_type=enclosure.type,
        enclosure_length=enclosure.length,
        season=_number(first_text(item, "itunes:season", "podcast:season")),
        episode_no=_number(first_text(item, "itunes:episode", "podcast:episode")),
        language_declared=_language(item, is_tagged=is_tagged),
        transcript_urls=_transcripts(item),
        chapters_url=_first_url(item, "podcast:chapters", "url"),
        details=details_of(item),
        alternative_urls=tuple(file.url for file in enclosures[1 : 1 + MOST_ALTERNATIVES]),
    )


def _distinct(episodes: list[Episode], notes: Counter[str]) -> tuple[Episode, ...]:
    """The episodes without duplicates. Several files under one guid are several episodes.

    A mark is added to the guid of each of them, also the first, so that their order does not matter.
    """
    counts = Counter(episode.guid for episode in episodes)
    marks: dict[str, set[str]] = {}
    for episode in episodes:
        if counts[episode.guid] > 1:
            marks.setdefault(episode.guid, set()).add(_mark(episode))
    distinct: dict[str, Episode] = {}
    for episode in episodes:
        guid = episode.guid
        if len(marks.get(guid, ())) > 1:
            guid = f"{guid}#{hashlib.sha256(_mark(episode).encode()).hexdigest()[:8]}"
            notes["guid that several episodes share: made unique"] += 1
        if guid in distinct:
            notes["item listed again skipped"] += 1
        distinct.setdefault(guid, episode if guid == episode.guid else replace(episode, guid=guid))
    return tuple(distinct.values())


def _mark(episode: Episode) -> str:
    """What distinguishes episodes of one guid: the file; if the file is the guid, title and date."""
    media = media_identity(episode.enclosure_url)
    return media if episode.guid != media else f"{episode.title}\n{episode.published_at}"


def _first_url(fields: Fields, name: str, attribute: str) -> str | None:
    urls = (absolute_url(element, element.get(attribute)) for element in fields.get(name, ()))
    return next((url for url in urls if url), None)


def _title(fields: Fields) -> str | None:
    """In one line. References such as `&amp;`, which many feeds write into CDATA, are resolved."""
    title = first_text(fields, "title", "itunes:title", "media:title")
    line = " ".join(html.unescape(title).split()) if title else ""
    return (line if len(line) <= LONGEST_TITLE else f"{line[: LONGEST_TITLE - 1].rstrip()}…") or None


def _language(fields: Fields, *, is_tagged: bool) -> str | None:
    """The language element, else xml:lang, which elements inherit, if the document is tagged with it."""
    own = short(first_text(fields, "language", "dc:language"))
    if own or not is_tagged:
        return own
    some = next((elements[0] for elements in fields.values()), None)
    inherited = (element.get(_XML_LANG) for element in (some.iterancestors() if some is not None else ()))
    return short(next((tag for tag in inherited if tag), None))


_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def _categories(head: Fields) -> tuple[str, ...]:
    """Categories and subcategories of iTunes, then others, each once."""
    itunes = [part.get("text") for element in head.get("itunes:category", ()) for part in element.iter()]
    plain = [element.get("term") or text_of(element) for element in head.get("category", ())]
    return tuple(dict.fromkeys(name for text in [*itunes, *plain] if (name := short(text))))[:MOST_ENTRIES]


def _license(head: Fields) -> str | None:
    links = (link.get("href") for link in head.get("link", ()) if link.get("rel") == "license")
    named = first_text(head, "podcast:license", "creativecommons:license")
    return short(named or _first_url(head, "podcast:license", "url") or next(links, None))


def _canonical_url(head: Fields) -> str | None:
    moved = (absolute_url(element, text_of(element)) for element in head.get("itunes:new-feed-url", ()))
    itself = (absolute_url(link, link.get("href")) for link in head.get("link", ()) if link.get("rel") == "self")
    return next((url for url in (*moved, *itself) if url), None)


def _transcripts(item: Fields) -> tuple[TranscriptLink, ...]:
    tags = item.get("podcast:transcript", [])[:MOST_TRANSCRIPTS]
    links = [(absolute_url(element, element.get("url")), element) for element in tags]
    return tuple(TranscriptLink(url, short(tag.get("type")), short(tag.get("language"))) for url, tag in links if url)


def _number(text: str | None) -> int | None:
    found = _NUMBER.fullmatch(text) if text else None
    return int(found.group(1)) if found else None


_NUMBER = re.compile(r"\s*(\d{1,9})(?:\.0*)?\s*")


def _what_it_is(text: str) -> str:
    """What the document is instead of a feed."""
    start = text.lstrip("\ufeff \t\r\n")[:2000].lower()
    for pattern, name in _OTHER_DOCUMENTS:
        if re.search(pattern, start):
            return name
    return "the document has neither an <rss> nor a <feed> element"


_OTHER_DOCUMENTS = (
    (r"^$", "the document is empty"),
    (r"<!doctype html|<html|<head\b|<body\b", "the server sent an HTML page"),
    (r"<opml\b", "it is an OPML list of subscriptions, which can be imported as such"),
    (r"^[\[{]", "the server sent JSON"),
)
