"""Podcasts from scripts, and listening live."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class ListeningGrant:
    """A token with which one listener hears an episode or a podcast live."""

    token: str
    path: str
    """Of the WebSocket; `?from=` is the time in ms at which to begin."""
    expires_at: datetime


PodcastState = Literal["pending", "processing", "completed", "failed", "cancelled"]


@dataclass(frozen=True)
class NewPodcast:
    """A podcast to make from a script: `[S1] Hello. [S2] Hi!`."""

    script: str
    title: str
    language: str = "en"
    seed: int = 0
    """Another seed gives other samples, where a voice can do that; 0: the voice's own."""


@dataclass(frozen=True)
class PodcastTurn:
    """A turn of a podcast's script."""

    speaker: str
    text: str
    is_said: bool
    """Whether its line exists."""
    start_ms: int | None = None
    """Its place in the finished audio."""
    end_ms: int | None = None


@dataclass(frozen=True)
class Podcast:
    """A requested podcast, and what became of it."""

    podcast_id: str
    user: str
    title: str
    language: str
    state: PodcastState
    requested_at: datetime
    position: int | None = None
    """Place among the pending podcasts of all users, from 1."""
    n_turns: int = 0
    lines_made: int = 0
    """Turns whose lines exist. What runs on other machines say is counted when all lines have landed."""
    attempt: int = 0
    stage: str | None = None
    """The stage that is under way, or has failed."""
    error: str | None = None
    retry_at: datetime | None = None
    duration_ms: int | None = None
    """Of the finished audio."""
    script: str | None = None
    """Only in the answer about one podcast."""
    turns: tuple[PodcastTurn, ...] = ()
    """Only in the answer about one podcast."""


@dataclass(frozen=True)
class PodcastList:
    """A page of podcasts, the newest first."""

    podcasts: tuple[Podcast, ...]
    next_cursor: str | None
    """For the next page; None: this is the last."""


@dataclass(frozen=True)
class PodcastVoice:
    """The voice of a speaker."""

    speaker: str
    voice: str
    language: str | None
    """None: for all languages that no other voice of the speaker is for."""


@dataclass(frozen=True)
class PodcastLimits:
    """Who asks, what they may request, and with which voices."""

    user: str
    is_admin: bool
    at_once: int
    open: int
    """Their pending and processing podcasts."""
    per_day: int
    today: int
    """Their requests of this day of UTC."""
    script_characters: int
    """A script has fewer."""
    title_characters: int
    """A title has at most as many."""
    voices: tuple[PodcastVoice, ...]


@dataclass(frozen=True)
class PodcastProblem:
    """Why a script would be refused."""

    field: Literal["script", "title", "language", "seed"]
    code: str
    message: str


@dataclass(frozen=True)
class PodcastUser:
    """A user's podcasts of the last days, by state."""

    user: str
    states: dict[PodcastState, int]


@dataclass(frozen=True)
class PodcastOverview:
    """The podcasts of all users since a moment."""

    since: datetime
    states: dict[PodcastState, int]
    users: tuple[PodcastUser, ...]
    mails: dict[str, int]
    """E-mails by state. `sending` for long: the process was killed while the mail server took it."""


@dataclass(frozen=True)
class PodcastNotification:
    """A podcast that is completed or has failed. The id grows; a client leaves out ids that it has seen."""

    id: int
    podcast_id: str
    title: str
    state: Literal["completed", "failed"]
    at: datetime
    error: str | None = None
