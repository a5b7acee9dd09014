"""What the batch contract writes about each try: a row of `stage_runs`, and a row of `failures` while one stands."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from partitions.definitions import FEEDS
from partitions.keys import feed_of
from pipeline.stage import Failure, Landed, Landing, Outcome, Stage
from resources.lake.commits import (
    NO_VERSION,
    Commit,
    data_version,
    engine_version,
    inputs_version,
    new_commit,
    open_commits,
)
from resources.lake.lake import Lake
from resources.lake.tables import FAILURES, STAGE_RUNS
from speech.errors import HostPaused, policy_of

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
    lake: Lake, stage: Stage, landing: Landing, run: Run, upstream: Mapping[str, Landed]
) -> tuple[dict[str, pa.Table], Commit]:
    """Write an episode's rows, which `commit` makes visible. Returns the rows by table, and the commit to be made."""
    constants: dict[str, object] = {"run_id": run.run_id, "landed_at": datetime.now(UTC)}
    if stage.partition_kind == "episode":
        constants |= {
            "audio_sha256": landing.cost.audio_sha256,
            "engine_fingerprint": landing.cost.engine_fingerprint,
        }
    tables = {}
    for table in stage.tables:
        own = {**constants, **dict.fromkeys(table.landing, landing.key)}
        tables[table.name] = table.of(
            landing.rows[table.name], **{name: value for name, value in own.items() if name in table.schema.names}
        )
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
        after=open_commits(lake.home, stage.name).get(landing.key),
    )
    lake.write_rows(commit, [(table, tables[table.name]) for table in stage.tables])
    return tables, commit


def _input_versions(landing: Landing, upstream: Mapping[str, Landed]) -> dict[str, str]:
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
    upstream: Mapping[str, Landed],
    commit: Commit,
    *,
    write_ms: int,
    attempts: int,
) -> Landed:
    """Make the landing's rows visible, and take its failure out of `failures`."""
    row = _record(stage, landing, run, write_ms=write_ms, attempts=attempts)
    versions = _input_versions(landing, upstream)
    inputs = [{"stage": name, "data_version": version} for name, version in sorted(versions.items())]
    record = STAGE_RUNS.of([{**row, "stamp": commit.stamp, "inputs": inputs}])
    lake.commit(stage.name, commit, record)
    lake.remove(FAILURES, FAILURES.landing_key(landing.key, stage.name))
    return _landed(stage.name, landing.key, record)


def record_failure(lake: Lake, stage: Stage, failure: Failure, run: Run, *, attempts: int) -> None:
    """Put the failure into `failures`, and the try into `stage_runs`."""
    _land_failure(lake, stage, failure, run)
    attempt = new_commit(
        failure.key, stage.name, data=data_version_of_try(run, stage), inputs=NO_VERSION, engine=NO_VERSION
    )
    row = _record(stage, failure, run, write_ms=None, attempts=attempts)
    lake.record_failed_try(attempt, STAGE_RUNS.of([{**row, "stamp": attempt.stamp, "inputs": None}]))


def data_version_of_try(run: Run, stage: Stage) -> str:
    """Tells the failed try of one stage and run from others."""
    return hashlib.sha256(f"{stage.name}.{run.run_id}".encode()).hexdigest()[:10]


def _record(stage: Stage, outcome: Outcome, run: Run, *, write_ms: int | None, attempts: int) -> dict[str, Any]:
    return {
        **asdict(outcome.cost),
        "rtfx": outcome.cost.rtfx,
        "run_id": run.run_id,
        "root_run_id": run.root_run_id,
        "episode_id": outcome.key,
        "stage": stage.name,
        "outcome": outcome_name(outcome),
        "started_at": run.started_at,
        "finished_at": datetime.now(UTC),
        "write_ms": write_ms,
        "batch_episodes": run.batch_episodes,
        "attempts": attempts,
    }


def _landed(stage: str, key: str, record: pa.Table) -> Landed:
    (row,) = record.to_pylist()
    fields = ("run_id", "root_run_id", "audio_sha256", "engine_fingerprint", "finished_at")
    return Landed(**{name: row[name] for name in fields}, commit=Commit.of_record(stage, key, record))


def outcome_name(outcome: Outcome) -> str:
    if isinstance(outcome, Landing):
        return LANDED
    return FAILED_RETRYABLE if policy_of(outcome.error_class).retryable else FAILED_PERMANENT


def last_landings(lake: Lake, stage: str, keys: Collection[str]) -> Mapping[str, Landed]:
    """Key → its newest landing at the stage, for those that have one."""
    return {key: _landed(stage, key, record) for key, record in lake.runs(stage, list(keys)).items()}


def landed_by(lake: Lake, stage: str, keys: Collection[str], root_run_id: str) -> set[str]:
    """The keys whose latest try at the stage landed, and within this run or the run that it re-executes."""
    landings = last_landings(lake, stage, keys)
    return {
        key
        for key, landed in landings.items()
        if landed.root_run_id == root_run_id
        and not lake.home.exists("lake", "failures", "open", f"{key}.{stage}.parquet")
    }


def _land_failure(lake: Lake, stage: Stage, failure: Failure, run: Run) -> None:
    key = FAILURES.landing_key(failure.key, stage.name)
    now = datetime.now(UTC)
    before = lake.read_file(FAILURES, key)
    last = before.to_pylist()[-1] if before is not None and before.num_rows else None
    attempts = (last["attempts"] if last else 0) + (not last or last["run_id"] != run.run_id)
    if last and isinstance(failure.error, HostPaused):
        attempts = last["attempts"]
    policy = policy_of(failure.error_class)
    again = policy.retryable and attempts < policy.max_attempts
    wait = timedelta(hours=policy.next_try_after_h * 2 ** (attempts - 1))
    asked = timedelta(seconds=getattr(failure.error, "retry_after_s", None) or 0)
    row = {
        "episode_id": failure.key,
        "feed_id": failure.key if stage.partitions is FEEDS else feed_of(failure.key),
        "stage": stage.name,
        "error_class": failure.error_class,
        "retryable": policy.retryable,
        "attempts": attempts,
        "message": failure.message,
        "first_at": last["first_at"] if last else now,
        "last_at": now,
        "next_retry_at": now + max(wait, asked) if again else None,
        "run_id": run.run_id,
        "landed_at": now,
    }
    lake.replace(FAILURES, key, FAILURES.of([row]))
