"""A GPU server that runs while there is work.

Work announces itself, then makes the server ready under the lock. Whoever shelves takes the same lock and looks again for
work. So work that arrives meets a server that stays, or waits until it is shelved and wakes it.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from urllib.parse import urlsplit

from resources.gpu_server.compute import SHELVABLE, Compute, ServerState
from resources.gpu_server.errors import CloudUnreachable, NotReadyInTime, ServerFailed
from resources.gpu_server.health import not_healthy
from resources.gpu_server.ledger import RENEW_S, GpuServerLedger
from speech.errors import GpuServerUnavailable

log = logging.getLogger("podlake")

ACTIVE_S = 600.0
"""How long the cloud may take to make a server ACTIVE."""
HEALTHY_S = 600.0
"""How long the service may take to load its model after that."""
POLL_S = 5.0
WAKES = 3
"""A cloud without a free GPU accepts the request and shelves the server again; it is asked so often."""
SEEN_EVERY = timedelta(minutes=10)
"""How often a server that is off is looked at: a person may have woken it."""
SHELVING_TAKES = timedelta(minutes=30)
_LEFT_ACTIVE_POLLS = 12


@dataclass(frozen=True)
class GpuServer:
    """One server, and the service on it."""

    compute: Compute
    ledger: GpuServerLedger
    health_url: str
    idle: timedelta = timedelta(minutes=15)
    """So long after the last use it is shelved."""
    active_s: float = ACTIVE_S
    healthy_s: float = HEALTHY_S
    pause: Callable[[float], None] = field(default=time.sleep, compare=False, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, compare=False, repr=False)

    @property
    def name(self) -> str:
        return self.compute.name

    def serves(self, urls: Iterable[str | None]) -> bool:
        """Whether a service at one of these URLs is on this server."""
        return urlsplit(self.health_url).hostname in {urlsplit(url).hostname for url in urls if url}

    @contextmanager
    def in_use(self, what: str) -> Iterator[None]:
        """The server, ready, for this block. Raises `GpuServerUnavailable`."""
        owner = secrets.token_hex(16)
        use_id = self.ledger.arrive(self.name, what)
        try:
            with _renewing(self.ledger, use_id, self.name, owner):
                with self._locked(owner):
                    self._make_ready()
                yield
        finally:
            self.ledger.leave(use_id, self.name)

    def shelve_if_idle(self, has_work: Callable[[], bool] = lambda: False, now: datetime | None = None) -> str:
        """Shelve the server if nobody has used it for long and no work waits for it. Returns what was found or done.

        A failure is noted in the ledger, for an alert, and tried again at the next call.
        """
        now = now or datetime.now(UTC)
        if reason := self._reason_to_run(has_work, now):
            return reason
        known = self.ledger.known(self.name)
        if known.is_on is False and known.seen_at and now - known.seen_at < SEEN_EVERY:
            return "It is shelved."
        owner = secrets.token_hex(16)
        if not self.ledger.try_lock(self.name, owner):
            return "Another process wakes or shelves it."
        try:
            return self._reason_to_run(has_work, now) or self._shelve(now)
        except GpuServerUnavailable as error:
            problem = f"The GPU server {self.name} is idle and could not be shelved: {error}"
            self.ledger.note_problem(self.name, problem)
            return problem
        finally:
            self.ledger.unlock(self.name, owner)

    def _reason_to_run(self, has_work: Callable[[], bool], now: datetime) -> str | None:
        if users := self.ledger.users(self.name):
            return f"In use by {', '.join(users)}."
        known = self.ledger.known(self.name)
        if now - known.used_at < self.idle:
            return f"Idle since {known.used_at:%H:%M:%S} UTC."
        return "Work waits for it." if has_work() else None

    def _shelve(self, now: datetime) -> str:
        """Under the lock. Returns when the server has begun to go, so that whoever takes the lock next sees it."""
        state, known = self.compute.state(), self.ledger.known(self.name)
        if state.is_shelved:
            self.ledger.note_off(self.name)
            return "It is shelved."
        asked_at = known.shelve_asked_at
        if asked_at and now - asked_at > SHELVING_TAKES:
            problem = (
                f"The GPU server {self.name} is {state}, although it was asked to be shelved at {asked_at:%H:%M} UTC."
            )
            self.ledger.note_problem(self.name, problem)
            if state.task:
                return problem
        if state.task:
            return f"It is {state}."
        if known.is_on is False:
            self.ledger.note_on(self.name)
            return f"It is {state}: another program has woken it. Its idle time begins now."
        self.ledger.note_on(self.name)
        if state.status not in SHELVABLE:
            raise ServerFailed(f"it is {state}: {state.fault or 'shelve or delete it by hand'}")
        if not self.compute.shelve():
            return "Its state has changed; it is looked at again."
        if asked_at is None:
            self.ledger.note_shelving(self.name)
        for _ in range(_LEFT_ACTIVE_POLLS):
            if not self.compute.state().is_running:
                break
            self.pause(POLL_S)
        return f"Shelved after {(now - known.used_at).total_seconds() / 60:.0f} idle minutes."

    @contextmanager
    def _locked(self, owner: str) -> Iterator[None]:
        """The lock. Others hold it at most as long as a server takes to be ready."""
        deadline = self.clock() + self.active_s + self.healthy_s
        while not self.ledger.try_lock(self.name, owner):
            if self.clock() > deadline:
                raise NotReadyInTime(
                    f"Another process has been waking or shelving the GPU server {self.name} for too long."
                )
            self.pause(POLL_S)
        try:
            yield
        finally:
            self.ledger.unlock(self.name, owner)

    def _make_ready(self) -> None:
        """Under the lock: wait for ACTIVE, waking the server if it is off, then for the service."""
        self.ledger.note_woken(self.name)
        self._wait_until_running()
        self.ledger.note_on(self.name)
        deadline = self.clock() + self.healthy_s
        while reason := not_healthy(self.health_url):
            if self.clock() > deadline:
                raise NotReadyInTime(
                    f"The service of the GPU server {self.name} is not ready after {self.healthy_s:.0f} s: {reason}."
                )
            self.pause(POLL_S)

    def _wait_until_running(self) -> None:
        deadline = self.clock() + self.active_s
        wakes_left, last = WAKES, "it has not answered"
        while True:
            try:
                state = self.compute.state()
                if state.is_running:
                    return
                last = f"it is {state}"
                wakes_left -= self._wake(state, wakes_left)
            except CloudUnreachable as error:
                last = str(error)
            if self.clock() > deadline:
                raise NotReadyInTime(f"The GPU server {self.name} is not ACTIVE after {self.active_s:.0f} s: {last}.")
            self.pause(POLL_S)

    def _wake(self, state: ServerState, wakes_left: int) -> bool:
        """Ask for what the state needs. Returns whether the cloud has accepted a request."""
        if state.status in ("ERROR", "DELETED", "PAUSED", "SUSPENDED", "RESCUE") and state.task is None:
            raise ServerFailed(
                f"The GPU server {self.name} is {state} and does not start: {state.fault or 'see its console'}."
            )
        if not (state.is_shelved or (state.status == "SHUTOFF" and state.task is None)):
            return False
        if not wakes_left:
            raise ServerFailed(f"The GPU server {self.name} was woken {WAKES} times and is {state}: no GPU is free.")
        log.info("waking the GPU server %s, which is %s", self.name, state)
        return self.compute.unshelve() if state.is_shelved else self.compute.start()


@contextmanager
def _renewing(ledger: GpuServerLedger, use_id: str, server: str, owner: str) -> Iterator[None]:
    """Renew the leases in the background during this block."""
    ended = Event()

    def renew() -> None:
        while not ended.wait(RENEW_S):
            try:
                ledger.renew(use_id, server, owner)
            except Exception:
                log.exception("the use of the GPU server %s could not be renewed; it is tried again", server)

    thread = Thread(target=renew, name=f"gpu-server-{server}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
