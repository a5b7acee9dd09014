"""The batch contract: a run works on a batch of episodes, and each episode ends in exactly one outcome.

* Landed: its rows are in the lake, then the commit makes them visible, then Dagster has its event.
* Unchanged: its last landing is still right. Nothing lands.
* Failed, with or without a retry: `failures` has the reason, and the partition is red. No other episode is affected.

A re-executed run skips the episodes that the run it re-executes has landed, and logs no second event for them. If the
re-executed run fails again, Dagster shows all its partitions without an event in it as failed, these too. The tables,
and everything that is requested from them, are right.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

import dagster as dg

from pipeline.after_batch import AfterBatch
from pipeline.crashes import watching
from pipeline.dagster_internals import ROOT_RUN_ID_TAG, log_materializations, log_planned
from pipeline.events import EVENTS_LOGGED, materialization
from pipeline.records import Run, commit_landing, landed_by, record_failure, remove_failure, write_rows
from pipeline.reporting import cost_metadata, log_outcome, progress_lines, step_failure
from pipeline.run_keys import has_planned_events, named_keys
from pipeline.run_process import tag_process
from pipeline.stage import Batch, Failure, Landing, Outcome, Stage, Unchanged, Written
from pipeline.traces import batch_trace
from resources.lake.commits import Commit, open_commits
from resources.lake.lake import Lake
from resources.lake.migration import migrate
from resources.lake.tables import FAILURES
from resources.lake.tables.pipeline import StageRunRow
from resources.logs import log_fields
from speech.errors import (
    EngineFailed,
    EngineUnavailable,
    KeepsCrashing,
    PodlakeError,
    StorageError,
    UpstreamMissing,
    retry_wait_s,
)

log = logging.getLogger("podlake")

ENGINE_RESTARTS = 3
"""Unexpected errors after which a run starts its engine no more: the rest of the batch fails, and is retried later."""
FAILED_EPISODES_TAG = "podlake/failed_episodes"
"""Of a run that failed because episodes did. The planner decides about them; the run is none to worry about."""
EVENTS_AT_ONCE, EVENTS_EVERY_S = 100, 1.0
"""Events of feeds that wait to be logged in one transaction, and how long they wait while others land. One by one they
cost more than a poll. A killed run loses them, as it may lose one: `podlake run` logs them later."""
CLOCKS_DIFFER = timedelta(seconds=10)
"""How much the clocks of two machines may differ at most. A run takes longer to start."""


@dataclass
class _Events:
    """Events of landings that are not logged yet."""

    waiting: list[dg.AssetMaterialization] = field(default_factory=list)
    logged_at_s: float = field(default_factory=time.monotonic)

    def is_due(self) -> bool:
        return len(self.waiting) >= EVENTS_AT_ONCE or time.monotonic() - self.logged_at_s >= EVENTS_EVERY_S


@dataclass(frozen=True)
class _Step:
    """The step that runs, and what it knows before the first episode."""

    context: dg.AssetExecutionContext
    stage: Stage
    code_version: str
    lake: Lake
    run: Run
    keys: tuple[str, ...]
    upstream: Mapping[str, Mapping[str, StageRunRow]]
    optional: Mapping[str, Mapping[str, StageRunRow]]
    replaced: Mapping[str, Commit]
    """Key → its open commit before this run."""
    after_batch: AfterBatch
    failing: frozenset[str]
    """The names in `failures` before this run, if partitions of the stage can be unchanged."""
    events: _Events = field(default_factory=_Events)

    @property
    def read(self) -> Mapping[str, Mapping[str, StageRunRow]]:
        """Stage → key → the landing that its rows are made from, of all inputs."""
        return {**self.upstream, **self.optional}


def run_stage(context: dg.AssetExecutionContext, stage: Stage, code_version: str) -> Iterator[dg.MaterializeResult]:
    """The body of every partitioned asset. Raises `dagster.Failure` if an episode failed."""
    with log_fields(run_id=context.run.run_id, stage=stage.name):  # the block has no `yield`
        _run_batch(context, stage, code_version)
    yield dg.MaterializeResult(asset_key=stage.name, metadata=EVENTS_LOGGED)


def _run_batch(context: dg.AssetExecutionContext, stage: Stage, code_version: str) -> None:
    lake: Lake = context.resources.lake
    tag_process(context.instance, context.run.run_id)
    migrate(lake.home)
    keys = named_keys(context.run.tags) or tuple(context.partition_keys)
    root_run_id = context.run.root_run_id or context.run.tags.get(ROOT_RUN_ID_TAG) or context.run.run_id
    run = Run(context.run.run_id, root_run_id, datetime.now(UTC), len(keys))
    upstream = {name: lake.runs(name, keys) for name in stage.inputs}
    optional = {name: lake.runs(name, keys) for name in stage.optional_inputs}
    replaced = open_commits(lake.home, stage.name)
    after = AfterBatch(context.instance, lake, stage, run.run_id, context.resources)
    failing = frozenset(lake.keys(FAILURES) if stage.note_unchanged else ())
    step = _Step(context, stage, code_version, lake, run, keys, upstream, optional, replaced, after, failing)
    started_at = _root_created_at(context.instance, root_run_id)
    done = landed_by(lake, step.replaced, stage.name, keys, root_run_id, started_at)
    for key in sorted(done):
        log.info("%s: %s is skipped because this run landed it before it was interrupted", stage.name, key,
                 extra={"key": key})  # fmt: skip
        report_if_unknown(context.instance, lake, stage, key, code_version)
    todo = tuple(key for key in keys if key not in done)
    after.begin(todo)
    failures: list[Failure] = []
    unchanged: list[object] = []
    try:
        with progress_lines(context.log, stage, todo), batch_trace(stage, run.run_id, len(todo)) as trace:
            for count, (outcome, attempts) in enumerate(_outcomes(step, todo), start=1):
                received_ns = time.time_ns()
                with log_fields(key=outcome.key):
                    final = _land(step, outcome, attempts)
                    log_outcome(stage, final, count, len(todo))
                trace.episode(final, received_ns, attempts)
                if isinstance(final, Failure):
                    failures.append(final)
                if isinstance(final, Unchanged):
                    unchanged.append(final.row)
    finally:
        _log_waiting(step)
    if unchanged and stage.note_unchanged:
        stage.note_unchanged(lake, unchanged)
    error: Exception | None = None
    try:
        after.end()
    except Exception as failed:
        if not failures:
            raise
        log.exception("%s: the work after landings failed. The next run of the stage does it", stage.name)
        error = failed
    if failures:
        context.instance.add_run_tags(run.run_id, {FAILED_EPISODES_TAG: str(len(failures))})
        raise step_failure(stage, failures, len(keys)) from error


def report_if_unknown(instance: dg.DagsterInstance, lake: Lake, stage: Stage, key: str, code_version: str) -> bool:
    """Log the event of a landing if its run was killed before it did. Returns whether it was missing."""
    landed = lake.runs(stage.name, [key])[key]
    asset = dg.AssetRecordsFilter(asset_key=dg.AssetKey(stage.name), asset_partitions=[key])
    known = instance.fetch_materializations(asset, limit=1).records
    if known and known[0].timestamp >= landed.finished_at.timestamp() - 1:
        return False
    upstream = {name: lake.runs(name, [key]) for name in stage.inputs + stage.optional_inputs}
    tables = {table.name: lake.read(table, key) for table in stage.tables}
    shown = stage.ui_metadata({name: rows for name, rows in tables.items() if rows is not None})
    instance.report_runless_asset_event(materialization(stage, key, landed, upstream, code_version, shown))
    return True


def _root_created_at(instance: dg.DagsterInstance, root_run_id: str) -> datetime | None:
    """When the run that this one re-executes, or this one, was requested; None if Dagster has deleted it."""
    record = instance.get_run_record_by_id(root_run_id)
    return record.create_timestamp.replace(tzinfo=UTC) - CLOCKS_DIFFER if record else None


def _outcomes(step: _Step, todo: Sequence[str]) -> Iterator[tuple[Outcome, int]]:
    """Each key exactly once, with the number of tries in this run: 0 if an earlier run has recorded its failure."""
    missing = {key: [name for name in step.stage.inputs if key not in step.upstream[name]] for key in todo}
    for key in todo:
        if missing[key]:
            yield Failure(key, _upstream_missing(step.stage, key, missing[key])), 1
    ready = [key for key in todo if not missing[key]]
    with watching(step.context.instance, step.lake, step.stage, step.run.run_id, ready) as watch:
        for key, row in watch.set_aside.items():
            yield Failure(key, KeepsCrashing(row.message)), 0
        for keys in watch.groups():
            yield from _tried(step, keys)


def _tried(step: _Step, keys: tuple[str, ...]) -> Iterator[tuple[Outcome, int]]:
    """The stage's outcomes; transient errors are tried again after the other episodes."""
    pending, attempt = keys, 1
    while pending:
        again: list[str] = []
        longest_s = 0.0
        for outcome in _attempt(step, pending, attempt):
            wait_s = retry_wait_s(outcome.error, attempt) if isinstance(outcome, Failure) else None
            if wait_s is None:
                yield outcome, attempt
            else:
                again.append(outcome.key)
                longest_s = max(longest_s, wait_s)
        if again:
            log.info("%s: %d episodes are tried again in %.1f s", step.stage.name, len(again), longest_s)
            time.sleep(longest_s)
        pending, attempt = tuple(again), attempt + 1


