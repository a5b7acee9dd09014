"""`podlake search-feeds`: find feeds by name in the directories of Apple and, with a key, PodcastIndex."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from dagster_project.settings import Settings
from resources.fetch.exchange import body, get, refuse_larger, refuse_unless
from resources.fetch.hosts import FetchPolicy
from resources.fetch.http import DOCUMENT_WITHIN_S
from speech.errors import BadOutput, PodlakeError

_LIMIT_BYTES = 10_000_000


@dataclass(frozen=True)
class Found:
    """A feed of a directory."""

    title: str
    author: str
    episodes: int | None
    url: str


def search_feeds(settings: Settings, policy: FetchPolicy, name: str, *, limit: int) -> tuple[list[Found], list[str]]:
    """The feeds of both directories, each URL once, and why a directory could not be asked."""
    directories = [_itunes, *([_podcast_index] if settings.podcastindex_key else [])]
    found: dict[str, Found] = {}
    problems = []
    for directory in directories:
        try:
            for feed in directory(settings, policy, name, limit):
                found.setdefault(feed.url, feed)
        except PodlakeError as error:
            problems.append(str(error))
    return list(found.values())[:limit], problems


def _itunes(settings: Settings, policy: FetchPolicy, name: str, limit: int) -> Sequence[Found]:
    url = f"{settings.itunes_url}/search?" + urlencode({"media": "podcast", "term": name, "limit": limit})
    return [
        Found(_text(one, "collectionName"), _text(one, "artistName"), _number(one, "trackCount"), _text(one, "feedUrl"))
        for one in _records(url, {}, policy, "results")
        if one.get("feedUrl")  # Apple lists shows without a public feed too
    ]


def _podcast_index(settings: Settings, policy: FetchPolicy, name: str, limit: int) -> Sequence[Found]:
    url = f"{settings.podcastindex_url}/search/byterm?" + urlencode({"q": name, "max": limit})
    now = str(int(time.time()))
    signed = f"{settings.podcastindex_key}{settings.podcastindex_secret.get_secret_value()}{now}"
    headers = {
        "X-Auth-Key": settings.podcastindex_key,
        "X-Auth-Date": now,
        "Authorization": hashlib.sha1(signed.encode(), usedforsecurity=False).hexdigest(),
    }
    return [
        Found(_text(one, "title"), _text(one, "author"), _number(one, "episodeCount"), _text(one, "url"))
        for one in _records(url, headers, policy, "feeds")
        if one.get("url")
    ]


def _records(url: str, headers: dict[str, str], policy: FetchPolicy, name: str) -> list[Mapping[str, Any]]:
    with get(url, {"Accept": "application/json", **headers}, policy) as exchange:
        refuse_unless(exchange, 200)
        content = bytearray()
        for chunk in body(exchange, 60.0, _LIMIT_BYTES, DOCUMENT_WITHIN_S):
            content += chunk
            refuse_larger(exchange, len(content), _LIMIT_BYTES)
    try:
        records = json.loads(content)[name]
        return [record for record in records if isinstance(record, dict)]
    except (ValueError, TypeError, KeyError) as error:
        raise BadOutput(f"{url.partition('?')[0]} answered something else than a list of feeds ({error}).") from error


def _text(record: Mapping[str, Any], name: str) -> str:
    return str(record.get(name) or "")


def _number(record: Mapping[str, Any], name: str) -> int | None:
    value = record.get(name)
    return value if isinstance(value, int) else None
