"""Search over turns."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True)
class SearchRequest:
    """What to search for: words and "phrases", and filters."""

    q: str
    feed: str | None = None
    speaker: str | None = None
    language: str | None = None
    since: date | None = None
    until: date | None = None
    limit: int = 20


@dataclass(frozen=True)
class SearchHit:
    """A turn that was found."""

    episode_id: str
    title: str
    feed_id: str
    turn_idx: int
    speaker: str | None
    start_ms: int
    snippet: str
    marks: tuple[tuple[int, int], ...]
    """Where the searched words are in the snippet."""
    score: float


@dataclass(frozen=True)
class SearchHits:
    """The best hits, and how many turns match."""

    total: int
    hits: tuple[SearchHit, ...]
