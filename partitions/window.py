"""The live window: which of the catalogue's episodes are given to Dagster as partitions.

The catalogue knows every episode; what Dagster costs grows with the partitions that it knows. So it knows those in
work: episodes are admitted while there is room, and leave when they are finished.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

LEAVE_TOGETHER = 20
"""A full window lets finished episodes go when they are a twentieth of it: each admission reads the catalogue once."""

UNKNOWN_HOURS = 1.0
"""What an episode counts as that does not say how long it is."""


@dataclass(frozen=True)
class Window:
    """The rules of admission. An empty set admits all, None sets no limit."""

    size: int = 10_000
    feeds: frozenset[str] = frozenset()
    languages: frozenset[str] = frozenset()
    max_age: timedelta | None = None
    """Since it was published; an episode without a date has no age."""
    audio_hours: float | None = None
    """Of all episodes inside, as their feeds declare them."""

    def share(self, n_feeds: int) -> Window:
        """An even part of it, for one of so many feeds: no feed's back catalogue takes all of the room at once."""
        hours = None if self.audio_hours is None else self.audio_hours / max(1, n_feeds)
        return replace(self, size=max(1, self.size // max(1, n_feeds)), audio_hours=hours)


@dataclass(frozen=True)
class Waiting:
    """An episode that asks to be admitted."""

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
    """The keys to admit, of episodes that come best first, given what is inside already.

    One that is too long for the hours that are left is passed over. Stops reading when the window is full.
    """
    for episode in waiting:
        if inside >= window.size:
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
    """The episodes to archive: finished ones leave when they are sealed, and also unsealed when the window is full.

    Finished is what is complete or has failed for the last time.
    """
    is_full = len(order) >= window.size and len(finished) * LEAVE_TOGETHER >= window.size
    gone = finished if is_full else finished & sealed
    return [key for key in order if key in gone]


def sealable(
    landed_at: Mapping[str, datetime], live: Set[str], finished: Set[str], *, before: datetime
) -> frozenset[str]:
    """The keys to compact, of those with open landings and the time of the newest: archived or finished ones."""
    return frozenset(key for key, at in landed_at.items() if at <= before and (key not in live or key in finished))
