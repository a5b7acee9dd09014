"""What the engines that this process uses work on now, and how far they are."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(eq=False)
class AtWork:
    """A recording that an engine works on."""

    episode_id: str
    slot: str
    audio_ms: int
    started_s: float = field(default_factory=time.monotonic)
    done_ms: int = 0

    def report(self, done_ms: int) -> None:
        """Called by the engine."""
        self.done_ms = max(self.done_ms, done_ms)

    @property
    def text(self) -> str:
        return text_of(self.done_ms, self.audio_ms, time.monotonic() - self.started_s)


_at_work: dict[AtWork, None] = {}


def begin(episode_id: str, slot: str, audio_ms: int) -> AtWork:
    """Note a recording that an engine has taken, until `end`."""
    one = AtWork(episode_id, slot, audio_ms)
    _at_work[one] = None
    return one


def end(one: AtWork) -> None:
    """The engine has finished it, or given it up."""
    _at_work.pop(one, None)


def at_work() -> list[AtWork]:
    """All recordings, the longest in work first."""
    return list(_at_work)


def text_of(done_ms: int, audio_ms: int, elapsed_s: float) -> str:
    """`12:30 of 35:00, 8.3× real time, 2:43 left`."""
    speed = done_ms / 1000 / elapsed_s if elapsed_s > 0 else 0.0
    rest = f", {speed:.1f}× real time, {_clock((audio_ms - done_ms) / speed)} left" if speed else ""
    return f"{_clock(done_ms)} of {_clock(audio_ms)}{rest}"


def _clock(ms: float) -> str:
    minutes, seconds = divmod(round(max(0.0, ms) / 1000), 60)
    return f"{minutes}:{seconds:02}"
