"""`podlake add`: subscribe to feeds and add single audio files, and let Dagster know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dagster_project.commands.targets import Target, recognise
from dagster_project.settings import Settings
from partitions.credentials import without_credentials
from partitions.feeds.links import web_url
from partitions.languages import normalise_language
from resources.fetch.hosts import FetchPolicy
from resources.lake.catalogue import SINGLES, Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from speech.errors import NotAFeed, PodlakeError


@dataclass(frozen=True)
class Entry:
    """A line of what `add` tells: a feed's or `singles`' id, its title and its URL."""

    feed_id: str
    title: str | None
    url: str


@dataclass
class Added:
    """What came of the targets."""

    new: list[Entry] = field(default_factory=list)
    present: list[Entry] = field(default_factory=list)
    """Was there already."""
    refused: list[str] = field(default_factory=list)
    """Why a target could not be added; the others were."""


def add(
    catalogue: Catalogue,
    targets: Sequence[str],
    policy: FetchPolicy,
    *,
    language: str | None,
    title: str | None,
    check: bool,
    priority: int = 0,
) -> Added:
    """Add every target that can be added. Raises ValueError for a language that is none."""
    if language is not None and normalise_language(language) is None:
        raise ValueError(f"{language!r} names no language. Give a tag such as en, de or zh.")
    added = Added()
    for text in targets:
        try:
            target = recognise(text, policy) if check else _unchecked(text)
        except PodlakeError as error:
            added.refused.append(without_credentials(str(error)))
            continue
        if target.audio:
            is_new = catalogue.add_single(target.audio, title, language)
            (added.new if is_new else added.present).append(Entry(SINGLES, title, without_credentials(target.audio)))
        _subscribe(catalogue, _titled(target, title), language, priority, added)
    return added


def register_feeds(settings: Settings) -> None:
    """Materialize `feeds` in this process: the table lists the subscriptions, and each is a partition."""
    import dagster as dg

    from assets.catalogue.feeds import feeds
    from dagster_project.instance import open_instance

    lake = Lake(Home.at(settings.home))
    quiet = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}
    with open_instance(settings) as instance:
        given = {"lake": lake, "catalogue": Catalogue(lake)}
        dg.materialize([feeds], instance=instance, resources=given, run_config=quiet)


def _subscribe(
    catalogue: Catalogue, feeds: Sequence[tuple[str, str | None]], language: str | None, priority: int, added: Added
) -> None:
    if not feeds:
        return
    new = {catalogue.address(one): one for one in catalogue.subscribe(feeds, language, priority)}
    known = {catalogue.address(one): one for one in catalogue.subscriptions()}
    for url in dict.fromkeys(url for url, _ in feeds):
        if url not in known:
            added.refused.append(f"{without_credentials(url)} was forgotten (podlake forget), and is not added again.")
            continue
        where = added.new if url in new else added.present
        where.append(Entry(known[url].feed_id, known[url].title, known[url].url))


def _titled(target: Target, title: str | None) -> Sequence[tuple[str, str | None]]:
    """A title that the user gave outranks the feed's own; a list of feeds keeps its titles."""
    return [(url, title or own) for url, own in target.feeds] if len(target.feeds) == 1 else target.feeds


def _unchecked(text: str) -> Target:
    url = web_url(text)
    if url is None:
        raise NotAFeed(
            f"{text} is no http(s) URL: without a look at it (--no-check) only the URL of a feed can be added."
        )
    return Target(feeds=((url, None),))
