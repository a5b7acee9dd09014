"""Takes credentials out of what a feed says, and keeps the URLs that had some for the fetcher."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any, TypeVar, cast

from partitions.credentials import without_credentials
from partitions.feeds.rss import Episode
from resources.lake.secret_urls import SecretUrls

T = TypeVar("T")
_WITHOUT_TEXT = frozenset({bool, int, float, datetime})


def redacted(value: T) -> T:
    """The value without credentials in its texts, at any depth. The same object where there are none, as nearly always."""
    if isinstance(value, str):
        shown = without_credentials(value)
        return value if shown == value else cast("T", shown)
    if isinstance(value, tuple):
        parts = tuple(map(redacted, value))
        return value if all(new is old for new, old in zip(parts, value, strict=True)) else cast("T", parts)
    if names := _field_names(cast("Any", type(value))):
        changed = {}
        for name in names:
            old = getattr(value, name)
            if old and type(old) not in _WITHOUT_TEXT and (new := redacted(old)) is not old:
                changed[name] = new
        return cast("T", replace(cast("Any", value), **changed)) if changed else value
    return value


def by_redacted_guid(episodes: Sequence[Episode]) -> dict[str, Episode]:
    """The episodes by guids without credentials. Guids that differ only in those are told apart by their hashes."""
    shown = [without_credentials(episode.guid) for episode in episodes]
    counts = Counter(shown)
    return {
        guid if counts[guid] == 1 else f"{guid}#{hashlib.sha256(episode.guid.encode()).hexdigest()[:8]}": episode
        for guid, episode in zip(shown, episodes, strict=True)
    }


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    """Of a dataclass; none of others."""
    return tuple(field.name for field in fields(kind)) if is_dataclass(kind) else ()


def keep_secrets(secrets: SecretUrls, episodes: Mapping[str, Episode], keys: Mapping[str, str]) -> None:
    """Keep the URLs that are not shown where the fetcher finds them."""
    found = {}
    for guid, episode in episodes.items():
        urls = [episode.enclosure_url, episode.chapters_url or "", *episode.alternative_urls]
        for url in [*urls, *(link.url for link in episode.transcript_urls)]:
            if (shown := without_credentials(url)) != url:
                found[f"{keys[guid]} {shown}"] = url
    if found:
        secrets.add(found)