def _attempt(step: _Step, keys: tuple[str, ...], attempt: int) -> Iterator[Outcome]:
    """An outcome for each key. After an unexpected error, one suspect fails and the stage starts again with the others."""
    pending, restarts = keys, 0
    while pending:
        error: Exception | None = None
        left = dict.fromkeys(pending)
        try:
            for outcome in _work(step, pending, attempt):
                if outcome.key not in left:
                    log.error(
                        "%s: a second outcome for %s is ignored",
                        step.stage.name,
                        outcome.key,
                        extra={"key": outcome.key},
                    )
                    continue
                del left[outcome.key]
                yield outcome
        except EngineUnavailable as unavailable:
            log.error("%s: %s", step.stage.name, unavailable)  # noqa: TRY400 - the message is complete
            raise dg.Failure(description=str(unavailable), allow_retries=False) from unavailable
        except Exception as unexpected:
            log.exception("%s: unexpected error", step.stage.name)
            error = unexpected
        if error is None or restarts == ENGINE_RESTARTS:
            for key in left:
                yield Failure(key, _cause(error) or PodlakeError("The stage gave no outcome for the episode."))
            return
        if left:
            suspect = _suspect(error, left)
            del left[suspect]
            yield Failure(suspect, _cause(error) or error)
        pending, restarts = tuple(left), restarts + 1


