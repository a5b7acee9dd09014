"""`podlake status KEY`: everything about one episode or feed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from dagster_project.commands.terminal import cell, render
from partitions.keys import feed_of
from pipeline.progress import EPISODE_STAGES, FEED_STAGES
from resources.lake.catalogue import Catalogue
from resources.lake.lake import Lake
from resources.lake.tables import STAGE_RUNS
from resources.lake.tables.pipeline import FailureRow, StageRunRow
from speech.errors import UpstreamMissing


@dataclass(frozen=True)
class Detail:
    """Everything about an episode, or about the polls of a feed."""

    facts: Mapping[str, object]
    stages: Mapping[str, list[StageRunRow]]
    """Stage → its tries, oldest first."""
    failures: Mapping[str, FailureRow]

    def as_json(self) -> dict[str, Any]:
        found = asdict(self)
        return {**found.pop("facts"), **found}


def detail(lake: Lake, key: str) -> Detail:
    """Raises `UpstreamMissing` if the key is neither an episode nor a feed."""
    runs = {stage: STAGE_RUNS.rows_of(lake.history(stage, key)) for stage in (*FEED_STAGES, *EPISODE_STAGES)}
    failures = {stage: row for stage in runs for row in lake.failures(stage, [key]).values()}
    return Detail(_facts(Catalogue(lake), key), {stage: rows for stage, rows in runs.items() if rows}, failures)


def detail_text(status: Detail) -> str:
    """An episode or a feed, to read."""
    lines = [f"{name:10} {cell(value)}" for name, value in status.facts.items()]
    rows = [
        (stage, row.outcome, row.finished_at, _seconds(row.engine_ms), row.engine, row.run_id[:8])
        for stage, runs in status.stages.items()
        for row in runs
    ]
    names = ("stage", "outcome", "finished (UTC)", "engine s", "engine", "run")
    lines += ["", render(names, rows) if rows else "No stage has tried it yet: podlake run"]
    for failure in status.failures.values():
        lines += ["", *_failure_lines(failure)]
    return "\n".join(lines)


def _failure_lines(failure: FailureRow) -> Iterator[str]:
    times = f"{failure.attempts} times since {cell(failure.first_at)}" if failure.attempts > 1 else "once"
    yield f"{failure.stage} failed {times} [{failure.error_class}]: {failure.message}"
    if failure.next_retry_at:
        yield f"  It is tried again after {cell(failure.next_retry_at)} UTC."
    else:
        yield (
            "  It is not tried again by itself. Once the cause is mended: dagster asset materialize "
            f"-m dagster_project.definitions --select {failure.stage} --partition {failure.episode_id}"
        )


def _facts(catalogue: Catalogue, key: str) -> dict[str, object]:
    feed = next(iter(catalogue.all_subscriptions([key])), None)
    if feed:
        removed: dict[str, object] = {"removed": feed.removed_at} if feed.removed_at else {}
        return {
            "feed": key,
            "title": feed.title,
            "language": feed.language,
            "url": feed.url,
            "added": feed.added_at,
            **removed,
        }
    entry = catalogue.entries([key]).get(key)
    if entry is None:
        raise UpstreamMissing(f"There is no episode and no feed {key!r}. podlake list --episodes shows what there is.")
    return {
        "episode": key,
        "feed": feed_of(key),
        "title": entry.title,
        "language": entry.language,
        "published": entry.published_at,
        "audio": entry.enclosure_url,
    }


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else round(ms / 1000, 1)


def plain(value: object) -> str:
    """What JSON has no word for, as text."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
