"""Ends a run of this process that another process has cancelled. Dagster ends only those that its launcher has started."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

log = logging.getLogger("podlake")

LOOK_S = 1.0
AGAIN_S = 10.0
"""An interrupt is ignored between two steps if this process runs in the background, so it is repeated."""
_CANCELLED = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)


@contextmanager
def interrupted_if_cancelled(instance: dg.DagsterInstance, run_id: str) -> Iterator[None]:
    """Interrupt the main thread, as Ctrl-C does, when the run is cancelled during this block.

    Dagster ends the step and reports the end of the run. The interrupt does not leave this block. In other threads,
    where runs cannot be interrupted, nothing is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    ended, cancelled = threading.Event(), threading.Event()
    watching = threading.Thread(target=_watch, args=(instance, run_id, ended, cancelled), daemon=True)
    watching.start()
    try:
        try:
            yield
        finally:
            ended.set()
            watching.join()
    except KeyboardInterrupt:
        if not cancelled.is_set():
            raise


def _watch(
    instance: dg.DagsterInstance, run_id: str, ended: threading.Event, cancelled: threading.Event
) -> None:  # fmt: skip
    wait_s = LOOK_S
    while not ended.wait(wait_s):
        try:
            run = instance.get_run_by_id(run_id)
        except Exception:
            log.exception("whether the run %s is cancelled could not be looked up; it is tried again", run_id)
            continue
        if run is not None and run.status in _CANCELLED:
            cancelled.set()
            log.info("the run %s is cancelled, and ends", run_id)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            wait_s = AGAIN_S
