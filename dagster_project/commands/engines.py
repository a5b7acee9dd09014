"""`podlake engines`: the host processes of engines, and what they work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagster_project.commands.terminal import render
from resources.engines.progress import text_of

Status = Mapping[str, Any]


def processes_text(statuses: Sequence[Status]) -> str:
    """A line for each process, and one for each recording at work."""
    if not statuses:
        return "No engine is loaded. The next run loads what it needs."
    rows = [
        (one["pid"], one["device"], ", ".join(map(_engine, one["engines"])) or "none", one["peak_mb"], _until(one))
        for one in statuses
    ]
    found = render(("process", "device", "engines", "peak MB", "exits in"), rows)
    return "\n\n".join(filter(None, [found, at_work_text(statuses)]))


def at_work_text(statuses: Sequence[Status]) -> str:
    """The recordings that engines work on now; empty if there are none."""
    rows = [
        (work["episode"], work["slot"], work["engine"], one["device"],
         text_of(work["done_ms"], work["audio_ms"], work["elapsed_s"]))
        for one in statuses
        for work in one["at_work"]
    ]  # fmt: skip
    return render(("at work", "engine", "name", "device", "done"), rows) if rows else ""


def _engine(engine: Mapping[str, Any]) -> str:
    return f"{engine['slot']} {engine['name']}" + (" (busy)" if engine["is_busy"] else "")


def _until(status: Status) -> str:
    return "-" if status["exits_in_s"] is None else f"{status['exits_in_s']} s"
