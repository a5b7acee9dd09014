"""Tombstones of forgotten episodes and feeds: `forgotten/<hash>-<hash>.json`. They hold hashes, no text and no URL.

A poll lands no episode that has a tombstone. The file's content is the log of the removal: when, by whom, how much.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from partitions.keys import media_identity
from resources.lake.home import Home
from resources.lake.tables.catalogue import EpisodeRow

FOLDER = "forgotten"
IMPORTED = "imported"
"""Feeds of imported audio begin with this. An episode can be imported into any of them, so they share tombstones."""
DIGITS = 32


class Identity(Protocol):
    """What tells an episode from the others of its feed."""

    @property
    def guid(self) -> str: ...

    @property
    def enclosure_url(self) -> str: ...

    @property
    def published_at(self) -> datetime | None: ...


@dataclass(frozen=True)
class Tombstones:
    """The hashes of everything that was forgotten."""

    hashes: frozenset[str]

    @classmethod
    def read(cls, home: Home) -> Tombstones:
        names = (name.removesuffix(".json") for name in home.names(FOLDER))
        return cls(frozenset(part for name in names for part in name.split("-")))

    def has(self, feed_id: str, episode: Identity) -> bool:
        return bool(self.hashes) and not self.hashes.isdisjoint(_hashes(feed_id, episode))

    def has_feed(self, url: str) -> bool:
        return digest("feed", url) in self.hashes

    def without(self, feed_id: str, rows: Iterable[EpisodeRow]) -> list[EpisodeRow]:
        """The rows that the feed may list."""
        return [row for row in rows if not self.has(feed_id, row)]


def write_for_episode(home: Home, episode: EpisodeRow, log: Mapping[str, object]) -> None:
    """Write the tombstone of an episode."""
    _write(home, "-".join(_hashes(episode.feed_id, episode)), log)


def write_for_feed(home: Home, url: str, log: Mapping[str, object]) -> None:
    """Write the tombstone of a feed: `podlake add` refuses it."""
    _write(home, digest("feed", url), log)


def digest(kind: str, *parts: str) -> str:
    """The same in SQL: `sha256(concat_ws(chr(10), kind, …))[:32]`."""
    return hashlib.sha256("\n".join((kind, *parts)).encode("utf-8", "replace")).hexdigest()[:DIGITS]


def _hashes(feed_id: str, episode: Identity) -> tuple[str, str]:
    """By the guid; and by URL and date, for feeds that give their episodes new guids. Both within the feed."""
    feed = IMPORTED if feed_id.startswith(f"{IMPORTED}-") else feed_id
    published: datetime | None = episode.published_at
    day = published.isoformat() if published else "undated"
    return digest(feed, episode.guid), digest(feed, media_identity(episode.enclosure_url), day)


def _write(home: Home, name: str, log: Mapping[str, object]) -> None:
    with home.writing(FOLDER, f"{name}.json") as stream:
        stream.write(json.dumps(log, indent=1, default=str).encode())
