"""`podlake status`: how far all episodes are, or everything about one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from dagster_project.commands.engines import at_work_text
from dagster_project.commands.terminal import cell, render
from partitions.keys import feed_of
from pipeline.progress import EPISODE_STAGES, FEED_STAGES, progress
from resources.fetch.disk_space import UNLIMITED, DiskSpace
from resources.lake.catalogue import Catalogue
from resources.lake.compaction import sealed_episodes
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import STAGE_RUNS
from resources.lake.tables.pipeline import FailureRow, StageRunRow
from resources.lake.warehouse import ask, connect
from speech.engines import hosts
from speech.errors import UpstreamMissing

_FAILURES = """
select stage, error_class, count(*), bool_or(retryable), min(next_retry_at), arg_max(episode_id, last_at), arg_max(message, last_at)
from failures group by stage, error_class order by count(*) desc, stage, error_class
"""
_MESSAGES = (
    "select error_class, message, count(*) from failures group by all order by count(*) desc, error_class, message"
)
_MESSAGES_SHOWN = 10
_CHECKS = """
select check_name, asset, if(is_error, 'error', 'warning') as severity, n_wrong, examples, landed_at
from check_results where n_wrong > 0 order by is_error desc, check_name
"""


_CHECK_FIELDS = ("check", "asset", "severity", "count", "examples", "checked_at")


def overview(home: Home, space: DiskSpace = UNLIMITED) -> dict[str, Any]:
    """Counts per stage and per kind of failure; `audio_hours` is what has been decoded.

    `archived` episodes have all their rows in sealed files; those `in_work` have been begun and are not archived.
    """
    stands, archived = progress(Lake(home), EPISODE_STAGES), set(sealed_episodes(Lake(home), EPISODE_STAGES))
    begun = set().union(*(stands.landed[stage] | stands.failed[stage] for stage in EPISODE_STAGES))
    with connect(home) as connection:
        n_feeds = _one(ask(connection, "select count(*) from lake.subscriptions"))
        known = {key for (key,) in ask(connection, "select episode_id from lake.episodes")}
        audio_ms = _one(ask(connection, "select sum(duration_ms) from lake.hashes"))
        failures, messages = ask(connection, _FAILURES), ask(connection, _MESSAGES)
        failed_checks = ask(connection, _CHECKS)
    fields = ("stage", "error_class", "count", "retryable", "next_retry_at", "example", "message")
    return {
        "paused": space.shortage(),
        "feeds": n_feeds,
        "episodes": len(known),
        "in_work": len(begun - archived),
        "archived": len(archived),
        "audio_hours": round((audio_ms or 0) / 3.6e6, 2),
        "stages": {
            stage: {
                "landed": len(stands.landed[stage]),
                "failed": len(stands.failed[stage]),
                "to_do": len(known - stands.landed[stage] - stands.failed[stage]),
            }
            for stage in EPISODE_STAGES
        },
        "failures": [dict(zip(fields, row, strict=True)) for row in failures],
        "failed_checks": [dict(zip(_CHECK_FIELDS, row, strict=True)) for row in failed_checks],
        "engines": hosts.statuses(),
        "messages": [dict(zip(("error_class", "message", "count"), row, strict=True)) for row in messages],
    }


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


def overview_text(status: Mapping[str, Any]) -> str:
    """The overview, to read."""
    lines = [
        f"{status['episodes']} episodes of {status['feeds']} feeds, {status['audio_hours']:.1f} hours of audio decoded",
        f"{status['in_work']} in work, {status['archived']} archived, {_waiting(status)} not begun",
        "",
        render(
            ("stage", "landed", "failed", "to do"),
            [(stage, *counts.values()) for stage, counts in status["stages"].items()],
        ),
    ]
    if status["paused"]:
        lines += ["", f"Admission and downloads pause: {status['paused']}"]
    if at_work := at_work_text(status["engines"]):
        lines += ["", at_work]
    if status["failures"]:
        rows = [
            (f["stage"], f["error_class"], f["count"], f["next_retry_at"] or "never", f["example"])
            for f in status["failures"]
        ]
        lines += ["", render(("failed at", "class", "count", "next try (UTC)", "for example"), rows)]
        lines += ["", *_message_lines(status["messages"])]
        lines += ["", "`podlake status EPISODE` shows one of them in full."]
    if status["failed_checks"]:
        lines += ["", *check_lines(status["failed_checks"])]
    return "\n".join(lines)


def check_lines(failed: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The failed checks of the last `podlake check` or of the schedule `check`."""
    rows = [(one["check"], one["severity"], one["count"], (*one["examples"], "")[0]) for one in failed]
    yield render(("failed check", "severity", "count", "for example"), rows)
    yield f"Checked at {cell(failed[0]['checked_at'])} UTC. `podlake check` checks again and lists more of each."


def _message_lines(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Each message once, the most frequent first."""
    for one in messages[:_MESSAGES_SHOWN]:
        times = f" ({one['count']} times)" if one["count"] > 1 else ""
        yield f"{one['error_class']}: {one['message']}{times}"
    if len(messages) > _MESSAGES_SHOWN:
        yield f'… and {len(messages) - _MESSAGES_SHOWN} other messages: `podlake sql "from failures"`'


def _waiting(status: Mapping[str, Any]) -> int:
    return int(status["episodes"] - status["in_work"] - status["archived"])


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
    feed = next((feed for feed in catalogue.subscriptions() if feed.feed_id == key), None)
    if feed:
        return {"feed": key, "title": feed.title, "language": feed.language, "url": feed.url, "added": feed.added_at}
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


def _one(rows: list[tuple[Any, ...]]) -> Any:
    return rows[0][0]


def plain(value: object) -> str:
    """What JSON has no word for, as text."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
