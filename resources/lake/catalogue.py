"""The catalogue: the feeds that the user subscribed to, and the episodes that they list.

A subscription is a file of the user, `subscriptions/<feed_id>.json`. Audio that was added by URL has a file in
`subscriptions/singles/`; together it forms the feed `singles`. The lake has everything else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter

from partitions.credentials import without_credentials
from partitions.keys import feed_of, feed_slug
from resources.lake.commits import all_open_commits
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.secret_urls import SecretUrls
from resources.lake.tables.catalogue import EPISODES, POLLS, EpisodeRow
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
    """http(s) without credentials, or an absolute path of a local RSS file."""
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

    def subscriptions(self, only: Collection[str] | None = None) -> list[Subscription]:
        """The feeds that are polled; of these keys alone, if they are given."""
        return [feed for feed in self.all_subscriptions(only) if feed.removed_at is None]

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

    def all_subscriptions(self, only: Collection[str] | None = None) -> list[Subscription]:
        """The feeds that are polled, and those that were removed."""
        names = (name.removesuffix(".json") for name in self.home.names("subscriptions"))
        return [self._subscription(name) for name in names if only is None or name in only]

    def address(self, subscription: Subscription) -> str:
        """The URL to fetch, with its credentials."""
        return self._secrets("subscriptions", subscription.feed_id).real(subscription.url)

    def singles(self) -> list[Single]:
        """Their URLs have the credentials."""
        return [self._single(name) for name in self.home.names("subscriptions", SINGLES)]

    def episode_secrets(self, feed_id: str) -> SecretUrls:
        """The URLs of a feed's episodes that contain credentials; the scope is the episode."""
        return self._secrets("episodes", feed_id)

    def subscribe(
        self, feeds: Iterable[tuple[str, str | None]], language: str | None = None, priority: int = 0
    ) -> list[Subscription]:
        """Add feeds (URL, title). Returns the new ones; a feed that is already there takes the language.

        A removed feed is polled again. A forgotten one is left out: `Tombstones.has_feed`.
        """
        known = {self.address(subscription): subscription for subscription in self.all_subscriptions()}
        tombstones = Tombstones.read(self.home)
        taken = {subscription.feed_id for subscription in known.values()} | {
            SINGLES,
            *(feed.feed_id for feed in self.imported()),
        }
        landed = set(all_open_commits(self.home).get("episodes", {})) - taken
        added = []
        for url, title in feeds:
            if tombstones.has_feed(url):
                continue
            if url not in known:
                others = {feed_id for feed_id in landed if not self._was(feed_id, url)}
                new = Subscription("", url, title, language, datetime.now(UTC), priority)
                known[url], is_new = self._create(new, taken | others)
                taken.add(known[url].feed_id)
                added += [known[url]] if is_new else []
            elif known[url].removed_at or (language and language != known[url].language):
                added += [known[url]] if known[url].removed_at else []
                known[url] = replace(known[url], language=language or known[url].language, removed_at=None)
                self._write(known[url])
        return added

    def move(self, subscription: Subscription, url: str) -> None:
        """Poll the feed at another URL from now on."""
        self._write(replace(subscription, url=url))

    def _was(self, feed_id: str, url: str) -> bool:
        """Whether a removed feed of this key had this URL. Another feed of its title shares nothing with it."""
        shown = without_credentials(url)
        return any(row.url == shown and self._secrets("subscriptions", feed_id).real(shown) == url
                   for row in self.lake.rows(POLLS, feed_id))  # fmt: skip

    def _create(self, new: Subscription, taken: set[str]) -> tuple[Subscription, bool]:
        """Write it under a name that no feed has, not even one that another process adds at the same time.

        Returns what stands there, and whether it is new. An object store would overwrite the other's file: there the
        name always contains the URL's hash.
        """
        url, taken = new.url, set(taken)
        if not self.home.is_local:
            taken.add(feed_slug(new.title, url, ()))
        while True:
            new = replace(new, url=url, feed_id=feed_slug(new.title, url, taken))
            taken.add(new.feed_id)
            try:
                new = self._write(new, exclusive=True)
            except FileExistsError:
                present = self._subscription(new.feed_id)
                if self.address(present) == url:
                    return present, False
            else:
                return new, True

    def _write(self, subscription: Subscription, *, exclusive: bool = False) -> Subscription:
        """Write it, with its credentials in a file of their own. Returns it without them."""
        shown = without_credentials(subscription.url)
        public = replace(subscription, url=shown)
        with self.home.writing("subscriptions", f"{subscription.feed_id}.json", exclusive=exclusive) as stream:
            if shown != subscription.url:
                self._secrets("subscriptions", subscription.feed_id).add({f" {shown}": subscription.url})
            stream.write(_SUBSCRIPTION.dump_json(public, indent=1))
        return public

    def add_single(self, url: str, title: str | None, language: str | None) -> bool:
        """Add audio by its URL or path. Returns whether it is new; if not, it takes a title and a language if given."""
        name = single_name(url)
        is_new = not self.home.exists("subscriptions", SINGLES, name)
        single = Single(url, title, language, datetime.now(UTC))
        if not is_new:
            old = self._single(name)
            single = replace(old, title=title or old.title, language=language or old.language)
        shown = without_credentials(url)
        if shown != url:
            self._secrets("subscriptions", SINGLES).add({f"{name} {shown}": url})
        with self.home.writing("subscriptions", SINGLES, name) as stream:
            stream.write(_SINGLE.dump_json(replace(single, url=shown), indent=1))
        return is_new

    def forget_single(self, row: EpisodeRow) -> None:
        """Remove the file of audio that was added by its URL, and the URL if it is secret."""
        name = single_name(self.episode_secrets(SINGLES).real(row.enclosure_url, row.episode_id))
        self._secrets("subscriptions", SINGLES).forget([name])
        self.home.remove("subscriptions", SINGLES, name)

    def forget_secrets(self, episode_ids: Iterable[str], feed_ids: Iterable[str]) -> None:
        """Remove the secret URLs of episodes and of whole feeds."""
        by_feed: dict[str, list[str]] = {}
        for key in episode_ids:
            by_feed.setdefault(feed_of(key), []).append(key)
        for feed_id, keys in by_feed.items():
            self.episode_secrets(feed_id).forget(keys)
        for feed_id in feed_ids:
            self.episode_secrets(feed_id).remove()
            self._secrets("subscriptions", feed_id).remove()

    def _single(self, name: str) -> Single:
        single = _SINGLE.validate_json(self.home.read("subscriptions", SINGLES, name))
        return replace(single, url=self._secrets("subscriptions", SINGLES).real(single.url, name))

    def _secrets(self, kind: str, feed_id: str) -> SecretUrls:
        return SecretUrls(self.home, f"{kind}/{feed_id}")

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
        found = _SUBSCRIPTION.validate_json(self.home.read("subscriptions", f"{feed_id}.json"))
        # A file that the user or an earlier version wrote may have the credentials in it.
        return found if without_credentials(found.url) == found.url else self._write(found)
