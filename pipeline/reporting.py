"""What a run reports of its outcomes: metadata of the UI, the step's error, and a log line per episode."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import dagster as dg

from pipeline.stage import Failure, Landing, Stage, Unchanged
from resources.engines.progress import at_work
from resources.logs import with_log_fields
from speech.errors import policy_of

log = logging.getLogger("podlake")
PROGRESS = "podlake.progress"
"""The logger of lines about episodes in work."""
LINE_EVERY_S = 30.0


def cost_metadata(landing: Landing) -> dict[str, Any]:
    """What the UI shows of an episode's cost."""
    cost = landing.cost
    numbers = {
        "real_time_factor": cost.engine_ms / cost.audio_ms if cost.engine_ms and cost.audio_ms else None,
        "rtfx": cost.rtfx,
        "audio_seconds": cost.audio_ms / 1000 if cost.audio_ms is not None else None,
        "engine_seconds": cost.engine_ms / 1000 if cost.engine_ms is not None else None,
    }
    shown: dict[str, Any] = {name: dg.MetadataValue.float(float(value)) for name, value in numbers.items() if value}
    if cost.engine:
        shown["engine"] = f"{cost.engine} · {cost.model} · {cost.device}"
        shown["engine_fingerprint"] = cost.engine_fingerprint
    shown.update({label: dg.MetadataValue.url(url) for label, url in landing.links.items()})
    return shown


def step_failure(stage: Stage, failures: Sequence[Failure], n_keys: int) -> dg.Failure:
    """The error that makes the step red, with a table of the failed episodes."""
    lines = [f"{stage.name}: {len(failures)} of {n_keys} failed, the others have landed.", ""]
    lines += [f"  {failure.key}  [{failure.error_class}]  {failure.message}" for failure in failures]
    records = [
        dg.TableRecord(
            {
                "episode": failure.key,
                "class": failure.error_class,
                "retryable": policy_of(failure.error_class).retryable,
                "message": failure.message,
            }
        )
        for failure in failures
    ]
    return dg.Failure(
        description="\n".join(lines),
        metadata={
            "failed": dg.MetadataValue.table(records),
            "n_failed": len(failures),
            "n_landed": n_keys - len(failures),
        },
        allow_retries=False,
    )


@contextmanager
def progress_lines(run_log: dg.DagsterLogManager, stage: Stage, keys: Collection[str]) -> Iterator[None]:
    """Log how far the engine is with each recording, in Dagster and on the screen, until the block ends."""
    stop = Event()

    def follow() -> None:
        while not stop.wait(LINE_EVERY_S):
            for one in at_work():
                if one.slot == stage.engine_slot and one.episode_id in keys:
                    run_log.info(f"{one.episode_id}: {one.text}")
                    logging.getLogger(PROGRESS).info(
                        "%s  %s  %s", stage.name, one.episode_id, one.text, extra={"key": one.episode_id}
                    )

    if stage.engine_slot:
        Thread(target=with_log_fields(follow), name="progress", daemon=True).start()
    try:
        yield
    finally:
        stop.set()


def log_outcome(stage: Stage, outcome: Landing | Unchanged | Failure, count: int, total: int) -> None:
    """One line per episode."""
    if isinstance(outcome, Failure):
        log.warning(
            "%s %d/%d  %s  failed [%s] %s", stage.name, count, total, outcome.key, outcome.error_class, outcome.message
        )
    elif isinstance(outcome, Unchanged):
        log.info("%s %d/%d  %s  is unchanged", stage.name, count, total, outcome.key)
    else:
        speed = f", {outcome.cost.rtfx:.1f}× real time" if outcome.cost.rtfx else ""
        log.info("%s %d/%d  %s  landed%s", stage.name, count, total, outcome.key, speed)


def markdown_text(text: str) -> str:
    """Text of unknown origin as one line of Markdown that shows it unchanged."""
    return re.sub(r"([\\`*_{}\[\]()<>#+!|~&-])", r"\\\1", " ".join(text.split()))
