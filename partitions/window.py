"""The rules of the live window: which episodes of the catalogue are Dagster partitions.

Dagster's costs grow with the number of partitions, so only the episodes in work are partitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

LEAVE_TOGETHER = 20
"""Finished episodes leave a full window when they are a twentieth of it: each admission reads the whole catalogue."""

UNKNOWN_HOURS = 1.0
"""The length of an episode that declares none."""


@dataclass(frozen=True)
class Window:
    """The rules of admission. An empty set admits all, None sets no limit."""

    size: int = 10_000
    feeds: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    max_age: timedelta | None = None
    """Since publication. An episode without a date is always admitted."""
    audio_hours: float | None = None
    """Of all live episodes, as their feeds declare them."""
    shortage: str | None = None
    """Why nothing is admitted now."""

    def share(self, n_feeds: int) -> Window:
        """The rules for one of `n_feeds` feeds: an even share, so that no back catalogue fills the window at once."""
        hours = None if self.audio_hours is None else self.audio_hours / max(1, n_feeds)
        return replace(self, size=max(1, self.size // max(1, n_feeds)), audio_hours=hours)


@dataclass(frozen=True)
class Waiting:
    """An episode that may be admitted."""

    key: str
    feed_id: str
    language: str
    published_at: datetime | None
    duration_ms: int | None


def hours(duration_ms: int | None) -> float:
    return UNKNOWN_HOURS if duration_ms is None else duration_ms / 3.6e6


def admitted(
    waiting: Iterable[Waiting], window: Window, *, inside: int, hours_inside: float, now: datetime
) -> Iterator[str]:
    """The keys to admit, in order, given the number and the hours of live episodes.

    An episode that exceeds the remaining hours is skipped. Stops reading when the window is full.
    """
    for episode in waiting:
        if inside >= window.size or window.shortage:
            return
        length_hours = hours(episode.duration_ms)
        fits = window.audio_hours is None or hours_inside + length_hours <= window.audio_hours
        if fits and _is_allowed(episode, window, now):
            yield episode.key
            inside, hours_inside = inside + 1, hours_inside + length_hours


def _is_allowed(episode: Waiting, window: Window, now: datetime) -> bool:
    is_old = window.max_age and episode.published_at and now - episode.published_at > window.max_age
    return (
        not is_old
        and (not window.feeds or episode.feed_id in window.feeds)
        and (not window.languages or episode.language in window.languages)
    )


def leaving(order: Sequence[str], finished: Set[str], sealed: Set[str], window: Window) -> list[str]:
    """The episodes to archive: finished ones if they are sealed, or if the window is full.

    Finished means complete, or failed at the last attempt.
    """
    is_full = len(order) >= window.size and len(finished) * LEAVE_TOGETHER >= window.size
    chosen = finished if is_full else finished & sealed
    return [key for key in order if key in chosen]


def sealable(
    landed_at: Mapping[str, datetime], live: Set[str], finished: Set[str], *, before: datetime
) -> frozenset[str]:
    """The keys to compact: finished or archived, and not landed since `before`. `landed_at` lists open landings."""
    return frozenset(key for key, at in landed_at.items() if at <= before and (key not in live or key in finished))
