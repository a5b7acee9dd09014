"""Processes that do one job at a time each, and whose death costs no more than the job they held.

Unlike those of a process pool, the fellows of a worker live on when it dies.
"""

from __future__ import annotations

import os
import selectors
from collections.abc import Callable
from typing import Generic, TypeVar

from speech.errors import EngineCrashed
from speech.processes import Json, Owner, Process

Ticket = TypeVar("Ticket")

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""One process per core is parallel enough."""


def usable_cores() -> int:
    """Cores that this process may run on, not those that the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def serve(answer: Callable[[Json], Json]) -> None:
    """What a worker's module runs: answer requests until there are no more. An exception ends the worker."""
    owner = Owner()
    while (request := owner.receive()) is not None:
        owner.tell(answer(request))


class Workers(Generic[Ticket]):
    """`count` processes of a module, started when this is made, warm until it is closed."""

    def __init__(self, module: str, count: int) -> None:
        self._module = module
        self._idle = [self._started() for _ in range(count)]
        self._busy: dict[Process, Ticket] = {}

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def busy(self) -> int:
        return len(self._busy)

    def give(self, ticket: Ticket, request: Json) -> None:
        """Start a job on an idle worker; its answer comes back with the ticket."""
        worker = self._idle.pop()
        if not worker.is_alive:  # it died while nobody looked: no job is lost by that
            worker = self._replaced(worker)
        self._busy[worker] = ticket
        worker.tell(request)

    def take(self) -> tuple[Ticket, Json | EngineCrashed]:
        """Wait for the next answer of any worker; a dead worker's is the error, and it is replaced."""
        worker = self._next_ready()
        ticket = self._busy.pop(worker)
        answer = worker.receive()
        if answer is not None:
            self._idle.append(worker)
            return ticket, answer
        last_error = worker.last_error()
        self._idle.append(self._replaced(worker))
        return ticket, EngineCrashed(f"A process of {self._module} died at work ({last_error}).")

    def abandon(self) -> None:
        """Forget the jobs under way; their workers are replaced."""
        self._idle += [self._replaced(worker) for worker in self._busy]
        self._busy = {}

    def close(self) -> None:
        for worker in (*self._idle, *self._busy):
            worker.end()
        self._idle, self._busy = [], {}

    def _next_ready(self) -> Process:
        with selectors.DefaultSelector() as selector:
            for worker in self._busy:
                selector.register(worker, selectors.EVENT_READ, worker)
            ready: Process = selector.select()[0][0].data
            return ready

    def _started(self) -> Process:
        return Process(self._module, environment=_ONE_THREAD)

    def _replaced(self, worker: Process) -> Process:
        worker.end()
        return self._started()
