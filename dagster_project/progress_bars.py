"""A bar on the terminal for each recording that an engine works on."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from pipeline.reporting import PROGRESS
from resources.engines.progress import AtWork, at_work

REFRESH_S = 0.5


@contextmanager
def progress_bars() -> Iterator[None]:
    """Show bars until the block ends, below the log. Without a terminal, the log has a line every 30 s instead."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    lines = logging.getLogger(PROGRESS)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"))
    stop = Event()
    with Progress(*columns, console=console, transient=True, refresh_per_second=2) as bars, _log_through(sys.stderr):
        lines.setLevel(logging.WARNING)
        thread = Thread(target=_follow, args=(bars, stop), name="bars", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
            lines.setLevel(logging.NOTSET)


def _follow(bars: Progress, stop: Event) -> None:
    shown: dict[AtWork, TaskID] = {}
    while not stop.wait(REFRESH_S):
        now = at_work()
        for one in [one for one in shown if one not in now]:
            bars.remove_task(shown.pop(one))
        for one in now:
            if one not in shown:
                shown[one] = bars.add_task(f"{one.slot}  {one.episode_id}", total=one.audio_ms, text="")
            bars.update(shown[one], completed=one.done_ms, text=one.text)


@contextmanager
def _log_through(stream: object) -> Iterator[None]:
    """Write the log above the bars: they have replaced standard error."""
    handlers = [one for one in logging.getLogger().handlers if isinstance(one, logging.StreamHandler)]
    before = [handler.setStream(stream) for handler in handlers]
    try:
        yield
    finally:
        for handler, old in zip(handlers, before, strict=True):
            if old is not None:
                handler.setStream(old)
