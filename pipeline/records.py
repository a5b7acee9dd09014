"""What the batch contract writes about each try: a row of `stage_runs`, and a row of `failures` while one stands."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from partitions.definitions import FEEDS
from partitions.keys import feed_of
from pipeline.stage import Failure, Landed, Landing, Outcome, Stage
from resources.lake.lake import Lake
from resources.lake.tables import FAILURES, STAGE_RUNS
from speech.errors import policy_of

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


def land_rows(lake: Lake, stage: Stage, landing: Landing, run: Run) -> dict[str, pa.Table]:
    """Land an episode's rows, each table atomically. Returns what was landed."""
    landed_at = datetime.now(UTC)
    constants = {
        "run_id": run.run_id,
        "landed_at": landed_at,
        "audio_sha256": landing.cost.audio_sha256,
        "engine_fingerprint": landing.cost.engine_fingerprint,
    }
    tables = {}
    for table in stage.tables:
        named = dict.fromkeys(table.landing, landing.key)
        own = {**constants, **named}
        rows = table.of(landing.rows[table.name], **{k: v for k, v in own.items() if k in table.schema.names})
        lake.land(table, table.landing_key(*[landing.key] * len(table.landing)), rows)
        tables[table.name] = rows
    return tables


def record(lake: Lake, stage: Stage, outcome: Outcome, run: Run, *, write_ms: int | None, attempts: int) -> Landed:
    """Append the try to `stage_runs`; put the failure into `failures`, or take it out."""
    if isinstance(outcome, Failure):
        _land_failure(lake, stage, outcome, run)
    key = STAGE_RUNS.landing_key(outcome.key, stage.name)
    row = {
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
    before = lake.read(STAGE_RUNS, key)
    rows = STAGE_RUNS.of([row])
    if before is not None:
        kept = [old != run.run_id for old in before["run_id"].to_pylist()]
        rows = pa.concat_tables([before.filter(pa.array(kept)), rows])
    lake.land(STAGE_RUNS, key, rows)
    if isinstance(outcome, Landing):
        lake.remove(FAILURES, FAILURES.landing_key(outcome.key, stage.name))
    return Landed(**{name: row[name] for name in Landed.__dataclass_fields__})


def outcome_name(outcome: Outcome) -> str:
    if isinstance(outcome, Landing):
        return LANDED
    return FAILED_RETRYABLE if policy_of(outcome.error_class).retryable else FAILED_PERMANENT


def last_landings(lake: Lake, stage: str, keys: Collection[str]) -> Mapping[str, Landed]:
    """Key → its last landing at the stage, for those that have one."""
    found = {}
    for key in keys:
        rows = lake.read(STAGE_RUNS, STAGE_RUNS.landing_key(key, stage))
        landed = [row for row in rows.to_pylist() if row["outcome"] == LANDED] if rows is not None else []
        if landed:
            found[key] = Landed(**{name: landed[-1][name] for name in Landed.__dataclass_fields__})
    return found


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
    before = lake.read(FAILURES, key)
    last = before.to_pylist()[-1] if before is not None and before.num_rows else None
    attempts = (last["attempts"] if last else 0) + (not last or last["run_id"] != run.run_id)
    policy = policy_of(failure.error_class)
    again = policy.retryable and attempts < policy.max_attempts
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
        "next_retry_at": now + timedelta(hours=policy.next_try_after_h * 2 ** (attempts - 1)) if again else None,
        "run_id": run.run_id,
        "landed_at": now,
    }
    lake.land(FAILURES, key, FAILURES.of([row]))
