"""Runs a Python module in a child process that exchanges pickled messages with its owner over pipes.

`Process` is the owner's side, `Owner` the child's side. Unlike a `multiprocessing` child, this one does not import the
owner's program (Dagster, a notebook), and it may use another interpreter: a message must not contain paths, which Python 3.13 pickles
differently. What the child prints is not taken for a message. It exits when its owner exits, even while it works.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from speech.signals import reset_signals

_LAST_ERROR_BYTES = 8_000
_ROOT = Path(__file__).resolve().parents[1]


class Process:
    """Starts `python -m module arguments…`. Raises `OSError` if there is no such interpreter."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str] = (),
        *,
        python: str = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 – lives as long as the process
        try:
            self._running = subprocess.Popen(
                [python, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={**os.environ, "PYTHONPATH": _import_path(), **(environment or {})},
            )
        except OSError:
            self._stderr.close()
            raise

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def is_alive(self) -> bool:
        return self._running.poll() is None

    def fileno(self) -> int:
        """Readable if there is a message, or if the process has exited."""
        assert self._running.stdout
        return self._running.stdout.fileno()

    def tell(self, message: object) -> None:
        """Send a message. If the process has exited, the next `receive` returns None."""
        assert self._running.stdin
        with suppress(BrokenPipeError):
            pickle.dump(message, self._running.stdin)
            self._running.stdin.flush()

    def receive(self) -> Any:
        """Wait for its next message; None if it has exited."""
        assert self._running.stdout
        return _next_message(self._running.stdout)

    def last_error(self) -> str:
        """How it exited, and the last line that it wrote to standard error. Waits for its exit."""
        code = self._running.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - _LAST_ERROR_BYTES))
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f"{how}; {lines[-1].strip()}" if lines else how

    def end(self) -> None:
        """Kill it and wait until its memory is free. May be called twice."""
        self._running.kill()
        self._running.wait()
        for pipe in (self._running.stdin, self._running.stdout, self._stderr):
            assert pipe
            with suppress(BrokenPipeError):  # an unread message
                pipe.close()


class Owner:
    """The process that started this one. Create it before anything else can print."""

    def __init__(self) -> None:
        reset_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the owner decides
        self._messages = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # libraries, in Python or C, must not print between the messages
        threading.Thread(target=_exit_with_owner, daemon=True).start()

    def tell(self, message: object) -> None:
        pickle.dump(message, self._messages)
        self._messages.flush()

    def receive(self) -> Any:
        """Wait for the next message; None if the owner has closed the pipe."""
        return _next_message(sys.stdin.buffer)


def _next_message(pipe: IO[bytes]) -> Any:
    with suppress(EOFError, pickle.UnpicklingError):  # the sender has exited, perhaps within a message
        return pickle.load(pipe)  # noqa: S301 - from our own process
    return None


def _exit_with_owner() -> None:
    """Standard input is closed when the owner closes it, and when the owner exits."""
    standard_input = select.poll()
    standard_input.register(0, 0)  # no event but the hang-up
    standard_input.poll()
    os._exit(0)


def _import_path() -> str:
    """The folder where another interpreter finds this package, but not the other packages of this interpreter."""
    inherited = os.environ.get("PYTHONPATH", "")
    own = "" if _ROOT.name == "site-packages" else str(_ROOT)
    return os.pathsep.join(path for path in (own, inherited) if path)
