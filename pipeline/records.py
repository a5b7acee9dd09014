"""What the batch contract writes about each try: a row of `stage_runs`, and a row of `failures` while one stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from partitions.definitions import FEEDS
from partitions.keys import feed_of
from pipeline.row_checks import verify
from pipeline.stage import Failure, Landing, Stage
from resources.lake.commits import (
    NO_VERSION,
    Commit,
    data_version,
    digest,
    engine_version,
    inputs_version,
    new_commit,
)
from resources.lake.lake import Lake
from resources.lake.tables import FAILURES
from resources.lake.tables.pipeline import FailureRow, InputVersion, StageRunRow
from speech.errors import DiskShort, HostPaused, PodlakeError, policy_of

LANDED = "landed"
FAILED_PERMANENT = "failed_permanent"
FAILED_RETRYABLE = "failed_retryable"


@dataclass(frozen=True)
class Run:
    """The run that works, as far as rows name it."""

    run_id: str
    root_run_id: str
    started_at: datetime
    batch_episodes: int


def write_rows(
    lake: Lake,
    stage: Stage,
    landing: Landing,
    run: Run,
    upstream: Mapping[str, StageRunRow],
    *,
    replaces: Commit | None,
) -> tuple[dict[str, pa.Table], Commit]:
    """Write an episode's rows, which `commit_landing` makes visible. Returns the rows by table, and the commit to make.

    Raises `BadOutput` for rows that would make later stages wrong.
    """
    constants: dict[str, object] = {"run_id": run.run_id, "landed_at": datetime.now(UTC)}
    if stage.partition_kind != "feed":
        constants |= {
            "audio_sha256": landing.cost.audio_sha256,
            "engine_fingerprint": landing.cost.engine_fingerprint,
        }
    tables = {}
    for table in stage.tables:
        own = {**constants, **dict.fromkeys(table.landing, landing.key)}
        tables[table.name] = table.of(
            landing.rows[table.name], **{name: value for name, value in own.items() if name in table.filled}
        )
    verify(tables, landing.key, landing.cost.audio_ms)
    content = [
        rows.select(stage.data_version_columns) if stage.data_version_columns else rows for rows in tables.values()
    ]
    version = data_version(content)
    tables = {table.name: _with_version(tables[table.name], version) for table in stage.tables}
    commit = new_commit(
        landing.key,
        stage.name,
        data=version,
        inputs=inputs_version(_input_versions(landing, upstream)),
        engine=engine_version(landing.cost.engine_fingerprint, stage.version),
        after=replaces,
    )
    lake.write_rows(commit, [(table, tables[table.name]) for table in stage.tables])
    return tables, commit


def _input_versions(landing: Landing, upstream: Mapping[str, StageRunRow]) -> dict[str, str]:
    return {name: landed.data_version for name, landed in upstream.items()} | dict(landing.gathered)


def _with_version(rows: pa.Table, version: str) -> pa.Table:
    """The rows with their landing's data version, in tables that have the column."""
    if "data_version" not in rows.column_names:
        return rows
    index = rows.column_names.index("data_version")
    return rows.set_column(index, rows.schema.field(index), pa.array([version] * rows.num_rows, pa.string()))


def commit_landing(
    lake: Lake,
    stage: Stage,
    landing: Landing,
    run: Run,
    upstream: Mapping[str, StageRunRow],
    commit: Commit,
    *,
    write_ms: int,
    attempts: int,
) -> StageRunRow:
    """Make the landing's rows visible, and remove its failure from `failures`. Returns the record of the landing."""
    versions = _input_versions(landing, upstream)
    inputs = tuple(InputVersion(name, version) for name, version in sorted(versions.items()))
    row = _record(stage, landing, run, LANDED, attempts)
    row = replace(row, write_ms=write_ms, stamp=commit.stamp, inputs=inputs)
    lake.commit(row)
    remove_failure(lake, stage, landing.key)
    return row


def remove_failure(lake: Lake, stage: Stage, key: str) -> None:
    """The key has landed, or is as it had landed."""
    lake.remove(FAILURES, FAILURES.landing_key(key, stage.name))


def record_failure(lake: Lake, stage: Stage, failure: Failure, run: Run, *, attempts: int) -> None:
    """Put the failure into `failures`, and the try into `stage_runs`."""
    land_failure(lake, stage, failure, run.run_id)
    data = digest([f"{stage.name}.{run.run_id}"])  # tells the failed try of one stage and run from others
    attempt = new_commit(failure.key, stage.name, data=data, inputs=NO_VERSION, engine=NO_VERSION)
    outcome = FAILED_RETRYABLE if policy_of(failure.error_class).retryable else FAILED_PERMANENT
    lake.record_failed_try(replace(_record(stage, failure, run, outcome, attempts), stamp=attempt.stamp))


def _record(stage: Stage, of: Landing | Failure, run: Run, outcome: str, attempts: int) -> StageRunRow:
    return StageRunRow(
        **asdict(of.cost),
        **asdict(run),
        rtfx=of.cost.rtfx,
        episode_id=of.key,
        stage=stage.name,
        outcome=outcome,
        finished_at=datetime.now(UTC),
        attempts=attempts,
    )


def landed_by(
    lake: Lake,
    open_commits: Mapping[str, Commit],
    stage: str,
    keys: Sequence[str],
    root_run_id: str,
    since: datetime | None,
) -> set[str]:
    """The keys whose latest try at the stage landed, and within this run or the run that it re-executes.

    Nothing that landed before `since` did; without it, all records are read.
    """
    recent = [key for key in keys if key not in open_commits or since is None or open_commits[key].landed_at >= since]
    landed = {key for key, row in lake.runs(stage, recent).items() if row.root_run_id == root_run_id}
    failed = set(lake.keys(FAILURES)) if landed else set()
    return {key for key in landed if FAILURES.landing_key(key, stage) not in failed}


def land_failure(lake: Lake, stage: Stage, failure: Failure, run_id: str) -> FailureRow:
    """Put the failure into `failures`, which counts the runs that have failed in succession."""
    name, now = FAILURES.landing_key(failure.key, stage.name), datetime.now(UTC)
    last = lake.last_failure(name)
    attempts = (last.attempts if last else 0) + (last is None or last.run_id != run_id)
    if last and isinstance(failure.error, HostPaused | DiskShort):
        attempts = last.attempts
    policy = policy_of(failure.error_class)
    again_at = policy.next_retry_at(attempts, now)
    asked_s = failure.error.retry_after_s if isinstance(failure.error, PodlakeError) else None
    row = FailureRow(
        episode_id=failure.key,
        feed_id=failure.key if stage.partitions is FEEDS else feed_of(failure.key),
        stage=stage.name,
        error_class=failure.error_class,
        retryable=policy.retryable,
        attempts=attempts,
        message=failure.message,
        first_at=last.first_at if last else now,
        last_at=now,
        next_retry_at=max(again_at, now + timedelta(seconds=asked_s or 0)) if again_at else None,
        run_id=run_id,
        landed_at=now,
    )
    lake.replace(FAILURES, name, FAILURES.of([row]))
    return row
