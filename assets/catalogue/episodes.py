"""`episodes`: poll a feed, land its episodes, admit them to the live window."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from assets.catalogue.feed_moves import IF_AGREED, Addresses, followed, move_of
from assets.catalogue.feed_pages import with_pages
from assets.catalogue.redaction import by_redacted_guid, keep_secrets, redacted
from partitions.credentials import without_credentials
from partitions.feeds.details import Details
from partitions.feeds.rss import Episode, Feed, parse_feed
from partitions.keys import KnownEpisode, assign_keys
from partitions.languages import normalise_language
from pipeline.live_window import admit_from_feeds
from pipeline.reporting import markdown_text
from pipeline.stage import Batch, Landing, Outcome, Stage, Unchanged, each
from resources.fetch.hosts import FetchPolicy
from resources.fetch.http import Document, NotModified, fetch_document
from resources.lake.catalogue import SINGLES, Catalogue, Subscription
from resources.lake.commits import Commit, open_commits
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import FAILURES
from resources.lake.tables.catalogue import EPISODES, POLLS, EpisodeRow, PollRow, UnchangedPollRow
from resources.lake.tombstones import Tombstones
from resources.lake.unchanged_polls import note_unchanged
from speech.errors import Gone, NotAFeed, UpstreamMissing

POLLS_AT_ONCE = 8
SHOWN_EPISODES = 10

_CHANGES = (
    "title", "published_at", "duration_declared_ms", "enclosure_url", "enclosure_type", "enclosure_length", "listed",
)  # fmt: skip
"""A change of one of these columns is a change of the episode."""
_DETAILS = tuple(field.name for field in fields(Details))
_EPISODE_DETAILS = tuple(name for name in _DETAILS if name in EPISODES.schema.names)
_POLL_DETAILS = tuple(name for name in _DETAILS if name in POLLS.schema.names and name != "license")
"""A feed's license is its own column, with more sources."""


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (poll,) = POLLS.rows_of(tables["polls"])
    rows = tables["episodes"]
    newest_first = pc.sort_indices(rows["published_at"], sort_keys=[("", "descending")])  # the undated at the end
    lines = [
        f"- {str(row['published_at'] or 'undated')[:10]} {markdown_text(row['title'] or row['guid'])}"
        for row in rows.select(("published_at", "title", "guid")).take(newest_first[:SHOWN_EPISODES]).to_pylist()
    ]
    return {
        "dagster/row_count": rows.num_rows,
        "title": poll.title or "",
        "http_status": poll.http_status or 0,
        "episodes_listed": poll.n_episodes,
        "newest": dg.MetadataValue.md("\n".join(lines)),
        "problems": dg.MetadataValue.md(
            "\n".join(f"- {markdown_text(problem)}" for problem in poll.problems) or "none"
        ),
    }


@dataclass(frozen=True)
class _LastPoll:
    """What a conditional GET needs of a feed's last landing."""

    url: str | None
    etag: str | None
    last_modified: str | None
    problems: tuple[str, ...]


_OF_LAST_POLL = tuple(field.name for field in fields(_LastPoll))


@dataclass(frozen=True)
class _Known:
    """What is known of the feeds of a batch before they are polled."""

    catalogue: Catalogue
    subscriptions: Mapping[str, Subscription]
    listed: Mapping[str, Commit]
    """Feed → its open landing."""
    last_polls: Mapping[str, _LastPoll]
    """Feed → its last poll, for those that have landed."""
    addresses: Addresses

    @classmethod
    def of(cls, catalogue: Catalogue, keys: Sequence[str]) -> _Known:
        listed = open_commits(catalogue.home, EPISODES.asset)
        rows = catalogue.lake.read_columns(POLLS, keys, listed, ("feed_id", *_OF_LAST_POLL)).to_pylist()
        polls = {row.pop("feed_id"): _LastPoll(**{**row, "problems": tuple(row["problems"])}) for row in rows}
        subscriptions = {feed.feed_id: feed for feed in catalogue.subscriptions(frozenset(keys))}
        return cls(catalogue, subscriptions, listed, polls, Addresses(catalogue))

    def poll(self, feed_id: str) -> PollRow | None:
        """All of its last landing."""
        return next(iter(self.catalogue.lake.rows(POLLS, feed_id, self.listed)), None)

    def episodes(self, feed_id: str) -> list[EpisodeRow]:
        return self.catalogue.lake.rows(EPISODES, feed_id, self.listed) if feed_id in self.last_polls else []


