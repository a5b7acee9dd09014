"""Episodes that take their worker down: who was in hand when a process died, counted from run to run.

Before a run hands episodes to its stage it notes them in `working/<stage>/<run_id>.json`; however the step ends,
it takes the note away. A note whose process is gone is what a crash leaves behind. Those that were in hand and
have no outcome are suspects: the next run hands them over one at a time, the most suspect last, so that its
crash has one culprit and costs the fewest others. At `CRASHES_ALLOWED` an episode is set aside.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace

from dagster import DagsterInstance

from resources.lake.home import Home
from resources.lake.lake import Lake

CRASHES_ALLOWED = 3
"""Runs that may die over an episode before it is set aside."""

_FOLDER = "working"


@dataclass(frozen=True)
class Watch:
    """The episodes of one run at one stage, and how often a run has died over each."""

    home: Home
    stage: str
    run_id: str
    keys: tuple[str, ...]
    crashes: Mapping[str, int]
    """Of those that a run has died over since they last had an outcome."""

    @property
    def set_aside(self) -> list[str]:
        return [key for key in self.keys if self.crashes.get(key, 0) >= CRASHES_ALLOWED]

    def groups(self) -> Iterator[tuple[str, ...]]:
        """The other keys: those above suspicion together, then each suspect alone. Noted before they are given."""
        trusted = tuple(key for key in self.keys if key not in self.crashes)
        suspects = [key for key in self.keys if 0 < self.crashes.get(key, 0) < CRASHES_ALLOWED]
        for group in (trusted, *((key,) for key in sorted(suspects, key=lambda key: self.crashes[key]))):
            if group:
                self.note(group)
                yield group

    def note(self, in_progress: Sequence[str]) -> None:
        note = _Note(self.run_id, socket.gethostname(), os.getpid(), list(in_progress), dict(self.crashes))
        _write(self.home, self.stage, note)


@contextmanager
def watching(instance: DagsterInstance, lake: Lake, stage: str, run_id: str, keys: Sequence[str]) -> Iterator[Watch]:
    """Watch over the keys while a step works on them. Only the death of the process leaves a note behind."""
    dead = [
        _without_outcomes(lake, stage, note)
        for note in _notes(lake.home, stage)
        if note.run_id == run_id or _is_gone(instance, note)
    ]
    watch = Watch(lake.home, stage, run_id, tuple(keys), _counted(dead, keys))
    if watch.crashes:
        watch.note(())  # what is known is written here before it is struck out there
    for note in dead:
        if note.run_id != run_id:
            drop_keys(lake.home, stage, note, keys)
    try:
        yield watch
    finally:
        _remove(lake.home, stage, run_id)


@dataclass(frozen=True)
class _Note:
    """What a run has in hand at a stage, and who works on it."""

    run_id: str
    host: str
    pid: int
    in_progress: list[str]
    crashes: dict[str, int]
    """From earlier runs, also of keys that are not in hand yet."""


def _counted(dead: Collection[_Note], keys: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for note in dead:
        for key in (key for key in keys if key in note.in_progress or key in note.crashes):
            count = note.crashes.get(key, 0) + (key in note.in_progress)
            counts[key] = max(count, counts.get(key, 0))
    return counts


def _without_outcomes(lake: Lake, stage: str, note: _Note) -> _Note:
    """What the dead run owes an outcome."""

    def is_done(key: str) -> bool:
        return note.run_id in lake.history(stage, key)["run_id"].to_pylist()

    return _left(note, [key for key in {*note.in_progress, *note.crashes} if is_done(key)])


def _left(note: _Note, gone: Collection[str]) -> _Note:
    crashes = {key: count for key, count in note.crashes.items() if key not in gone}
    return replace(note, in_progress=[key for key in note.in_progress if key not in gone], crashes=crashes)


def _is_gone(instance: DagsterInstance, note: _Note) -> bool:
    """Whether nobody works on it any more: its process has died, or Dagster says that the run has ended."""
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
    """Leave in a dead run's note what other runs have yet to take over."""
    left = _left(note, keys)
    if left.in_progress or left.crashes:
        _write(home, stage, left)
    else:
        _remove(home, stage, note.run_id)


def _notes(home: Home, stage: str) -> list[_Note]:
    return [_Note(**json.loads(home.read(_FOLDER, stage, name))) for name in home.names(_FOLDER, stage)]


def _write(home: Home, stage: str, note: _Note) -> None:
    with home.writing(_FOLDER, stage, f"{note.run_id}.json") as stream:
        stream.write(json.dumps(asdict(note)).encode())


def _remove(home: Home, stage: str, run_id: str) -> None:
    home.remove(_FOLDER, stage, f"{run_id}.json")
