"""A Python module at work in a process of its own: JSON lines over pipes, seen from both ends.

`Process` is the owner's end, `Owner` the end of the process that is owned. A plain child, unlike one of
`multiprocessing`, never imports the program that uses it (Dagster, a notebook, a script without a main
guard), and may run under another interpreter. What it prints is no message. It ends with its owner,
however that one ends, even in the middle of its work.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

Json = dict[str, Any]

_LAST_WORDS_BYTES = 8_000
_ROOT = Path(__file__).resolve().parents[1]


class Process:
    """`python -m module arguments…`, started when this is made. Raises `OSError` where there is no such interpreter."""

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
                encoding="utf-8",
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
        """Readable when there is a message, or when the process has ended."""
        assert self._running.stdout
        return self._running.stdout.fileno()

    def tell(self, message: Json) -> None:
        """A process that has ended does not hear it: `receive` then says so."""
        assert self._running.stdin
        with suppress(BrokenPipeError):
            self._running.stdin.write(json.dumps(message) + "\n")
            self._running.stdin.flush()

    def receive(self) -> Json | None:
        """Wait for its next message; None where it has ended instead."""
        assert self._running.stdout
        line = self._running.stdout.readline()
        return json.loads(line) if line.endswith("\n") else None

    def last_error(self) -> str:
        """How it ended, and the last line that it wrote to standard error. Waits for the end."""
        code = self._running.wait()
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
        self._stderr.seek(max(0, self._stderr.seek(0, os.SEEK_END) - _LAST_WORDS_BYTES))
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return f"{how}; {lines[-1].strip()}" if lines else how

    def end(self) -> None:
        """Its memory is free when this returns. To end it twice does no harm."""
        self._running.kill()
        self._running.wait()
        for pipe in (self._running.stdin, self._running.stdout, self._stderr):
            assert pipe
            with suppress(BrokenPipeError):  # a message that nobody heard
                pipe.close()


class Owner:
    """The process that started this one. Made before anything else that might print."""

    def __init__(self) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the owner decides
        self._messages = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)  # what a library prints, in Python or C, must not end up among the messages
        threading.Thread(target=_leave_with_owner, daemon=True).start()

    def tell(self, message: Json) -> None:
        self._messages.write(json.dumps(message) + "\n")
        self._messages.flush()

    def receive(self) -> Json | None:
        """Wait for the next message; None where there will be none."""
        line = sys.stdin.readline()
        return json.loads(line) if line else None


def _leave_with_owner() -> None:
    """The other end of standard input closes when the owner lets go, and when it dies."""
    standard_input = select.poll()
    standard_input.register(0, 0)  # no event but the hang-up
    standard_input.poll()
    os._exit(0)


def _import_path() -> str:
    """Where another interpreter finds this package, without finding this interpreter's other packages there."""
    inherited = os.environ.get("PYTHONPATH", "")
    own = "" if _ROOT.name == "site-packages" else str(_ROOT)
    return os.pathsep.join(path for path in (own, inherited) if path)
