"""The catalogue: what the user subscribed to, and each episode's entry.

Subscriptions are the user's own files, `subscriptions/<feed_id>.json`; audio added by URL is kept under
`subscriptions/singles/`, and forms a feed of its own. Everything else about feeds and episodes is in the lake.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from partitions.keys import feed_of, feed_slug
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES
from speech.errors import UpstreamMissing

SINGLES = "singles"
"""The feed that audio added by hand belongs to."""


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
    """Its episodes are admitted to the window before those of lower priority."""


@dataclass(frozen=True)
class Single:
    """Audio added by its own URL or path."""

    url: str
    title: str | None
    language: str | None
    added_at: datetime


@dataclass(frozen=True)
class Entry:
    """What a stage needs to know of an episode."""

    episode_id: str
    title: str | None
    enclosure_url: str
    language: str | None
    duration_declared_ms: int | None
    published_at: datetime | None
    is_single: bool
    """Added by hand, and so allowed to be a local file."""


@dataclass(frozen=True)
class Catalogue:
    """Subscriptions, and the entries that polls have landed."""

    lake: Lake

    @property
    def home(self) -> Home:
        return self.lake.home

    def subscriptions(self) -> list[Subscription]:
        return [Subscription(**self._read("subscriptions", name)) for name in self.home.names("subscriptions")]

    def singles(self) -> list[Single]:
        return [
            Single(**self._read("subscriptions", SINGLES, name)) for name in self.home.names("subscriptions", SINGLES)
        ]

    def subscribe(
        self, feeds: Iterable[tuple[str, str | None]], language: str | None = None, priority: int = 0
    ) -> list[Subscription]:
        """Add feeds (URL, title); those whose URL is there already take over the language, and are not in the answer."""
        present = self.subscriptions()
        taken = {subscription.feed_id for subscription in present} | {SINGLES}
        urls = {subscription.url: subscription for subscription in present}
        added = []
        for url, title in feeds:
            if url in urls:
                if language and language != urls[url].language:
                    self._write(
                        asdict(replace(urls[url], language=language)), "subscriptions", f"{urls[url].feed_id}.json"
                    )
                continue
            new = Subscription(feed_slug(title, url, taken), url, title, language, datetime.now(UTC), priority)
            self._write(asdict(new), "subscriptions", f"{new.feed_id}.json")
            taken.add(new.feed_id)
            urls[url] = new
            added.append(new)
        return added

    def add_single(self, url: str, title: str | None, language: str | None) -> bool:
        """Add audio by its URL or path. Returns False, and takes over the language, if it was there already."""
        name = f"{hashlib.sha256(url.encode()).hexdigest()[:16]}.json"
        is_new = not self.home.exists("subscriptions", SINGLES, name)
        self._write(asdict(Single(url, title, language, datetime.now(UTC))), "subscriptions", SINGLES, name)
        return is_new

    def entries(self, episode_ids: Sequence[str]) -> Mapping[str, Entry]:
        """The entry of each episode. Raises `UpstreamMissing` for one that the catalogue does not have."""
        found: dict[str, Entry] = {}
        for feed_id in sorted({feed_of(key) for key in episode_ids}):
            rows = self.lake.read(EPISODES, feed_id)
            if rows is None:
                continue
            wanted = rows.filter(pc.is_in(rows["episode_id"], pa.array(list(episode_ids), pa.string())))
            for row in wanted.to_pylist():
                fields = {name: row[name] for name in Entry.__dataclass_fields__ if name != "is_single"}
                found[row["episode_id"]] = Entry(**fields, is_single=feed_id == SINGLES)
        return found

    def entry(self, episode_id: str) -> Entry:
        found = self.entries([episode_id])
        if episode_id not in found:
            raise UpstreamMissing(
                f"The catalogue has no episode {episode_id}. Poll its feed first: materialize `episodes` for the "
                f"feed {feed_of(episode_id)} (podlake list shows the feeds)."
            )
        return found[episode_id]

    def _read(self, *parts: str) -> dict[str, Any]:
        fields = json.loads(self.home.read(*parts))
        return {**fields, "added_at": datetime.fromisoformat(fields["added_at"])}

    def _write(self, fields: dict[str, Any], *parts: str) -> None:
        text = json.dumps({**fields, "added_at": fields["added_at"].isoformat()}, ensure_ascii=False, indent=1)
        with self.home.writing(*parts) as stream:
            stream.write(text.encode())
