"""Permanent new addresses of feeds: where redirects lead, or what a feed declares."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from partitions.credentials import without_credentials
from partitions.feeds.links import web_url
from partitions.feeds.rss import parse_feed
from pipeline.stage import Landing
from resources.fetch.exchange import is_refused
from resources.fetch.hosts import FetchPolicy
from resources.fetch.http import Answer, Document, fetch_document
from resources.lake.catalogue import Catalogue, Subscription
from resources.lake.tables.catalogue import PollRow
from speech.errors import PodlakeError

MOVED = "moved permanently to "
IF_AGREED = "; the subscription follows if the next poll agrees"
STAYS = "; the subscription does not follow"


@dataclass(frozen=True)
class Move:
    """The new address of a subscription's feed, and the answer that names it."""

    subscription: Subscription
    answer: Answer
    to: str

    @property
    def is_declared(self) -> bool:
        """Whether only the feed names it. Where a redirect led, there is a document."""
        return self.to != self.answer.final_url


@dataclass(frozen=True)
class Addresses:
    """The addresses of all subscriptions, read when the first feed of a batch has moved."""

    catalogue: Catalogue

    @cached_property
    def feeds(self) -> dict[str, str]:
        """Address → feed."""
        return {self.catalogue.address(feed): feed.feed_id for feed in self.catalogue.subscriptions()}

    def move(self, subscription: Subscription, to: str) -> None:
        self.catalogue.move(subscription, to)
        self.feeds[to] = subscription.feed_id


def move_of(subscription: Subscription, answer: Answer, declared: str | None) -> Move | None:
    """To where only permanent redirects led, else to the address that the feed declares. None: it has not moved."""
    hops = [status for _, status in answer.redirect_chain]
    if hops and all(status in (301, 308) for status in hops):
        return Move(subscription, answer, answer.final_url)
    to = web_url(declared) if declared else None
    return Move(subscription, answer, to) if to and to != answer.requested_url else None


def followed(
    landing: Landing, move: Move | None, last: PollRow | None, addresses: Addresses, policy: FetchPolicy
) -> Landing:
    """The landing, with a note of the new address. The subscription follows when two polls agree."""
    (poll,) = landing.rows["polls"]
    assert isinstance(poll, PollRow)
    problems = tuple(problem for problem in poll.problems if not problem.startswith(MOVED))
    if move:
        where = f"{MOVED}{without_credentials(move.to)}"
        if reason := _obstacle(move, addresses, policy):
            problems = (*problems, f"{where}, {reason}{STAYS}")
        elif last and f"{where}{IF_AGREED}" in last.problems:
            addresses.move(move.subscription, move.to)
            problems = (*problems, f"{where}; the subscription has followed")
        else:  # without validators, so that the next poll sees the document again
            problems, poll = (*problems, f"{where}{IF_AGREED}"), replace(poll, etag=None, last_modified=None)
    return replace(landing, rows={**landing.rows, "polls": [replace(poll, problems=problems)]})


def _obstacle(move: Move, addresses: Addresses, policy: FetchPolicy) -> str | None:
    """Why the subscription must not follow: it would stay without polls, or poll the feed of another one."""
    if is_refused(move.to, policy):
        return "which is no public address"
    own = move.subscription.feed_id
    if (other := addresses.feeds.get(move.to, own)) != own:
        return f"which {other} polls"
    if move.is_declared:
        try:
            answer = fetch_document(move.to, policy)
            assert isinstance(answer, Document), "it was asked for without conditions"
            parse_feed(answer.content, url=answer.final_url, content_type=answer.content_type)
        except PodlakeError as error:
            return f"where no feed was found ({error.error_class})"
    return None
