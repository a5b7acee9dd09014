"""The batch contract: one run, many episodes, and each of them ends in exactly one outcome.

* landed: rows are in the lake, then `stage_runs` says so, then Dagster has its event;
* failed, worth retrying, or failed for good: `failures` says why; the partition is red; nobody else is touched.

A re-executed run does not do again what the run that it re-executes has landed, and logs no second event
for it. (Should the re-executed run fail again, Dagster paints all its partitions that have no event in it
red, these too; the tables and everything that is requested from them know better.)
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from pipeline.crashes import CRASHES_ALLOWED, watching
from pipeline.dagster_internals import ROOT_RUN_ID_TAG
from pipeline.events import EVENTS_LOGGED, materialization
from pipeline.records import Run, commit_landing, landed_by, last_landings, record_failure, write_rows
from pipeline.run_keys import named_keys
from pipeline.run_process import tag_process
from pipeline.stage import Batch, Failure, Landed, Landing, Outcome, Stage
from resources.lake.lake import Lake
from resources.lake.migration import migrate
from speech.errors import EngineUnavailable, KeepsCrashing, PodlakeError, UpstreamMissing, policy_of

log = logging.getLogger("podlake")

LONGEST_WAIT_S = 60.0
"""A server that asks for more patience is left to a later run."""


@dataclass(frozen=True)
class _Step:
    """The step that runs, and what it knows before the first episode."""

    context: dg.AssetExecutionContext
    stage: Stage
    code_version: str
    lake: Lake
    run: Run
    keys: tuple[str, ...]
    upstream: Mapping[str, Mapping[str, Landed]]


def run_stage(context: dg.AssetExecutionContext, stage: Stage, code_version: str) -> Iterator[dg.MaterializeResult]:
    """The body of every partitioned asset. Raises `dagster.Failure` when an episode failed."""
    lake: Lake = context.resources.lake
    tag_process(context.instance, context.run.run_id)
    migrate(lake.home)
    keys = named_keys(context.run.tags) or tuple(context.partition_keys)
    root_run_id = context.run.root_run_id or context.run.tags.get(ROOT_RUN_ID_TAG) or context.run.run_id
    run = Run(context.run.run_id, root_run_id, datetime.now(UTC), len(keys))
    upstream = {name: last_landings(lake, name, keys) for name in stage.inputs}
    step = _Step(context, stage, code_version, lake, run, keys, upstream)
    done = landed_by(lake, stage.name, keys, root_run_id)
    for key in sorted(done):
        log.info("%s: %s landed before this run was interrupted, not done again", stage.name, key)
        report_if_unknown(context.instance, lake, stage, key, code_version)
    todo = tuple(key for key in keys if key not in done)
    failures: list[Failure] = []
    for count, (outcome, attempts) in enumerate(_outcomes(step, todo), start=1):
        final = _land(step, outcome, attempts)
        if isinstance(final, Failure):
            failures.append(final)
        _log(stage, final, count, len(todo))
    if failures:
        raise _failure(stage, failures, len(keys))
    yield dg.MaterializeResult(asset_key=stage.name, metadata=EVENTS_LOGGED)


def report_if_unknown(instance: dg.DagsterInstance, lake: Lake, stage: Stage, key: str, code_version: str) -> bool:
    """Log the event of a landing whose run was killed before it could. Returns whether it had to be."""
    landed = last_landings(lake, stage.name, [key])[key]
    asset = dg.AssetRecordsFilter(asset_key=dg.AssetKey(stage.name), asset_partitions=[key])
    known = instance.fetch_materializations(asset, limit=1).records
    if known and known[0].timestamp >= landed.finished_at.timestamp() - 1:
        return False
    upstream = {name: last_landings(lake, name, [key]) for name in stage.inputs}
    tables = {table.name: lake.read(table, key) for table in stage.tables}
    shown = stage.ui_metadata({name: rows for name, rows in tables.items() if rows is not None})
    instance.report_runless_asset_event(materialization(stage, key, landed, upstream, code_version, shown))
    return True


def _outcomes(step: _Step, todo: Sequence[str]) -> Iterator[tuple[Outcome, int]]:
    """Each key exactly once, with the number of tries."""
    missing = {key: [name for name in step.stage.inputs if key not in step.upstream[name]] for key in todo}
    for key in todo:
        if missing[key]:
            yield Failure(key, _not_upstream(step.stage, key, missing[key])), 1
    ready = [key for key in todo if not missing[key]]
    with watching(step.context.instance, step.lake, step.stage.name, step.run.run_id, ready) as watch:
        for key in watch.set_aside:
            yield Failure(key, _keeps_crashing(step.stage, key)), 1
        for keys in watch.groups():
            yield from _tried(step, keys)


def _tried(step: _Step, keys: tuple[str, ...]) -> Iterator[tuple[Outcome, int]]:
    """The stage's outcomes; transient errors are tried again after the others."""
    pending, attempt = keys, 1
    while pending:
        again: list[str] = []
        wait_s = 0.0
        for outcome in _attempt(step, pending):
            wait = _wait_before_next_try(outcome, attempt)
            if wait is None:
                yield outcome, attempt
            else:
                again.append(outcome.key)
                wait_s = max(wait_s, wait)
        if again:
            log.info("%s: %d to be tried again in %.1f s", step.stage.name, len(again), wait_s)
            time.sleep(wait_s)
        pending, attempt = tuple(again), attempt + 1