@Stage(
    tables=(EPISODES, POLLS), ui_metadata=_ui_metadata, group="catalogue", batch_size=1000, version="1", catalogue=("feeds",), partition_kind="feed",
    pool="feeds", kinds=frozenset({"rss", "parquet"}), after_batch=admit_from_feeds, note_unchanged=note_unchanged,
)  # fmt: skip
def episodes(batch: Batch, catalogue: Catalogue, fetch_policy: FetchPolicy) -> Iterator[Outcome]:
    """Polls a feed with a conditional GET, lands every episode that it has ever listed, and admits them to the window.

    An episode's key never changes, even if its title, date or URL does.
    """
    known = _Known.of(catalogue, batch.keys)
    return each(
        batch.keys,
        lambda key: _without_forgotten(_poll(key, known, fetch_policy), catalogue.home),
        workers=POLLS_AT_ONCE,
        write=batch.write,
    )


def _without_forgotten(landing: Landing | Unchanged, home: Home) -> Landing | Unchanged:
    """Without the episodes that `podlake forget` removed, also while this poll ran."""
    if isinstance(landing, Unchanged):
        return landing
    rows: Sequence[Any] = landing.rows["episodes"]
    return replace(landing, rows={**landing.rows, "episodes": Tombstones.read(home).without(landing.key, rows)})


def _poll(feed_id: str, known: _Known, policy: FetchPolicy) -> Landing | Unchanged:
    catalogue = known.catalogue
    if feed_id == SINGLES:
        return _landing(catalogue, feed_id, _feed_of_singles(catalogue), None, known.episodes(feed_id), None, None)
    if feed_id not in known.subscriptions:
        raise UpstreamMissing(f"There is no subscription {feed_id}. Add the feed again with `podlake add <url>`.")
    subscription = known.subscriptions[feed_id]
    if not subscription.url.lower().startswith(("http://", "https://")):
        feed, last = parse_feed(_local(subscription.url), url=subscription.url), known.poll(feed_id)
        return _landing(catalogue, feed_id, feed, subscription, known.episodes(feed_id), None, last)
    last_poll = known.last_polls.get(feed_id)
    is_same = last_poll is not None and last_poll.url in (None, subscription.url)
    document = _fetched(subscription, last_poll if is_same else None, catalogue, policy)
    if subscription.ended_at:
        subscription = replace(subscription, ended_at=None)
        catalogue.end(subscription, undo=True)
    move = move_of(subscription, document, None)
    if isinstance(document, NotModified):
        assert last_poll, "a server says `not modified` only to a conditional request"
        is_noted = any(problem.endswith(IF_AGREED) for problem in last_poll.problems)
        before = known.episodes(feed_id) if move or is_noted or subscription.language else []
        if not move and not is_noted and all(row.language_declared == subscription.language for row in before):
            now = datetime.now(UTC)
            return Unchanged(
                feed_id, UnchangedPollRow(feed_id=feed_id, http_status=document.http_status, polled_at=now)
            )
        last = known.poll(feed_id)
        assert last, "a landing is replaced, and never removed while its feed is polled"
        return followed(_unchanged(feed_id, subscription, last, before, document), move, last, known.addresses, policy)
    feed = parse_feed(document.content, url=document.final_url, content_type=document.content_type)
    document = replace(document, content=b"")  # may be large, and is not needed any more
    move, last = move_of(subscription, document, feed.moved_to), known.poll(feed_id) if last_poll else None
    pages = with_pages(feed, policy)
    if pages.may_pass:  # without validators, so that the next poll sees the document and asks for the pages again
        document = replace(document, etag=None, last_modified=None)
    before = known.episodes(feed_id)
    landing = _landing(catalogue, feed_id, pages.feed, subscription, before, document, last, is_whole=pages.is_whole)
    return followed(landing, move, last, known.addresses, policy)


