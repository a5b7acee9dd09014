"""The catalogue: the feeds that the user subscribed to, and the episodes that they list.

A subscription is a file of the user, `subscriptions/<feed_id>.json`. Audio that was added by URL has a file in
`subscriptions/singles/`; together it forms the feed `singles`. The lake has everything else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from partitions.keys import feed_of, feed_slug
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables.catalogue import EPISODES, EpisodeRow
from resources.lake.tombstones import IMPORTED, Tombstones
from speech.errors import UpstreamMissing

REMOVED_EPISODES = "removed"
"""The folder of a file for each episode that `podlake remove` took out of work."""
SINGLES = "singles"
"""The feed of the audio that was added by URL."""


@dataclass(frozen=True)
class Subscription:
    """A feed that is polled."""

    feed_id: str
    url: str
    """http(s), or an absolute path of a local RSS file."""
    title: str | None
    language: str | None
    added_at: datetime
    priority: int = 0
    """Episodes of a higher priority are admitted to the window first."""
    removed_at: datetime | None = None
    """When `podlake remove` ended it. Its rows stay, and its name is not used again."""


@dataclass(frozen=True)
class Single:
    """Audio added by its own URL or path."""

    url: str
    title: str | None
    language: str | None
    added_at: datetime


@dataclass(frozen=True)
class Imported:
    """A part of the audio that was imported from lists: a feed of limited size that is not polled."""

    feed_id: str
    n_items: int
    added_at: datetime


def single_name(url: str) -> str:
    """The name of the file of audio that was added by its URL."""
    return f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"


_SUBSCRIPTION, _SINGLE, _IMPORTED = TypeAdapter(Subscription), TypeAdapter(Single), TypeAdapter(Imported)


@dataclass(frozen=True)
class Removed:
    """What `podlake remove` took out of work."""

    feeds: frozenset[str]
    episodes: frozenset[str]

    def has(self, episode_id: str) -> bool:
        return episode_id in self.episodes or feed_of(episode_id) in self.feeds


@dataclass(frozen=True)
class Catalogue:
    """Subscriptions, and the episodes that polls have landed."""

    lake: Lake

    @property
    def home(self) -> Home:
        return self.lake.home

    def subscriptions(self) -> list[Subscription]:
        """The feeds that are polled."""
        return [feed for feed in self.all_subscriptions() if feed.removed_at is None]

    def imported(self) -> list[Imported]:
        """The feeds of imported audio, which are not polled."""
        names = self.home.names("subscriptions", IMPORTED)
        return [_IMPORTED.validate_json(self.home.read("subscriptions", IMPORTED, name)) for name in names]

    def add_imported(self, feed: Imported) -> None:
        with self.home.writing("subscriptions", IMPORTED, f"{feed.feed_id}.json") as stream:
            stream.write(_IMPORTED.dump_json(feed, indent=1))

    def removed(self) -> Removed:
        feeds = (feed.feed_id for feed in self.all_subscriptions() if feed.removed_at)
        return Removed(
            frozenset(feeds), frozenset(name.removesuffix(".json") for name in self.home.names(REMOVED_EPISODES))
        )

    def remove_feed(self, feed_id: str, *, undo: bool = False) -> None:
        """Poll the feed no more, or poll it again."""
        feed = self._subscription(feed_id)
        self._write(replace(feed, removed_at=None if undo else feed.removed_at or datetime.now(UTC)))

    def remove_episode(self, episode_id: str, *, undo: bool = False) -> None:
        """Admit the episode no more, or admit it again."""
        if undo:
            self.home.remove(REMOVED_EPISODES, f"{episode_id}.json")
            return
        with self.home.writing(REMOVED_EPISODES, f"{episode_id}.json") as stream:
            stream.write(json.dumps({"removed_at": datetime.now(UTC).isoformat()}).encode())

    def all_subscriptions(self) -> list[Subscription]:
        """The feeds that are polled, and those that were removed."""
        return [self._subscription(name.removesuffix(".json")) for name in self.home.names("subscriptions")]

    def _write(self, feed: Subscription) -> None:
        with self.home.writing("subscriptions", f"{feed.feed_id}.json") as stream:
            stream.write(_SUBSCRIPTION.dump_json(feed, indent=1))

    def singles(self) -> list[Single]:
        names = self.home.names("subscriptions", SINGLES)
        return [_SINGLE.validate_json(self.home.read("subscriptions", SINGLES, name)) for name in names]

    def subscribe(
        self, feeds: Iterable[tuple[str, str | None]], language: str | None = None, priority: int = 0
    ) -> list[Subscription]:
        """Add feeds (URL, title). Returns the new ones; a feed that is already there takes the language.

        A removed feed is polled again. A forgotten one is left out: `Tombstones.has_feed`.
        """
        known = {subscription.url: subscription for subscription in self.all_subscriptions()}
        tombstones = Tombstones.read(self.home)
        taken = {subscription.feed_id for subscription in known.values()} | {
            SINGLES,
            *(feed.feed_id for feed in self.imported()),
        }
        added = []
        for url, title in feeds:
            if tombstones.has_feed(url):
                continue
            if url not in known:
                known[url], is_new = self._create(
                    Subscription("", url, title, language, datetime.now(UTC), priority), taken
                )
                added += [known[url]] if is_new else []
            elif known[url].removed_at or (language and language != known[url].language):
                added += [known[url]] if known[url].removed_at else []
                known[url] = replace(known[url], language=language or known[url].language, removed_at=None)
                self._write(known[url])
        return added

    def _create(self, new: Subscription, taken: set[str]) -> tuple[Subscription, bool]:
        """Write it under a name that no feed has, not even one that another process adds at the same time.

        Returns what stands there, and whether it is new. An object store would overwrite the other's file: there the
        name always contains the URL's hash.
        """
        if not self.home.is_local:
            taken.add(feed_slug(new.title, new.url, ()))
        while True:
            new = replace(new, feed_id=feed_slug(new.title, new.url, taken))
            taken.add(new.feed_id)
            try:
                with self.home.writing("subscriptions", f"{new.feed_id}.json", exclusive=True) as stream:
                    stream.write(_SUBSCRIPTION.dump_json(new, indent=1))
            except FileExistsError:
                present = self._subscription(new.feed_id)
                if present.url == new.url:
                    return present, False
            else:
                return new, True

    def add_single(self, url: str, title: str | None, language: str | None) -> bool:
        """Add audio by its URL or path. Returns whether it is new; if not, it takes title and language."""
        name = single_name(url)
        is_new = not self.home.exists("subscriptions", SINGLES, name)
        with self.home.writing("subscriptions", SINGLES, name) as stream:
            stream.write(_SINGLE.dump_json(Single(url, title, language, datetime.now(UTC)), indent=1))
        return is_new

    def entries(self, episode_ids: Sequence[str]) -> Mapping[str, EpisodeRow]:
        """The rows of those of the episodes that the catalogue has."""
        wanted = pa.array(list(episode_ids), pa.string())
        found: dict[str, EpisodeRow] = {}
        for feed_id in sorted({feed_of(key) for key in episode_ids}):
            rows = self.lake.read(EPISODES, feed_id)
            if rows is not None:
                rows = rows.filter(pc.is_in(rows["episode_id"], wanted))
                found |= {row.episode_id: row for row in EPISODES.rows_of(rows)}
        return found

    def entry(self, episode_id: str) -> EpisodeRow:
        """The row of the episode. Raises `UpstreamMissing`."""
        found = self.entries([episode_id])
        if episode_id not in found:
            raise UpstreamMissing(
                f"The catalogue has no episode {episode_id}. Poll its feed first: materialize `episodes` for the "
                f"feed {feed_of(episode_id)} (podlake list shows the feeds)."
            )
        return found[episode_id]

    def _subscription(self, feed_id: str) -> Subscription:
        return _SUBSCRIPTION.validate_json(self.home.read("subscriptions", f"{feed_id}.json"))