def _attempt(step: _Step, keys: tuple[str, ...]) -> Iterator[Outcome]:
    """One pass over the keys. What the stage leaves out, or takes down with it, has failed."""
    resources = {name: getattr(step.context.resources, name) for name in step.stage.needs}
    left = dict.fromkeys(keys)
    error: Exception = PodlakeError("the stage gave no outcome for the episode")
    try:
        for outcome in step.stage.work(Batch(keys, step.upstream), **resources):
            if outcome.key not in left:
                log.error("%s: a second outcome for %s is ignored", step.stage.name, outcome.key)
                continue
            del left[outcome.key]
            yield outcome
    except EngineUnavailable as unavailable:
        log.error("%s: %s", step.stage.name, unavailable)  # noqa: TRY400 - the message says it all
        raise dg.Failure(description=str(unavailable), allow_retries=False) from unavailable
    except Exception as unforeseen:
        log.exception("%s: stopped at an error that nobody foresaw", step.stage.name)
        error = unforeseen
    for key in left:
        yield Failure(key, error)


def _land(step: _Step, outcome: Outcome, attempts: int) -> Outcome:
    """Rows, then the record, then the event. A landing that cannot be written is a failure."""
    if isinstance(outcome, Landing):
        started = time.monotonic()
        try:
            upstream = {name: landed[outcome.key] for name, landed in step.upstream.items()}
            tables, commit = write_rows(step.lake, step.stage, outcome, step.run, upstream)
            if step.stage.after_landing:
                more = {name: getattr(step.context.resources, name) for name in step.stage.needs_after_landing}
                step.stage.after_landing(step.context.instance, tables, **more)
        except PodlakeError as error:
            outcome = Failure(outcome.key, error, outcome.cost)
        else:
            write_ms = round(1000 * (time.monotonic() - started))
            landed = commit_landing(
                step.lake, step.stage, outcome, step.run, upstream, commit, write_ms=write_ms, attempts=attempts
            )
            shown = {**step.stage.ui_metadata(tables), **_cost_metadata(outcome)}
            event = materialization(step.stage, outcome.key, landed, step.upstream, step.code_version, shown)
            step.context.log_event(event)
            return outcome
    record_failure(step.lake, step.stage, outcome, step.run, attempts=attempts)
    return outcome


def _wait_before_next_try(outcome: Outcome, attempt: int) -> float | None:
    """Seconds, with jitter; None where the outcome stands."""
    if isinstance(outcome, Landing):
        return None
    policy = policy_of(outcome.error_class)
    if not policy.retryable or attempt >= policy.tries_in_step:
        return None
    asked_s = outcome.error.retry_after_s if isinstance(outcome.error, PodlakeError) else None
    backoff_s = policy.first_wait_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
    wait_s = max(asked_s or 0.0, backoff_s)
    return wait_s if wait_s <= LONGEST_WAIT_S else None


def _not_upstream(stage: Stage, key: str, missing: Sequence[str]) -> UpstreamMissing:
    names = " and ".join(missing)
    return UpstreamMissing(
        f"{stage.name} needs {names} of {key}, which has not landed. Materialize {names} first, "
        f"or see why it failed: podlake status {key}"
    )


def _keeps_crashing(stage: Stage, key: str) -> KeepsCrashing:
    return KeepsCrashing(
        f"{CRASHES_ALLOWED} runs died while {stage.name} worked on {key}, so it is set aside and the others go on. "
        f"Look at its audio, or at the memory that runs may take; then: podlake retry --stage {stage.name} "
        f"--error-class {KeepsCrashing.error_class}"
    )


def _cost_metadata(landing: Landing) -> dict[str, Any]:
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


def _failure(stage: Stage, failures: Sequence[Failure], n_keys: int) -> dg.Failure:
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


def _log(stage: Stage, outcome: Outcome, count: int, total: int) -> None:
    if isinstance(outcome, Failure):
        log.warning(
            "%s %d/%d  %s  failed [%s] %s", stage.name, count, total, outcome.key, outcome.error_class, outcome.message
        )
    else:
        speed = f", {outcome.cost.rtfx:.1f}× real time" if outcome.cost.rtfx else ""
        log.info("%s %d/%d  %s  landed%s", stage.name, count, total, outcome.key, speed)