def _fetched(
    subscription: Subscription, last: _LastPoll | None, catalogue: Catalogue, policy: FetchPolicy
) -> Document | NotModified:
    """The feed's document, unless it is as at the last poll. The answer 410 ends the subscription."""
    etag, last_modified = (last.etag, last.last_modified) if last else (None, None)
    try:
        return fetch_document(catalogue.address(subscription), policy, etag=etag, last_modified=last_modified)
    except Gone as error:
        catalogue.end(subscription)
        raise Gone(
            f"{error} The subscription has ended. `podlake refresh {subscription.feed_id}` asks the server again."
        ) from error


def _landing(
    catalogue: Catalogue,
    feed_id: str,
    feed: Feed,
    subscription: Subscription | None,
    known: Sequence[EpisodeRow],
    document: Document | None,
    last: PollRow | None,
    *,
    is_whole: bool = True,
) -> Landing:
    now = datetime.now(UTC)
    listed_by_guid = by_redacted_guid(feed.episodes)
    public = [
        shown if (shown := redacted(episode)).guid == guid else replace(shown, guid=guid)
        for guid, episode in listed_by_guid.items()
    ]
    keys = assign_keys(
        feed_id,
        public,
        {without_credentials(row.guid): KnownEpisode(row.episode_id, row.title, row.published_at) for row in known},
    )
    before = {row.episode_id: row for row in known}
    own_language = subscription.language if subscription else None
    rows = [
        _row(keys[episode.guid], episode, own_language or episode.language_declared or feed.language, before, now)
        for episode in public
    ]
    changed = (pair for pair, shown in zip(listed_by_guid.items(), public, strict=True) if pair[1] is not shown)
    keep_secrets(catalogue.episode_secrets(feed_id), dict(changed), keys)
    _clear_failures(catalogue.lake, rows, before)
    listed = {row.episode_id for row in rows}
    if last and (reason := _doubt(rows, known)) and reason not in last.problems:
        # Without validators, so that the next poll sees the document again.
        poll = replace(last, etag=None, last_modified=None, http_status=document.http_status if document else None,
                       last_polled_at=now, problems=(*last.problems, reason))  # fmt: skip
        return Landing(feed_id, {"episodes": known, "polls": [poll]})
    rows += [
        replace(row, listed=False, last_changed_at=now) if row.listed and is_whole else row
        for row in known
        if row.episode_id not in listed
    ]
    poll = PollRow(
        etag=document.etag if document else None,
        last_modified=document.last_modified if document else None,
        http_status=document.http_status if document else None,
        canonical_url=feed.canonical_url, podcast_guid=feed.podcast_guid, title=feed.title, author=feed.author,
        language_declared=feed.language, language=normalise_language(feed.language), categories=feed.categories,
        license=feed.license, last_polled_at=now, n_episodes=len(feed.episodes), problems=feed.problems,
        **_details(feed.details, _POLL_DETAILS),
        url=subscription.url if subscription else None,
    )  # fmt: skip
    return Landing(feed_id, {"episodes": rows, "polls": [redacted(poll)]})


def _details(details: Details | None, columns: Sequence[str]) -> dict[str, Any]:
    """The details that are columns of the row, NULL where the feed says nothing."""
    if details is None:
        return {}
    found = {name: getattr(details, name) for name in columns}
    return {name: None if value == () else value for name, value in found.items()}


