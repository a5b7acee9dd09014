"""Reads the further pages of a feed (RFC 5005), and says whether all of them were read."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from partitions.feeds.rss import Feed, parse_feed
from resources.fetch.hosts import FetchPolicy
from resources.fetch.http import Document, fetch_document
from speech.errors import HttpRefused, HttpServerError, NetworkError, NotAFeed, NotFound, RateLimited, TooLarge

MOST_PAGES = 100
"""Further pages of a feed that are read."""
PAGES_WITHIN_S = 60.0
"""After which no further page is asked for."""


@dataclass(frozen=True)
class Pages:
    """A feed with the episodes of its further pages."""

    feed: Feed
    is_whole: bool = True
    """Whether all pages were read. What an unread page lists is not known, so no episode is unlisted."""
    may_pass: bool = False
    """Whether a page could not be read for a reason that may pass."""


def with_pages(feed: Feed, policy: FetchPolicy) -> Pages:
    """The feed with the episodes of its further pages (RFC 5005). A page that cannot be read ends them."""
    if not feed.next_url:
        return Pages(feed)
    episodes = {episode.guid: episode for episode in feed.episodes}
    problems, seen = list(feed.problems), set[str]()
    url: str | None = feed.next_url
    may_pass, ends_at = False, time.monotonic() + PAGES_WITHIN_S
    while url and url not in seen and len(seen) < MOST_PAGES:
        if time.monotonic() > ends_at:
            problems.append(f"further pages were not read, because they took more than {PAGES_WITHIN_S:.0f} s")
            break
        seen.add(url)
        try:
            document = fetch_document(url, policy)
            assert isinstance(document, Document), "the request had no condition"
            page = parse_feed(document.content, url=document.final_url, content_type=document.content_type)
        except (NotFound, NotAFeed, HttpRefused, HttpServerError, NetworkError, RateLimited, TooLarge) as error:
            may_pass = isinstance(error, (HttpServerError, NetworkError, RateLimited))
            problems.append(f"a further page could not be read: {error}")
            break
        episodes = {**{episode.guid: episode for episode in page.episodes}, **episodes}
        url = page.next_url
    else:
        if url and url not in seen:
            problems.append(f"only the first {MOST_PAGES} further pages were read")
    read = replace(feed, episodes=tuple(episodes.values()), problems=tuple(problems))
    return Pages(read, is_whole=len(problems) == len(feed.problems), may_pass=may_pass)
