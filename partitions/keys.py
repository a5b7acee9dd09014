"""Keys of feeds and episodes: made once, then stored, so that later changes of title, date or URL do not change them.

A feed is `<slug>`, an episode `<feed>-<yyyymmdd>-<8 hex digits>`, both of `[a-z0-9-]`: keys are Dagster partition
keys, file names and column values.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from partitions.feeds.rss import Episode

SLUG_LENGTH = 40


@dataclass(frozen=True, slots=True)
class KnownEpisode:
    """An episode of the catalogue: its key, and what it was last known as."""

    key: str
    title: str | None
    published_at: datetime | None


def feed_slug(title: str | None, url: str, taken: Collection[str]) -> str:
    """A readable key for a feed, not in `taken`, of at most 40 characters.

    Made of the title in Latin letters, else of the URL's words, else `feed-<8 hex>`. A key that is taken gets digits of
    the URL's hash.
    """
    digest = hashlib.sha256(url.encode()).hexdigest()
    slug = _slug(title or "") or _slug(_words_of(url)) or f"feed-{digest[:8]}"
    if slug not in taken:
        return slug
    for length in (8, 16):
        longer = f"{slug[: SLUG_LENGTH - 1 - length].rstrip('-')}-{digest[:length]}"
        if longer not in taken:
            return longer
    raise ValueError(f"The feed {url} already has the key {longer}. Look it up.")


def episode_key(feed_id: str, guid: str, published_at: datetime | None, taken: Collection[str]) -> str:
    """A key that is not in `taken`: `<feed>-<yyyymmdd>-<8 hex of the guid's SHA-256>`.

    Without a date it has `undated`. If it is taken, it has 16 digits, else 64.
    """
    digest = hashlib.sha256(guid.encode("utf-8", "replace")).hexdigest()
    day = f"{published_at.year:04}{published_at:%m%d}" if published_at else "undated"
    for length in (8, 16, 64):
        key = f"{feed_id}-{day}-{digest[:length]}"
        if key not in taken:
            return key
    raise ValueError(f"The episode {guid!r} of {feed_id} already has the key {key}. Look it up.")


def assign_keys(feed_id: str, episodes: Iterable[Episode], known: Mapping[str, KnownEpisode]) -> dict[str, str]:
    """Guid → key of every listed episode of a feed. `known` has the catalogue's episodes of the feed by guid.

    The only rule of identity:

    1. A known guid keeps its key, whatever else changes.
    2. An unknown guid takes the key of the one known episode of the same title and date that is no longer listed: a
       feed that moves to another host often gets new guids for its old episodes.
    3. Any other guid gets a new key. The file's URL does not count: an hourly bulletin has one URL for all episodes.
    """
    listed = {episode.guid: episode for episode in episodes}
    taken = {episode.key for episode in known.values()}
    unlisted: dict[tuple[str, datetime] | None, list[str]] = defaultdict(list)
    unknown: dict[tuple[str, datetime] | None, list[str]] = defaultdict(list)
    for guid, old in known.items():
        if guid not in listed:
            unlisted[_occasion(old)].append(old.key)
    if unlisted:  # else no title matters, and to normalise them takes as long as the keys
        for guid, new in listed.items():
            if guid not in known:
                unknown[_occasion(new)].append(guid)
    keys: dict[str, str] = {}
    for guid, new in listed.items():
        if guid in known:
            keys[guid] = known[guid].key
        elif (
            unlisted and (occasion := _occasion(new)) and len(unlisted.get(occasion, ())) == len(unknown[occasion]) == 1
        ):
            keys[guid] = unlisted[occasion][0]
        else:
            keys[guid] = episode_key(feed_id, guid, new.published_at, taken)
            taken.add(keys[guid])
    return keys


def _occasion(episode: Episode | KnownEpisode) -> tuple[str, datetime] | None:
    """Title and date; None if either is missing."""
    title = " ".join((episode.title or "").casefold().split())
    return (title, episode.published_at) if title and episode.published_at else None


def media_identity(url: str) -> str:
    """What stands for an item without a guid: host, path and query of its file.

    Parameters of known trackers after the name of an audio file (`ep1.mp3?updated=7`) do not count. Others do:
    `download.php?id=4`, `play.mp3?id=4` and `redirect.mp3?http://example.org/ep1.mp3` name files.
    """
    try:
        parts = urlsplit(url.strip())
        host = (parts.hostname or "") + (f":{parts.port}" if parts.port not in (None, 80, 443) else "")
    except ValueError:
        return url.strip()
    query = parts.query
    if _AUDIO_FILE.search(parts.path.lower()):
        query = "&".join(part for part in query.split("&") if not _TRACKER.fullmatch(part.partition("=")[0].lower()))
    return f"{host}{parts.path}" + (f"?{query}" if query else "")


_AUDIO_FILE = re.compile(r"\.(?:mp3|m4a|m4b|mp4|m4v|aac|ogg|oga|opus|flac|wav|mov|webm)$")
_TRACKER = re.compile(
    r"utm_\w+|aw_0_\w+(?:\.\w+)?|awcollectionid|awepisodeid|awgenre|updated|modified|dest-id|source|client_source|sid|src"
    r"|ref|referrer|referer|cb|nocache|fbclid|gclid|_ga|token-hash|token-time|rss_browser|listeningsessionid"
)
"""Names of parameters that count downloads, avoid caches or sign the URL."""


def _slug(text: str) -> str:
    """At most 40 of `[a-z0-9-]`, cut between words. Diacritics and other scripts are removed."""
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
    """The feed of an episode's key."""
    return episode_id.rsplit("-", 2)[0]