def _work(step: _Step, keys: tuple[str, ...], attempt: int) -> Iterator[Outcome]:
    resources = {name: getattr(step.context.resources, name) for name in step.stage.needs}
    batch = Batch(keys, step.upstream, step.optional, write=partial(_write, step, attempts=attempt))
    return step.stage.work(batch, **resources)


def _suspect(error: Exception, left: Mapping[str, None]) -> str:
    """The episode that the engine worked on, if the error says so; else the first one without an outcome."""
    named = error.episode_id if isinstance(error, EngineFailed) else None
    return named if named is not None and named in left else next(iter(left))


def _cause(error: Exception | None) -> Exception | None:
    """The engine's own error."""
    return error.cause if isinstance(error, EngineFailed) else error


def _land(step: _Step, outcome: Outcome, attempts: int) -> Landing | Unchanged | Failure:
    """Land the rows or record the failure. An error on the way is a failure of this episode only."""
    if isinstance(outcome, Landing):
        outcome = _write(step, outcome, attempts=attempts)
    if isinstance(outcome, Written):
        step.after_batch.add(outcome.tables)
        _log_event(step, outcome.event)
        return outcome.landing
    if isinstance(outcome, Unchanged):
        try:
            _keep(step, outcome)
        except Exception as error:
            log.exception("%s: %s could not be kept as it is", step.stage.name, outcome.key)
            outcome = Failure(outcome.key, _storage_error(outcome.key, error))
        else:
            return outcome
    if not has_planned_events(step.context.run.tags):
        log_planned(step.context.instance, step.context.run, step.stage.name, outcome.key)
    if not attempts:
        return outcome
    try:
        record_failure(step.lake, step.stage, outcome, step.run, attempts=attempts)
    except Exception:
        log.exception("%s: the failure of %s could not be recorded. It is planned again", step.stage.name, outcome.key)
    return outcome


