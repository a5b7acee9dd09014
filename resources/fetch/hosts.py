"""How often a host is asked: connections at a time, spacing of requests, and pauses that it asks for."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from resources.fetch.addresses import AllowedHosts
from speech.errors import HostPaused

CONNECTIONS_PER_HOST = 4
LOOK_EVERY_S = 0.5
"""A look for a pause before each request to a host takes a tenth of a short request."""


@dataclass(frozen=True)
class FetchPolicy:
    """What is fetched, and how politely. The default fetches from public addresses only."""

    allowed: AllowedHosts = field(default_factory=AllowedHosts)
    """Hosts that are fetched from although their addresses are not public."""
    contact: str = ""
    """An address or a page in the User-Agent, for administrators of servers."""
    connections_per_host: int = CONNECTIONS_PER_HOST
    """At a time, from this process."""
    spacing_s: float = 0.0
    """From the start of a request to the start of the next one to the host."""
    answer_within_s: float = 60.0
    """From connecting until the headers of the last redirect are there."""
    pauses: Path | None = None
    """A folder by which the processes of this machine tell each other which hosts to leave alone."""

    _states: dict[str, _HostState] = field(default_factory=dict, repr=False, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @contextmanager
    def turn(self, host: str) -> Iterator[None]:
        """Wait until the host may be asked. Raises `HostPaused`."""
        state = self._state(host)
        with state.connections:
            self._refuse_paused(host)
            state.wait_for_spacing(self.spacing_s)
            yield

    def pause(self, host: str, seconds: float) -> None:
        """Ask the host nothing for so long."""
        until = time.time() + seconds
        state = self._state(host)
        state.paused_until = max(state.paused_until, until)
        if path := self._shared(host):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.utime(path, (until, until))

    def _refuse_paused(self, host: str) -> None:
        state = self._state(host)
        if (path := self._shared(host)) and state.is_look_due():
            with suppress(FileNotFoundError):
                state.paused_until = max(state.paused_until, path.stat().st_mtime)
        if (left_s := state.paused_until - time.time()) > 0:
            raise HostPaused(
                f"{host} was not asked: it wants to be left alone for {left_s:.0f} s more (it answered 429 or 503).",
                left_s,
            )

    def _state(self, host: str) -> _HostState:
        with self._lock:
            return self._states.setdefault(host, _HostState(self.connections_per_host))

    def _shared(self, host: str) -> Path | None:
        return self.pauses / hashlib.sha256(host.encode()).hexdigest()[:16] if self.pauses else None


class _HostState:
    """What this process knows of a host."""

    def __init__(self, connections: int) -> None:
        self.connections = threading.Semaphore(connections)
        self.paused_until = 0.0
        self._next_start = 0.0
        self._look_at_s = 0.0
        self._lock = threading.Lock()

    def is_look_due(self) -> bool:
        """Whether it is time to look for a pause that another process has noted."""
        now = time.monotonic()
        if now < self._look_at_s:
            return False
        self._look_at_s = now + LOOK_EVERY_S
        return True

    def wait_for_spacing(self, spacing_s: float) -> None:
        if spacing_s <= 0:
            return
        with self._lock:
            start = max(self._next_start, time.monotonic())
            self._next_start = start + spacing_s
        time.sleep(max(0.0, start - time.monotonic()))
