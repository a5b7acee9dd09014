"""Episodes, feeds and stages: what is submitted, listed and looked up."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class NewEpisode:
    """Audio to process, by its URL."""

    url: str
    title: str | None = None
    language: str | None = None
    guid: str | None = None
    date: str | None = None
    """When it was published: 2026-01-31T08:00:00Z."""


@dataclass(frozen=True)
class NewFeed:
    """A feed to subscribe to."""

    url: str
    title: str | None = None
    language: str | None = None
    priority: int = 0
    """Feeds of a higher priority are processed first."""


@dataclass(frozen=True)
class Submitted:
    """What came of an episode or a feed that was submitted."""

    url: str
    id: str | None
    """The episode's or the feed's; None: it was refused."""
    outcome: Literal["added", "present", "forgotten", "refused"]
    reason: str | None = None


@dataclass(frozen=True)
class BulkResult:
    """What came of a list."""

    audio: int
    feeds: int
    duplicates: int
    forgotten: int
    bad: int
    problems: tuple[str, ...]
    """The first bad lines, and why."""


@dataclass(frozen=True)
class EpisodeEntry:
    """An episode in a list."""

    episode_id: str
    feed_id: str
    title: str | None
    published_at: datetime | None
    language: str | None
    duration_ms: int | None
    state: str
    """`done`, `failed: audio`, `next: diarization`, or `removed`."""


@dataclass(frozen=True)
class EpisodeList:
    """A page of episodes, newest first."""

    episodes: tuple[EpisodeEntry, ...]
    next_cursor: str | None
    """For the next page; None: this is the last."""


@dataclass(frozen=True)
class FeedEntry:
    """A feed in a list."""

    feed_id: str
    title: str | None
    language: str | None
    url: str | None
    n_episodes: int
    last_polled_at: datetime | None


@dataclass(frozen=True)
class FeedList:
    """A page of feeds, by id."""

    feeds: tuple[FeedEntry, ...]
    next_cursor: str | None


@dataclass(frozen=True)
class StageStatus:
    """Where an episode stands at a stage, and what its last try did."""

    stage: str
    state: Literal["landed", "failed", "waiting"]
    finished_at: datetime | None = None
    tries: int = 0
    run_id: str | None = None
    engine: str | None = None
    model: str | None = None
    audio_ms: int | None = None
    engine_ms: int | None = None
    rtfx: float | None = None
    worker: str | None = None
    error_class: str | None = None
    message: str | None = None
    retryable: bool | None = None
    next_retry_at: datetime | None = None


@dataclass(frozen=True)
class EpisodeStatus:
    """An episode with all its stages."""

    episode_id: str
    feed_id: str
    title: str | None
    published_at: datetime | None
    language: str | None
    audio_url: str
    state: str
    stages: tuple[StageStatus, ...]


@dataclass(frozen=True)
class RetryRequest:
    """Which failures to repeat. Empty: all."""

    stages: tuple[str, ...] = ()
    error_classes: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    episodes: tuple[str, ...] = ()


@dataclass(frozen=True)
class RetryResult:
    """How many keys failed at each stage, and the backfill that repeats them."""

    failed: dict[str, int]
    backfill_id: str | None
    """None: nothing is ready, or all of it is in work."""


@dataclass(frozen=True)
class Forgotten:
    """What was removed."""

    feeds: int
    episodes: int
    rows: int
    files: int
    lessons: int = 0
    """Lessons that were made of the episodes."""
    not_removed: list[str] = field(default_factory=list)
    """What has to be removed elsewhere by hand."""
