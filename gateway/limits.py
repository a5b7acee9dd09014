"""Limits of requests: how many a client may make in a minute, and how large a body may be."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from starlette.types import Message, Receive

from gateway.errors import Problem

_MOST_CLIENTS = 100_000


@dataclass
class Rate:
    """Counts by client. A count decreases steadily, by the limit in a minute."""

    per_minute: int
    _level: dict[str, tuple[float, float]] = field(default_factory=dict)

    def is_spent(self, client: str) -> bool:
        return self._now(client) >= self.per_minute

    def count(self, client: str) -> None:
        if len(self._level) >= _MOST_CLIENTS:
            self._level.clear()
        self._level[client] = (self._now(client) + 1, time.monotonic())

    def _now(self, client: str) -> float:
        level, at_s = self._level.get(client, (0.0, 0.0))
        return max(0.0, level - (time.monotonic() - at_s) * self.per_minute / 60)


def limited(receive: Receive, most_bytes: int) -> Receive:
    """Receives the body, and raises `Problem` 413 when it is too large."""
    received = 0

    async def read() -> Message:
        nonlocal received
        message = await receive()
        if message["type"] == "http.request":
            received += len(message.get("body", b""))
            if received > most_bytes:
                raise too_large(most_bytes)
        return message

    return read


def too_large(most_bytes: int) -> Problem:
    return Problem(
        413, f"The body is larger than {most_bytes / 1e6:g} MB, the limit for this path. Divide it, or make it smaller."
    )