def _clear_failures(lake: Lake, rows: Sequence[EpisodeRow], before: Mapping[str, EpisodeRow]) -> None:
    """An episode whose URL has changed has not failed: what failed was another file."""
    changed = {
        row.episode_id for row in rows if row.episode_id in before and _files(row) != _files(before[row.episode_id])
    }
    for name in lake.keys(FAILURES) if changed else ():
        if name.partition(".")[0] in changed:
            lake.remove(FAILURES, name)


def _files(row: EpisodeRow) -> tuple[str, ...]:
    return (row.enclosure_url, *(row.alternative_urls or ()))


def _doubt(rows: Sequence[EpisodeRow], known: Sequence[EpisodeRow]) -> str | None:
    """Why a document may not be the feed's: it lists none of the known episodes. A poll takes effect if the next agrees.

    A feed that always lists one episode, such as an hourly bulletin, replaces it.
    """
    before, now = [row for row in known if row.listed], {row.episode_id for row in rows}
    if not before or any(row.episode_id in now for row in before):
        return None
    if len(before) == 1 and any(
        row.published_at and row.published_at > (before[0].published_at or row.published_at - timedelta(1))
        for row in rows
    ):
        return None
    return f"the document listed none of the {len(before)} known episodes, which takes effect if the next poll agrees"


def _unchanged(
    feed_id: str, subscription: Subscription, last: PollRow, known: Sequence[EpisodeRow], answer: NotModified
) -> Landing:
    """The same episodes, in the language that the user has given since the last poll."""
    poll = replace(last, http_status=answer.http_status, last_polled_at=datetime.now(UTC))
    if declared := subscription.language:
        known = [replace(row, language_declared=declared, language=normalise_language(declared)) for row in known]
    return Landing(feed_id, {"episodes": known, "polls": [poll]})


def _row(
    key: str, episode: Episode, language_declared: str | None, before: Mapping[str, EpisodeRow], now: datetime
) -> EpisodeRow:
    row = EpisodeRow(
        episode_id=key, guid=episode.guid, title=episode.title, published_at=episode.published_at,
        duration_declared_ms=episode.duration_declared_ms, enclosure_url=episode.enclosure_url,
        enclosure_type=episode.enclosure_type, enclosure_length=episode.enclosure_length, season=episode.season,
        episode_no=episode.episode_no, language_declared=language_declared, language=normalise_language(language_declared),
        transcript_urls=episode.transcript_urls, chapters_url=episode.chapters_url, listed=True, first_seen_at=now,
        last_changed_at=now, alternative_urls=episode.alternative_urls or None,
        **_details(episode.details, _EPISODE_DETAILS),
    )  # fmt: skip
    old = before.get(key)
    if old is None:
        return row
    is_same = all(getattr(row, name) == getattr(old, name) for name in _CHANGES)
    return replace(row, first_seen_at=old.first_seen_at, last_changed_at=old.last_changed_at if is_same else now)


def _feed_of_singles(catalogue: Catalogue) -> Feed:
    """Audio that the user added by URL, as the feed that lists it."""
    found = [
        Episode(
            guid=_guid_of_single(single.url), title=single.title or Path(without_credentials(single.url)).name, published_at=single.added_at, duration_declared_ms=None, enclosure_url=single.url, enclosure_type=None,
            enclosure_length=None, season=None, episode_no=None, language_declared=single.language, transcript_urls=(),
            chapters_url=None,
        )
        for single in catalogue.singles()
    ]  # fmt: skip
    return Feed(
        podcast_guid=None, title="Added by hand", author=None, language=None, categories=(), license=None,
        canonical_url=None, episodes=tuple(found), problems=(),
    )  # fmt: skip


def _guid_of_single(url: str) -> str:
    """Its URL. Two that differ only in their credentials are two files."""
    shown = without_credentials(url)
    return shown if shown == url else f"{shown}#{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _local(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise NotAFeed(
            f"The RSS file {path} cannot be read: {error.strerror}. Put it back, or delete the feed in subscriptions/."
        ) from error
