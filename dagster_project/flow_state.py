"""The cursor of the sensor `episode_flow`: its state between ticks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from datetime import datetime


@dataclass(frozen=True)
class FlowState:
    """The state of the window at the last admission, and the hours repeated because of a new engine on a day."""

    live_episodes: int = -1
    last_poll: str = ""
    engines: str = ""
    """The engines that were configured at the last admission."""
    day: str = ""
    redone_hours: float = 0.0

    @classmethod
    def parse(cls, cursor: str | None) -> FlowState:
        """A cursor of an earlier version counts as none."""
        try:
            return cls(**json.loads(cursor or "{}"))
        except (ValueError, TypeError):
            return cls()

    def text(self) -> str:
        return json.dumps(asdict(self))

    def seeing(self, live_episodes: int, last_poll: str, engines: str) -> FlowState:
        return replace(self, live_episodes=live_episodes, last_poll=last_poll, engines=engines)

    def redo_hours_left(self, hours_per_day: float, now: datetime) -> float:
        return max(0.0, hours_per_day - (self.redone_hours if self.day == _day(now) else 0.0))

    def after_redo(self, hours: float, now: datetime) -> FlowState:
        before = self.redone_hours if self.day == _day(now) else 0.0
        return replace(self, day=_day(now), redone_hours=before + hours)


def _day(now: datetime) -> str:
    return f"{now:%Y-%m-%d}"
