"""How fast a stream is sent: a burst of 5 s at once, then at twice real time, at most 15 s ahead of what a player can have played."""

from __future__ import annotations

from dataclasses import dataclass

BURST_MS = 5_000
AHEAD_MS = 15_000
FILL_SPEED = 2.0


@dataclass
class Pace:
    """Counts what was sent, less the time that has passed. Times are seconds of a clock that only goes forward."""

    burst_ms: float = BURST_MS
    ahead_ms: float = AHEAD_MS
    _level_ms: float = 0.0
    """How much the player has at least, if it has played all the time."""
    _at_s: float | None = None
    _sent_s: float = 0.0
    _is_held: bool = False

    def wait_s(self, length_ms: float, now_s: float) -> float:
        """How long until this much more may be sent."""
        self._pass(now_s)
        after_ms = self._level_ms + length_ms
        if after_ms <= self.burst_ms:
            return 0.0
        fill_s = self._sent_s + length_ms / 1000 / FILL_SPEED - now_s
        return max(0.0, fill_s, (after_ms - self.ahead_ms) / 1000)

    def sent(self, length_ms: float, now_s: float) -> None:
        """Note that this much was sent."""
        self._pass(now_s)
        self._level_ms += length_ms
        self._sent_s = now_s

    def hold(self, now_s: float) -> None:
        """The player has paused: what it has stays."""
        self._pass(now_s)
        self._is_held = True

    def resume(self, now_s: float) -> None:
        """The player goes on."""
        self._pass(now_s)
        self._is_held = False

    def _pass(self, now_s: float) -> None:
        if self._at_s is not None and not self._is_held:
            self._level_ms = max(0.0, self._level_ms - 1000 * (now_s - self._at_s))
        self._at_s = now_s
