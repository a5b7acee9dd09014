"""The names by which feeds and episodes are known: made once, stored, and never made again.

A feed is `<slug>`, an episode `<feed>-<yyyymmdd>-<8 hex digits>`, both of `[a-z0-9-]` only: they are
Dagster partition keys, file names and column values. Whoever stores them hands the known ones back in,
and a title, a date or a URL that changes later changes nothing.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from urllib.parse import urlsplit

SLUG_LENGTH = 40


class Keyed(Protocol):
    """What an episode's key is made of; `partitions.feeds.rss.Episode` is one."""

    @property
    def guid(self) -> str: ...
    @property
    def published_at(self) -> datetime | None: ...
    @property
    def enclosure_url(self) -> str: ...


@dataclass(frozen=True, slots=True)
class KnownEpisode:
    """An episode of the catalogue: its key, and the enclosure that it was last seen with."""

    key: str
    enclosure_url: str


def feed_slug(title: str | None, url: str, taken: Collection[str]) -> str:
    """A readable name for a feed that none of `taken` has, at most 40 characters.

    From the title in Latin letters, else from the URL's words; where both give nothing, `feed-<8 hex>`.
    """
    digest = hashlib.sha256(url.encode()).hexdigest()
    slug = _slug(title or "") or _slug(_words_of(url)) or f"feed-{digest[:8]}"
    if slug not in taken:
        return slug
    for length in (8, 16):
        longer = f"{slug[: SLUG_LENGTH - 1 - length].rstrip('-')}-{digest[:length]}"
        if longer not in taken:
            return longer
    raise ValueError(f"The feed {url} has its name already: {longer}. Look its name up instead of making one.")


def episode_key(feed_id: str, guid: str, published_at: datetime | None, taken: Collection[str]) -> str:
    """A key that none of `taken` has: `<feed>-<yyyymmdd>-<8 hex of the guid's SHA-256>`.

    `undated` stands where there is no date. A collision takes 16 digits, and 64 if need be.
    """
    digest = hashlib.sha256(guid.encode("utf-8", "replace")).hexdigest()
    day = f"{published_at.year:04}{published_at:%m%d}" if published_at else "undated"
    for length in (8, 16, 64):
        key = f"{feed_id}-{day}-{digest[:length]}"
        if key not in taken:
            return key
    raise ValueError(f"The episode {guid!r} of {feed_id} has its key already: {key}. Look it up instead of making one.")


def assign_keys(feed_id: str, episodes: Iterable[Keyed], known: Mapping[str, KnownEpisode]) -> dict[str, str]:
    """The key of every listed episode of a feed, by guid; `known` is what the catalogue has of the feed, by guid.

    1. A known guid keeps its key.
    2. An unknown guid inherits the key of the one known episode that is no longer listed and has the same
       enclosure: a feed that moves to another host often gets new guids for its old episodes.
    3. Any other guid gets a new key.
    """
    listed = {episode.guid: episode for episode in episodes}
    taken = {episode.key for episode in known.values()}
    orphans: dict[str, list[str]] = {}
    for guid, episode in known.items():
        if guid not in listed:
            orphans.setdefault(media_identity(episode.enclosure_url), []).append(episode.key)
    heirs: dict[str, list[str]] = {}
    for guid, new in listed.items():
        if guid not in known:
            heirs.setdefault(media_identity(new.enclosure_url), []).append(guid)
    keys: dict[str, str] = {}
    for guid, new in listed.items():
        media = media_identity(new.enclosure_url)
        if guid in known:
            keys[guid] = known[guid].key
        elif len(orphans.get(media, ())) == len(heirs[media]) == 1:
            keys[guid] = orphans[media][0]
        else:
            keys[guid] = episode_key(feed_id, guid, new.published_at, taken)
            taken.add(keys[guid])
    return keys


def media_identity(url: str) -> str:
    """What of an enclosure's URL names the file: host and path.

    The scheme is left out, and so is the query of a path that ends like an audio file, which is tracking
    (`ep1.mp3?updated=7`); but not one that is a path itself (`redirect.mp3?http://example.org/ep1.mp3`).
    """
    try:
        parts = urlsplit(url.strip())
        host = (parts.hostname or "") + (f":{parts.port}" if parts.port not in (None, 80, 443) else "")
    except ValueError:
        return url.strip()
    is_tracking = re.search(r"\.[a-z0-9]{2,4}$", parts.path.lower()) and not re.search(r"/|%2f", parts.query.lower())
    return f"{host}{parts.path}" + (f"?{parts.query}" if parts.query and not is_tracking else "")


def _slug(text: str) -> str:
    """At most 40 of `[a-z0-9-]`, cut between words; letters lose their marks, other scripts are dropped."""
    text = text.replace("ß", "ss").replace("æ", "ae").replace("ø", "o").replace("ł", "l").replace("&", " and ")
    ascii_text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", re.sub(r"['`]", "", ascii_text)).strip("-")
    if len(slug) <= SLUG_LENGTH:
        return slug
    cut = slug[: SLUG_LENGTH + 1].rpartition("-")[0]
    return (cut if len(cut) > SLUG_LENGTH // 2 else slug[:SLUG_LENGTH]).rstrip("-")


_COMMON_WORDS = {"www", "com", "org", "net", "feed", "feeds", "rss", "xml", "podcast", "http", "https", "index"}


def _words_of(url: str) -> str:
    try:
        parts = urlsplit(url)
        words = re.split(r"[^A-Za-z0-9]+", f"{parts.hostname or ''} {parts.path}")
    except ValueError:
        return ""
    return " ".join(word for word in words if word.lower() not in _COMMON_WORDS)


def feed_of(episode_id: str) -> str:
    """The feed that an episode's key begins with."""
    return episode_id.rsplit("-", 2)[0]
