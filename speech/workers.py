"""Processes that do one job at a time each, and whose death costs no more than the job they held.

A worker is `python -m <module>`, a plain child: unlike one of `multiprocessing` it never imports the
program that uses it (Dagster, a notebook, a script without a main guard), and unlike those of a
process pool its fellows live on when it dies. Requests and answers are JSON, a line each. A worker
whose parent is gone reads the end of its input and goes too.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from speech.errors import EngineCrashed

Json = dict[str, Any]
Ticket = TypeVar("Ticket")


def usable_cores() -> int:
    """Cores that this process may run on, not those that the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def serve(answer: Callable[[Json], Json]) -> None:
    """What a worker's module runs: answer requests until there are no more.

    An exception ends the worker, with its traceback on standard error.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a C library prints must not end up among the answers
    for request in sys.stdin:
        answers.write(json.dumps(answer(json.loads(request))) + "\n")
        answers.flush()


class Workers(Generic[Ticket]):
    """`count` processes of a module, started when this is made, warm until it is closed."""

    def __init__(self, module: str, count: int) -> None:
        self._module = module
        self._idle = [self._started() for _ in range(count)]
        self._busy: dict[subprocess.Popen[str], Ticket] = {}

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def busy(self) -> int:
        return len(self._busy)

    def give(self, ticket: Ticket, request: Json) -> None:
        """Start a job on an idle worker; its answer comes back with the ticket."""
        worker = self._idle.pop()
        if worker.poll() is not None:  # it died while nobody looked: no job is lost by that
            worker = self._replaced(worker)
        self._busy[worker] = ticket
        assert worker.stdin
        with suppress(BrokenPipeError):  # `take` reads the end of its output and says so
            worker.stdin.write(json.dumps(request) + "\n")
            worker.stdin.flush()

    def take(self) -> tuple[Ticket, Json | EngineCrashed]:
        """Wait for the next answer of any worker; a dead worker's is the error, and it is replaced."""
        worker = self._next_ready()
        ticket = self._busy.pop(worker)
        assert worker.stdout
        line = worker.stdout.readline()
        if line.endswith("\n"):
            self._idle.append(worker)
            return ticket, json.loads(line)
        cause = _cause(worker.wait())
        self._idle.append(self._replaced(worker))
        return ticket, EngineCrashed(f"A process of {self._module} died at work ({cause}).")

    def abandon(self) -> None:
        """Forget the jobs under way; their workers are replaced."""
        self._idle += [self._replaced(worker) for worker in self._busy]
        self._busy = {}

    def close(self) -> None:
        for worker in (*self._idle, *self._busy):
            _ended(worker)
        self._idle, self._busy = [], {}

    def _next_ready(self) -> subprocess.Popen[str]:
        with selectors.DefaultSelector() as selector:
            for worker in self._busy:
                assert worker.stdout
                selector.register(worker.stdout, selectors.EVENT_READ, worker)
            ready: subprocess.Popen[str] = selector.select()[0][0].data
            return ready

    def _started(self) -> subprocess.Popen[str]:
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # one process per core is parallel enough
        return subprocess.Popen(
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **one_thread},
        )

    def _replaced(self, worker: subprocess.Popen[str]) -> subprocess.Popen[str]:
        _ended(worker)
        return self._started()


def _ended(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    worker.wait()
    for pipe in (worker.stdin, worker.stdout):
        assert pipe
        with suppress(BrokenPipeError):  # a request that nobody read
            pipe.close()


def _cause(returncode: int) -> str:
    if returncode < 0:
        return f"signal {signal.Signals(-returncode).name}"
    return f"exit status {returncode}; its traceback is on standard error"