def _keep(step: _Step, outcome: Unchanged) -> None:
    """Remove its failure. A run that Dagster planned the partition for logs the event of the last landing again."""
    if FAILURES.landing_key(outcome.key, step.stage.name) in step.failing:
        remove_failure(step.lake, step.stage, outcome.key)
    if has_planned_events(step.context.run.tags):
        landed = step.lake.runs(step.stage.name, [outcome.key])[outcome.key]
        _log_event(step, materialization(step.stage, outcome.key, landed, step.read, step.code_version, {}))


def _write(step: _Step, landing: Landing, *, attempts: int) -> Written | Failure:
    """Write the rows, then the commit. Several threads may do so at once."""
    started = time.monotonic()
    upstream = {name: landed[landing.key] for name, landed in step.read.items() if landing.key in landed}
    replaces = step.replaced.get(landing.key)
    try:
        tables, commit = write_rows(step.lake, step.stage, landing, step.run, upstream, replaces=replaces)
        shown = {**step.stage.ui_metadata(tables), **cost_metadata(landing)}
        write_ms = round(1000 * (time.monotonic() - started))
        landed = commit_landing(
            step.lake, step.stage, landing, step.run, upstream, commit, write_ms=write_ms, attempts=attempts
        )
        event = materialization(step.stage, landing.key, landed, step.read, step.code_version, shown)
    except Exception as error:
        log.exception("%s: %s could not be landed", step.stage.name, landing.key)
        return Failure(landing.key, _storage_error(landing.key, error), landing.cost)
    return Written(landing, tables, event)


def _log_event(step: _Step, event: dg.AssetMaterialization) -> None:
    """Log the event of a landing; that of a feed with others."""
    step.events.waiting.append(event)
    if step.stage.partition_kind == "episode" or step.events.is_due():
        _log_waiting(step)


def _log_waiting(step: _Step) -> None:
    """An event that Dagster does not take is no failure of the episode: its rows count."""
    events, step.events.waiting = step.events.waiting, []
    step.events.logged_at_s = time.monotonic()
    try:
        log_materializations(step.context, events)
    except Exception:
        names = ", ".join(str(event.partition) for event in events)
        log.exception("%s: the event of %s could not be logged. `podlake run` logs it later", step.stage.name, names)


def _storage_error(key: str, error: Exception) -> Exception:
    if not isinstance(error, OSError):
        return error
    return StorageError(f"{key} could not be landed: {error}. Check free space, permissions and the object store.")


def _upstream_missing(stage: Stage, key: str, missing: Sequence[str]) -> UpstreamMissing:
    names = " and ".join(missing)
    return UpstreamMissing(
        f"{stage.name} needs {names} of {key}, which has not landed. Materialize {names} first, "
        f"or see why it failed: podlake status {key}"
    )
