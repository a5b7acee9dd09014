"""Crash attribution: counts per episode the runs that ended while they worked on it.

Before a run gives episodes to its stage, it writes them to `working/<stage>/<run_id>.json`. A step that ends normally
removes the file. If the process exits before, or the run reaches its time limit, the file stays: its episodes
without an outcome are suspects. The next run works on suspects one at a time, the most suspect last, so that another
crash has one cause and affects the fewest episodes. After `RUNS_ALLOWED` runs an episode is set aside.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import dagster as dg

from resources.lake.home import Home
from resources.lake.lake import Lake

RUNS_ALLOWED = 3
"""Runs that may end during work on an episode before it is set aside."""

_FOLDER = "working"


@dataclass(frozen=True)
class Watch:
    """The episodes of one run at one stage, and how many runs have ended during work on each."""

    home: Home
    stage: str
    run_id: str
    keys: tuple[str, ...]
    crashes: Mapping[str, int]
    """Only keys that a run has ended on since their last outcome."""

    @property
    def set_aside(self) -> list[str]:
        return [key for key in self.keys if self.crashes.get(key, 0) >= RUNS_ALLOWED]

    def groups(self) -> Iterator[tuple[str, ...]]:
        """The other keys: first all that are no suspects, then each suspect alone. Each group is noted before."""
        trusted = tuple(key for key in self.keys if key not in self.crashes)
        suspects = [key for key in self.keys if 0 < self.crashes.get(key, 0) < RUNS_ALLOWED]
        for group in (trusted, *((key,) for key in sorted(suspects, key=lambda key: self.crashes[key]))):
            if group:
                self.note(group)
                yield group

    def note(self, in_progress: Sequence[str]) -> None:
        note = _Note(self.run_id, socket.gethostname(), os.getpid(), list(in_progress), dict(self.crashes))
        _write(self.home, self.stage, note)


@contextmanager
def watching(instance: dg.DagsterInstance, lake: Lake, stage: str, run_id: str, keys: Sequence[str]) -> Iterator[Watch]:
    """Note the keys while a step works on them. The note stays if the process exits or the run's time is up."""
    ended = [
        _without_outcomes(lake, stage, note)
        for note in _notes(lake.home, stage)
        if note.run_id == run_id or _has_ended(instance, note)
    ]
    watch = Watch(lake.home, stage, run_id, tuple(keys), _counted(ended, keys))
    if watch.crashes:
        watch.note(())  # the counts are written to this run's note before they leave those of ended runs
    for note in ended:
        if note.run_id != run_id:
            drop_keys(lake.home, stage, note, keys)
    try:
        yield watch
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        if not (_is_out_of_time(instance, run_id) and _keep_first_suspect(lake, stage, run_id)):
            forget(lake.home, stage, run_id)
        raise
    except BaseException:
        forget(lake.home, stage, run_id)
        raise
    else:
        forget(lake.home, stage, run_id)


def _is_out_of_time(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the run is as old as its time limit allows: it was ended for that, and not by a user."""
    record = instance.get_run_record_by_id(run_id)
    limit_s = float(record.dagster_run.tags.get(dg.MAX_RUNTIME_SECONDS_TAG, 0)) if record else 0.0
    limit_s = limit_s or float(instance.run_monitoring_max_runtime_seconds)
    if record is None or record.start_time is None or limit_s <= 0:
        return False
    return datetime.now(UTC).timestamp() - record.start_time >= limit_s


def _keep_first_suspect(lake: Lake, stage: str, run_id: str) -> bool:
    """Leave in the run's note the episode that it worked on: the first that has no outcome. Whether there is one."""
    for note in (note for note in _notes(lake.home, stage) if note.run_id == run_id):
        left = _without_outcomes(lake, stage, note)
        suspects = [key for key in note.in_progress if key in left.in_progress][:1]
        if suspects:
            _write(lake.home, stage, replace(left, in_progress=suspects))
            return True
    return False


@dataclass(frozen=True)
class _Note:
    """The episodes that a run works on at a stage, and its process."""

    run_id: str
    host: str
    pid: int
    in_progress: list[str]
    crashes: dict[str, int]
    """From earlier runs, also of keys that the run has not begun yet."""


def _counted(ended: Collection[_Note], keys: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for note in ended:
        for key in (key for key in keys if key in note.in_progress or key in note.crashes):
            count = note.crashes.get(key, 0) + (key in note.in_progress)
            counts[key] = max(count, counts.get(key, 0))
    return counts


def _without_outcomes(lake: Lake, stage: str, note: _Note) -> _Note:
    """The episodes of the note that have no outcome of its run."""

    def is_done(key: str) -> bool:
        return note.run_id in lake.history(stage, key)["run_id"].to_pylist()

    return _left(note, {key for key in {*note.in_progress, *note.crashes} if is_done(key)})


def _left(note: _Note, gone: Collection[str]) -> _Note:
    crashes = {key: count for key, count in note.crashes.items() if key not in gone}
    return replace(note, in_progress=[key for key in note.in_progress if key not in gone], crashes=crashes)


def _has_ended(instance: dg.DagsterInstance, note: _Note) -> bool:
    """Whether its process has exited, or Dagster has recorded the end of the run."""
    if note.host == socket.gethostname() and not _is_alive(note.pid):
        return True
    run = instance.get_run_by_id(note.run_id)
    return run is None or run.is_finished


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def drop_keys(home: Home, stage: str, note: _Note, keys: Collection[str]) -> None:
    """Leave in an ended run's note the keys that no other run has taken over yet."""
    left = _left(note, keys)
    if left.in_progress or left.crashes:
        _write(home, stage, left)
    else:
        forget(home, stage, note.run_id)


def _notes(home: Home, stage: str) -> list[_Note]:
    return [_Note(**json.loads(home.read(_FOLDER, stage, name))) for name in home.names(_FOLDER, stage)]


def _write(home: Home, stage: str, note: _Note) -> None:
    with home.writing(_FOLDER, stage, f"{note.run_id}.json") as stream:
        stream.write(json.dumps(asdict(note)).encode())


def forget(home: Home, stage: str, run_id: str) -> None:
    """Remove the note of a run: none of its episodes is a suspect."""
    home.remove(_FOLDER, stage, f"{run_id}.json")
