"""Crash attribution: a run that ends while it works on episodes is a failed attempt of each of them.

Before a run gives episodes to its stage, it writes them to `working/<stage>/<run_id>.json`. A step that ends normally
removes the file. If its process exits before, the file stays: the next run records a failure of each of its episodes
that has no outcome, and works on these suspects one at a time, the most suspect last. So another crash has one cause
and affects the fewest episodes. Crashes and other failed runs count together: after `max_attempts` of them, the
episode is set aside.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import dagster as dg
from pydantic import TypeAdapter

from pipeline.records import land_failure
from pipeline.run_process import has_ended
from pipeline.stage import Failure, Stage
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables.pipeline import FailureRow
from speech.errors import KeepsCrashing, policy_of

log = logging.getLogger("podlake")

_FOLDER = "working"
_UNKNOWN_TIME = datetime.min.replace(tzinfo=UTC)
"""Of the notes of earlier versions."""


@dataclass(frozen=True)
class _Note:
    """The episodes that a run works on at a stage."""

    run_id: str
    in_progress: tuple[str, ...]
    noted_at: datetime = _UNKNOWN_TIME


_NOTE = TypeAdapter(_Note)


@dataclass(frozen=True)
class Watch:
    """The episodes of one run at one stage."""

    home: Home
    stage: str
    run_id: str
    keys: tuple[str, ...]
    crashes: Mapping[str, int]
    """Suspects: episodes whose last failure is that a run ended; how many runs have failed on each."""
    set_aside: Mapping[str, FailureRow]
    """Episodes on which the last allowed run has ended before this one."""

    def groups(self) -> Iterator[tuple[str, ...]]:
        """The other keys: first all that are no suspects, then each suspect alone. Each group is noted before."""
        trusted = tuple(key for key in self.keys if key not in self.crashes)
        suspects = [key for key in self.keys if key in self.crashes and key not in self.set_aside]
        for group in (trusted, *((key,) for key in sorted(suspects, key=self.crashes.__getitem__))):
            if group:
                with self.home.writing(_FOLDER, self.stage, f"{self.run_id}.json") as stream:
                    stream.write(_NOTE.dump_json(_Note(self.run_id, group, datetime.now(UTC))))
                yield group


@contextmanager
def watching(
    instance: dg.DagsterInstance, lake: Lake, stage: Stage, run_id: str, keys: Sequence[str]
) -> Iterator[Watch]:
    """Record the failures of runs that have ended, then note the keys while a step works on them.

    If this run is at its time limit, the episode that it works on fails: the first without an outcome.
    """
    crashed: dict[str, FailureRow] = {}
    for note in _notes(lake.home, stage.name):
        if note.run_id == run_id or has_ended(instance, note.run_id):
            crashed |= {key: _record_crash(lake, stage, key, note) for key in _without_outcome(lake, stage, note)}
            forget(lake.home, stage.name, note.run_id)
    try:
        known = lake.failures(stage.name, keys)
    except OSError:
        log.exception("%s: the failures of earlier runs cannot be read, so no episode is a suspect", stage.name)
        known = {}
    crashes = {key: row.attempts for key, row in known.items() if row.error_class == KeepsCrashing.error_class}
    set_aside = {key: row for key, row in crashed.items() if key in keys and row.next_retry_at is None}
    try:
        yield Watch(lake.home, stage.name, run_id, tuple(keys), crashes, set_aside)
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        for note in _notes(lake.home, stage.name) if _is_out_of_time(instance, run_id) else ():
            if note.run_id == run_id and (left := _without_outcome(lake, stage, note)):
                _record_crash(lake, stage, left[0], note)
        raise
    finally:
        forget(lake.home, stage.name, run_id)


def _is_out_of_time(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the run is as old as its time limit allows: it was ended for that, and not by a user."""
    record = instance.get_run_record_by_id(run_id)
    limit_s = float(record.dagster_run.tags.get(dg.MAX_RUNTIME_SECONDS_TAG, 0)) if record else 0.0
    limit_s = limit_s or float(instance.run_monitoring_max_runtime_seconds)
    if record is None or record.start_time is None or limit_s <= 0:
        return False
    return datetime.now(UTC).timestamp() - record.start_time >= limit_s


def _without_outcome(lake: Lake, stage: Stage, note: _Note) -> list[str]:
    """The episodes of the note that have neither landed nor failed since it was written."""
    landed = lake.runs(stage.name, note.in_progress)
    failed = lake.failures(stage.name, note.in_progress)
    ended_at = {key: row.finished_at for key, row in landed.items()} | {key: row.last_at for key, row in failed.items()}
    return [key for key in note.in_progress if key not in ended_at or ended_at[key] < note.noted_at]


def _record_crash(lake: Lake, stage: Stage, key: str, note: _Note) -> FailureRow:
    allowed = policy_of(KeepsCrashing.error_class).max_attempts
    error = KeepsCrashing(
        f"A run ended while {stage.name} worked on {key}: it was killed, or took too much memory or time. After "
        f"{allowed} failed runs it is set aside. Then check its audio and the limits of runs, and try it again: "
        f"podlake retry --stage {stage.name} --error-class {KeepsCrashing.error_class}"
    )
    return land_failure(lake, stage, Failure(key, error), note.run_id)


def _notes(home: Home, stage: str) -> list[_Note]:
    return [_NOTE.validate_json(home.read(_FOLDER, stage, name)) for name in home.names(_FOLDER, stage)]


def forget_keys_at_work(home: Home, stages: Iterable[str], keys: Collection[str]) -> None:
    """Remove the notes of killed runs that name any of the keys."""
    for stage in stages:
        for note in _notes(home, stage):
            if not set(keys).isdisjoint(note.in_progress):
                forget(home, stage, note.run_id)


def forget(home: Home, stage: str, run_id: str) -> None:
    """Remove the note of a run: none of its episodes is a suspect."""
    home.remove(_FOLDER, stage, f"{run_id}.json")
