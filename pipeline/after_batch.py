"""Calls a stage's `after_batch` for everything that its runs land, also if a call fails or its run is killed.

A run notes its keys in `after_batch/<stage>/<run_id>.json` before it lands the first one, and removes the note after the
last call. The next run of the stage, and a sensor, make the calls that the notes of ended runs ask for. So a landing may
be given to `after_batch` twice, and never not at all.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import pyarrow as pa
from pydantic import TypeAdapter

from pipeline.run_process import has_ended
from pipeline.stage import Stage
from resources.lake.home import Home
from resources.lake.lake import Lake

log = logging.getLogger("podlake")

FOLDER = "after_batch"
REMEMBERED_BYTES = 64 << 20
"""Landed rows that are kept for one call."""
_KEYS = TypeAdapter(tuple[str, ...])

Tables = Mapping[str, pa.Table]


@dataclass
class AfterBatch:
    """The calls of one run for what it lands."""

    instance: dg.DagsterInstance
    lake: Lake
    stage: Stage
    run_id: str
    resources: Any
    """Has the resources as attributes."""
    _waiting: list[Tables] = field(default_factory=list)
    _n_bytes: int = 0
    _is_noted: bool = False
    _has_failed: bool = False

    def begin(self, keys: Sequence[str]) -> None:
        """Make the calls that ended runs have left, and note the keys of this one."""
        if self.stage.after_batch is None:
            return
        finish_ended(self.instance, self.lake, [self.stage], self.resources)
        if keys:
            with self.lake.home.writing(FOLDER, self.stage.name, f"{self.run_id}.json") as stream:
                stream.write(_KEYS.dump_json(tuple(keys)))
            self._is_noted = True

    def add(self, landed: Tables) -> None:
        """Remember a landing. The call is made now if there are many; if that fails, it is made again at the end."""
        if self.stage.after_batch is None or self._has_failed:
            return
        self._waiting.append(landed)
        self._n_bytes += _size(landed)
        if self._n_bytes > REMEMBERED_BYTES:
            try:
                self._call()
            except Exception:
                log.exception("%s: the work after landings failed. It is tried again at the end", self.stage.name)
                self._has_failed = True
            self._waiting, self._n_bytes = [], 0

    def end(self) -> None:
        """Make the last call. If that raises, the note stays for the next run."""
        if not self._is_noted:
            return
        if self._has_failed:
            _call_for_noted(self.instance, self.lake, self.stage, self.run_id, self.resources)
        else:
            self._call()
        _remove(self.lake.home, self.stage.name, self.run_id)

    def _call(self) -> None:
        if self._waiting:
            _call(self.instance, self.stage, self._waiting, self.resources)


def finish_ended(instance: dg.DagsterInstance, lake: Lake, stages: Iterable[Stage], resources: Any) -> list[str]:
    """Make the calls that ended runs of the stages have left. Returns the ids of the runs. What fails stays noted."""
    finished = []
    for stage in stages:
        for run_id in _noted_runs(lake.home, stage.name) if stage.after_batch else ():
            if not has_ended(instance, run_id):
                continue
            try:
                _call_for_noted(instance, lake, stage, run_id, resources)
            except Exception:
                log.exception("%s: the work after the run %s failed. It is tried again", stage.name, run_id)
                continue
            _remove(lake.home, stage.name, run_id)
            finished.append(run_id)
    return finished


def forget_keys(home: Home, stages: Iterable[str], keys: Iterable[str]) -> None:
    """Remove the keys from the notes."""
    gone = set(keys)
    for stage in stages:
        for run_id in _noted_runs(home, stage):
            noted = _KEYS.validate_json(home.read(FOLDER, stage, f"{run_id}.json"))
            if gone.intersection(noted):
                with home.writing(FOLDER, stage, f"{run_id}.json") as stream:
                    stream.write(_KEYS.dump_json(tuple(key for key in noted if key not in gone)))


def _call_for_noted(instance: dg.DagsterInstance, lake: Lake, stage: Stage, run_id: str, resources: Any) -> None:
    for landings in _chunks(_landed(lake, stage, run_id)):
        _call(instance, stage, landings, resources)


def _landed(lake: Lake, stage: Stage, run_id: str) -> Iterator[Tables]:
    """The newest landings of the run's keys, if it was the run that made them."""
    keys = _KEYS.validate_json(lake.home.read(FOLDER, stage.name, f"{run_id}.json"))
    own = [key for key, row in lake.runs(stage.name, keys).items() if row.run_id == run_id]
    for key in own:
        tables = {table.name: lake.read(table, key) for table in stage.tables}
        yield {name: rows for name, rows in tables.items() if rows is not None}


def _chunks(landings: Iterable[Tables]) -> Iterator[list[Tables]]:
    chunk: list[Tables] = []
    n_bytes = 0
    for landed in landings:
        chunk.append(landed)
        n_bytes += _size(landed)
        if n_bytes > REMEMBERED_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


def _size(landed: Tables) -> int:
    return sum(rows.get_total_buffer_size() for rows in landed.values())


def _call(instance: dg.DagsterInstance, stage: Stage, landings: Sequence[Tables], resources: Any) -> None:
    assert stage.after_batch is not None
    stage.after_batch(instance, landings, **{name: getattr(resources, name) for name in stage.needs_after_batch})


def _noted_runs(home: Home, stage: str) -> list[str]:
    return [name.removesuffix(".json") for name in home.names(FOLDER, stage) if name.endswith(".json")]


def _remove(home: Home, stage: str, run_id: str) -> None:
    home.remove(FOLDER, stage, f"{run_id}.json")
