"""`podlake status`: how far all episodes are, what failed, and what runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from dagster_project.commands.engines import Status, at_work_text
from dagster_project.commands.terminal import cell, render
from pipeline.progress import EPISODE_STAGES, progress
from resources.fetch.disk_space import UNLIMITED, DiskSpace
from resources.lake.compaction import sealed_episodes
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.warehouse import ask, connect
from speech.engines import hosts

_MESSAGES_SHOWN = 10
_MS_PER_HOUR = 3_600_000


@dataclass(frozen=True)
class StageCounts:
    """Numbers of episodes."""

    landed: int
    failed: int
    to_do: int


@dataclass(frozen=True)
class FailureGroup:
    """The failures of a stage with one class. The example is the newest."""

    stage: str
    error_class: str
    count: int
    retryable: bool
    next_retry_at: datetime | None
    example: str
    message: str


@dataclass(frozen=True)
class MessageCount:
    """A message of failures, and how many of them have it."""

    error_class: str
    message: str
    count: int


@dataclass(frozen=True)
class FailedCheck:
    """A check that found something at its last evaluation. Severity is `error` or `warning`."""

    check: str
    asset: str
    severity: str
    count: int
    examples: Sequence[str]
    checked_at: datetime


@dataclass(frozen=True)
class Overview:
    """`archived` episodes have all their rows in sealed files; those `in_work` are begun and not archived."""

    paused: str | None
    """Why admission and downloads pause."""
    feeds: int
    episodes: int
    in_work: int
    archived: int
    audio_hours: float
    """What has been decoded."""
    stages: Mapping[str, StageCounts]
    failures: Sequence[FailureGroup]
    """The most frequent first, as the messages are."""
    failed_checks: Sequence[FailedCheck]
    engines: Sequence[Status]
    messages: Sequence[MessageCount]

    @property
    def not_begun(self) -> int:
        return self.episodes - self.in_work - self.archived

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


# The columns of each query are the fields of its dataclass, in this order.
_FAILURES = """
select stage, error_class, count(*), bool_or(retryable), min(next_retry_at), arg_max(episode_id, last_at), arg_max(message, last_at)
from failures group by stage, error_class order by count(*) desc, stage, error_class
"""
_MESSAGES = (
    "select error_class, message, count(*) from failures group by all order by count(*) desc, error_class, message"
)
_CHECKS = """
select check_name, asset, if(is_error, 'error', 'warning') as severity, n_wrong, examples, landed_at
from check_results where n_wrong > 0 order by is_error desc, check_name
"""


def overview(home: Home, space: DiskSpace = UNLIMITED) -> Overview:
    """Counts per stage and per kind of failure."""
    stands, archived = progress(Lake(home), EPISODE_STAGES), set(sealed_episodes(Lake(home), EPISODE_STAGES))
    begun = set().union(*(stands.landed[stage] | stands.failed[stage] for stage in EPISODE_STAGES))
    with connect(home) as connection:
        [(n_feeds,)] = ask(connection, "select count(*) from lake.subscriptions")
        known = {key for (key,) in ask(connection, "select episode_id from lake.episodes")}
        [(audio_ms,)] = ask(connection, "select sum(duration_ms) from lake.hashes")
        failures, messages = ask(connection, _FAILURES), ask(connection, _MESSAGES)
        failed_checks = ask(connection, _CHECKS)
    return Overview(
        paused=space.shortage(),
        feeds=n_feeds,
        episodes=len(known),
        in_work=len(begun - archived),
        archived=len(archived),
        audio_hours=round((audio_ms or 0) / _MS_PER_HOUR, 2),
        stages={
            stage: StageCounts(
                len(stands.landed[stage]),
                len(stands.failed[stage]),
                len(known - stands.landed[stage] - stands.failed[stage]),
            )
            for stage in EPISODE_STAGES
        },
        failures=[FailureGroup(*row) for row in failures],
        failed_checks=[FailedCheck(*row) for row in failed_checks],
        engines=hosts.statuses(),
        messages=[MessageCount(*row) for row in messages],
    )


def overview_text(found: Overview) -> str:
    """The overview, to read."""
    lines = [
        f"{found.episodes} episodes of {found.feeds} feeds, {found.audio_hours:.1f} hours of audio decoded",
        f"{found.in_work} in work, {found.archived} archived, {found.not_begun} not begun",
        "",
        render(
            ("stage", "landed", "failed", "to do"),
            [(stage, counts.landed, counts.failed, counts.to_do) for stage, counts in found.stages.items()],
        ),
    ]
    if found.paused:
        lines += ["", f"Admission and downloads pause: {found.paused}"]
    if at_work := at_work_text(found.engines):
        lines += ["", at_work]
    if found.failures:
        rows = [
            (group.stage, group.error_class, group.count, group.next_retry_at or "never", group.example)
            for group in found.failures
        ]
        lines += ["", render(("failed at", "class", "count", "next try (UTC)", "for example"), rows)]
        lines += ["", *_message_lines(found.messages)]
        lines += ["", "`podlake status EPISODE` shows one of them in full."]
    if found.failed_checks:
        lines += ["", *_check_lines(found.failed_checks)]
    return "\n".join(lines)


def _check_lines(failed: Sequence[FailedCheck]) -> Iterator[str]:
    """The failed checks of the last `podlake check` or of the schedule `check`."""
    rows = [(one.check, one.severity, one.count, (*one.examples, "")[0]) for one in failed]
    yield render(("failed check", "severity", "count", "for example"), rows)
    yield f"Checked at {cell(failed[0].checked_at)} UTC. `podlake check` checks again and lists more of each."


def _message_lines(messages: Sequence[MessageCount]) -> Iterator[str]:
    """Each message once, the most frequent first."""
    for one in messages[:_MESSAGES_SHOWN]:
        times = f" ({one.count} times)" if one.count > 1 else ""
        yield f"{one.error_class}: {one.message}{times}"
    if len(messages) > _MESSAGES_SHOWN:
        yield f'… and {len(messages) - _MESSAGES_SHOWN} other messages: `podlake sql "from failures"`'
