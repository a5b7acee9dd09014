"""Tables of feeds and their episodes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from partitions.feeds.details import Link, Person, Recipient
from partitions.feeds.rss import TranscriptLink
from resources.lake.tables.table import FILLED, EpisodeId, FeedId, Int16, Int32, Int64, LandedAt, RunId, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRow:
    """The subscriptions: a row per feed. The feed `singles` holds the audio that was added by URL."""

    feed_id: Annotated[str, "Readable, made once: the feed's Dagster partition key."]
    url: Annotated[str, "Where the feed is read from."]
    title: Annotated[str | None, "Title given when it was added (for example by OPML); NULL where none was."] = None
    language: Annotated[str | None, "Language given when it was added, which overrides the feed's."] = None
    n_items: Annotated[Int32, "Audio URLs added to `singles`; 0 for feeds."]
    added_at: Annotated[datetime, "When it was added."]
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED


@dataclass(frozen=True, slots=True, kw_only=True)
class PollRow:
    """What each feed said of itself at its last successful poll. The view `feeds` joins it to the subscriptions."""

    feed_id: FeedId = FILLED
    canonical_url: Annotated[str | None, "The feed's address as it declares it; NULL where it declares none."] = None
    podcast_guid: Annotated[str | None, "podcast:guid, the same wherever the feed is hosted."] = None
    title: Annotated[str | None, "The feed's title."] = None
    author: Annotated[str | None, "The feed's author."] = None
    language_declared: Annotated[str | None, "The language as the feed writes it."] = None
    language: Annotated[str | None, "The same as a primary tag (`en-US` → `en`); NULL for no valid tag."] = None
    categories: Annotated[tuple[str, ...], "itunes:category and category, as written."]
    license: Annotated[
        str | None, "podcast:license, creativeCommons:license, or the address of a link of that kind."
    ] = None
    etag: Annotated[str | None, "For the next conditional GET."] = None
    last_modified: Annotated[str | None, "For the next conditional GET."] = None
    http_status: Annotated[Int16 | None, "200, or 304 for an unchanged feed; NULL for a local file."] = None
    last_polled_at: Annotated[datetime, "When it was polled."]
    n_episodes: Annotated[Int32, "Episodes that the feed lists now."]
    problems: Annotated[tuple[str, ...], "What was repaired or left out while the feed was read, in words."]
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED
    description_html: Annotated[str | None, "Show notes as the feed writes them, at most 50 000 characters."] = None
    description_text: Annotated[str | None, "The same without markup."] = None
    link: Annotated[str | None, "Its web page."] = None
    image_url: Annotated[str | None, "Its picture."] = None
    explicit: Annotated[bool | None, "itunes:explicit; NULL where it is not declared."] = None
    authors: Annotated[tuple[str, ...] | None, "itunes:author, dc:creator and author."] = None
    persons: Annotated[tuple[Person, ...] | None, "podcast:person: name, role, group, page and picture."] = None
    blocked: Annotated[bool | None, "Whether directories are asked to leave it out (itunes:block, podcast:block)."] = (
        None
    )
    funding: Annotated[tuple[Link, ...] | None, "podcast:funding links."] = None
    value: Annotated[tuple[Recipient, ...] | None, "podcast:value: whom listeners can pay."] = None
    license_url: Annotated[str | None, "The address of the license, if it is given."] = None
    locked: Annotated[bool | None, "podcast:locked: whether hosts are asked not to import it."] = None
    kind: Annotated[str | None, "itunes:type: episodic or serial."] = None
    url: Annotated[str | None, "The subscription's URL at the poll. Another one is polled without validators."] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnchangedPollRow:
    """The last poll of each feed that found it unchanged. Such a poll lands no rows in `polls` and `episodes`."""

    feed_id: Annotated[str, "The feed."]
    http_status: Annotated[Int16, "304."]
    polled_at: Annotated[datetime, "When it was polled."]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeRow:
    """The catalogue: every episode that a feed has ever listed. A landing is a feed."""

    episode_id: EpisodeId
    feed_id: Annotated[str, "The feed it belongs to."] = FILLED
    guid: Annotated[str, "The feed's own identifier; the enclosure's URL where the feed gives none."]
    title: Annotated[str | None, "Title."] = None
    published_at: Annotated[datetime | None, "pubDate; NULL where it is missing or unreadable."] = None
    duration_declared_ms: Annotated[Int64 | None, "itunes:duration; NULL where it is missing or unreadable."] = None
    enclosure_url: Annotated[str, "The audio's URL."]
    enclosure_type: Annotated[str | None, "Its MIME type, as the feed says."] = None
    enclosure_length: Annotated[Int64 | None, "Its length in bytes, as the feed says."] = None
    season: Annotated[Int32 | None, "itunes:season."] = None
    episode_no: Annotated[Int32 | None, "itunes:episode."] = None
    language_declared: Annotated[str | None, "As written by the user, the item or the feed, in that order."] = None
    language: Annotated[str | None, "The same, normalised; NULL where none is declared."] = None
    transcript_urls: Annotated[tuple[TranscriptLink, ...], "podcast:transcript links."]
    chapters_url: Annotated[str | None, "podcast:chapters link."] = None
    listed: Annotated[bool, "Whether the feed still lists it."]
    first_seen_at: Annotated[datetime, "When a poll first saw it."]
    last_changed_at: Annotated[datetime, "When a poll last saw it changed."]
    run_id: RunId = FILLED
    landed_at: LandedAt = FILLED
    alternative_urls: Annotated[
        tuple[str, ...] | None, "Other files of the item, tried in this order if the enclosure cannot be fetched."
    ] = None
    description_html: Annotated[str | None, "Show notes as the item writes them, at most 50 000 characters."] = None
    description_text: Annotated[str | None, "The same without markup."] = None
    link: Annotated[str | None, "Its web page."] = None
    image_url: Annotated[str | None, "Its picture."] = None
    explicit: Annotated[bool | None, "itunes:explicit; NULL where it is not declared."] = None
    authors: Annotated[tuple[str, ...] | None, "itunes:author, dc:creator and author."] = None
    persons: Annotated[tuple[Person, ...] | None, "podcast:person: name, role, group, page and picture."] = None
    blocked: Annotated[bool | None, "Whether directories are asked to leave it out (itunes:block, podcast:block)."] = (
        None
    )
    funding: Annotated[tuple[Link, ...] | None, "podcast:funding links."] = None
    value: Annotated[tuple[Recipient, ...] | None, "podcast:value: whom listeners can pay."] = None
    license_url: Annotated[str | None, "The address of the license, if it is given."] = None
    license: Annotated[
        str | None, "podcast:license or creativeCommons:license of the item; NULL: the feed's applies."
    ] = None
    kind: Annotated[str | None, "itunes:episodeType: full, trailer or bonus."] = None


SUBSCRIPTIONS = Table("subscriptions", "feeds", ("feed_id",), SubscriptionRow, landing=())
POLLS = Table("polls", "episodes", ("feed_id",), PollRow, landing=("feed_id",))
EPISODES = Table("episodes", "episodes", ("episode_id",), EpisodeRow, landing=("feed_id",))
UNCHANGED_POLLS = Table("unchanged_polls", "episodes", ("feed_id",), UnchangedPollRow, landing=())
