"""Signals of processes that run Dagster, and of the processes that they start."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


def reset_signals() -> None:
    """Let SIGTERM and SIGINT end this process. A child process calls this first.

    A process inherits ignored signals from its parent, even through `exec`: it could only be killed.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def end_with_parent(parent: int) -> None:
    """Let SIGTERM end this process when the process `parent`, which has started it, ends in any way. Linux only."""
    getattr(ctypes.CDLL(None), "prctl", lambda *_: 0)(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(0)


@contextmanager
def sigterm_kept() -> Iterator[None]:
    """Restore the handler of SIGTERM after a Dagster run in this process.

    Dagster gives SIGTERM the handler of SIGINT and does not take it back. A shell ignores SIGINT for background
    processes, so SIGTERM would be ignored as well, in this process and in all that it starts later.
    """
    if threading.current_thread() is not threading.main_thread():  # neither Dagster nor we can set handlers here
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
