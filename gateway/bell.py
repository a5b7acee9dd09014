"""Wakes the WebSockets of users for whom there is something new."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Bell:
    """The listeners of this process, by user. It is used in the event loop only."""

    _listeners: dict[str, list[asyncio.Event]] = field(default_factory=dict)

    @contextmanager
    def listening(self, user_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever there is something new for the user."""
        event = asyncio.Event()
        self._listeners.setdefault(user_id, []).append(event)
        try:
            yield event
        finally:
            self._listeners[user_id].remove(event)
            if not self._listeners[user_id]:
                del self._listeners[user_id]

    def ring(self, users: Iterable[str]) -> None:
        for user in users:
            for event in self._listeners.get(user, ()):
                event.set()

    def count(self, user_id: str | None = None) -> int:
        """Listeners of a user, or of all."""
        if user_id is not None:
            return len(self._listeners.get(user_id, ()))
        return sum(map(len, self._listeners.values()))
