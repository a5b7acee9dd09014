"""Compaction: the open landings of finished episodes and feeds move to sealed files; readers see no change.

1. For each table, write the newest open landing of each key to new sealed files, and a new manifest that names them.
   The manifest also says that older sealed rows of these keys are superseded. Readers still take the keys from their
   open landings. A sealed file is rewritten when many of its rows are superseded.
2. Delete the commits of the keys, older ones first. From now on readers take the keys from the sealed files.
3. Delete the rows of these commits, and the sealed files that the manifest does not name.

Compaction deletes only landings whose commits it has listed, by names that are never used again: a landing made
meanwhile stays, and replaces what was sealed. If the process is killed, the next compaction does the work again.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import chain, groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from resources.lake.commits import Commit, all_open_commits, open_commits, record_folders
from resources.lake.graph import StageGraph
from resources.lake.home import Home
from resources.lake.lake import OPEN, Lake
from resources.lake.sealed_files import MANIFEST, SEALED, SealedFiles, Sizes
from resources.lake.tables import FAILURES, SPEAKER_LINKS, STAGE_RUNS, TABLES, VOICES, Table
from resources.lake.voice_removal import land_without
from speech.file_locks import wait_for_lock

SEALABLE = tuple(table for table in TABLES.values() if table.is_sealable)
ROW_TABLES = tuple(table for table in SEALABLE if table is not STAGE_RUNS)
Place = tuple[str, ...]
"""The parts of a path below the home."""
_PARALLEL_FILES = 8
"""Open files that are read or deleted at once: each waits for the disk or the object store."""
_READ_AHEAD = 64
_ABANDONED_AFTER = timedelta(days=1)
"""The age at which a temporary file, or rows without a commit, belong to a process that was killed."""


@dataclass(frozen=True)
class Sealed:
    """What a compaction did to a table."""

    table: str
    landings: int
    rows: int
    bytes_added: int
    files: int
    """Sealed files of the table after it."""
    seconds: float


def settled(lake: Lake, graph: StageGraph, before: datetime) -> set[str]:
    """Keys with open landings that are complete, that no stage fails for, and of which nothing has landed since.

    All stages of `graph` belong to one kind of partition.
    """
    found = all_open_commits(lake.home)
    commits = [commit for name in graph.names for commit in found.get(name, {}).values()]
    keys = {commit.key for commit in commits}
    complete = keys.intersection(*(lake.current(name, sorted(keys)) for name in graph.terminal))
    return complete - _failing(lake) - {commit.key for commit in commits if commit.landed_at > before}


def sealed_episodes(lake: Lake, terminal: Iterable[str]) -> list[str]:
    """Complete episodes whose rows all lie in sealed files, and none in open ones."""
    landed = SealedFiles(lake.home, STAGE_RUNS).landed()
    complete = set.intersection(*(landed.get(name, set()) for name in terminal))
    return sorted(complete - {commit.key for commit in _all_commits(lake.home)} - _failing(lake))


def open_before(lake: Lake, stages: Iterable[str], before: datetime) -> set[str]:
    """Keys with open landings of these stages, none of them newer."""
    commits = [commit for stage in stages for commit in open_commits(lake.home, stage).values()]
    return {commit.key for commit in commits} - {commit.key for commit in commits if commit.landed_at > before}


def seal(
    lake: Lake,
    keys: Collection[str],
    *,
    stages: Collection[str] | None = None,
    sizes: Sizes = Sizes(),  # noqa: B008 - frozen
) -> Iterator[Sealed]:
    """Compact all open landings of the keys, or those of some stages, table by table. One compaction runs at a time.

    Raises `StorageError`; the next compaction does what was not done then.
    """
    with exclusive(lake.home):
        _remove_leftovers(lake.home)
        commits = [
            commit
            for commit in _all_commits(lake.home)
            if commit.key in keys and (stages is None or commit.stage in stages)
        ]
        for table in SEALABLE:
            started = time.monotonic()
            files = SealedFiles(lake.home, table, sizes)
            size = files.size()
            n_rows = _seal_records(files, commits) if table is STAGE_RUNS else _seal_rows(files, commits)
            seconds = time.monotonic() - started
            yield Sealed(table.name, len(n_rows), sum(n_rows), files.size() - size, len(files.names()), seconds)
        _remove_landings(lake.home, commits)
        for table in SEALABLE:
            SealedFiles(lake.home, table).remove_replaced()


def reopen(lake: Lake, episode_ids: Collection[str]) -> int:
    """Copy the episodes' sealed landings to open files again. Returns how many; what is open stays as it is."""
    count = 0
    with exclusive(lake.home):
        found = all_open_commits(lake.home)
        for stage in sorted({table.asset for table in ROW_TABLES if table.landing == ("episode_id",)}):
            sealed = [key for key in sorted(episode_ids) if key not in found.get(stage, {})]
            records = SealedFiles(lake.home, STAGE_RUNS).newest_runs(stage, sealed)
            tables = _tables_of(stage)
            rows = {table.name: SealedFiles(lake.home, table).landings(list(records)) for table in tables}
            for key, record in records.items():
                landing = [(table, rows[table.name].get(key, table.schema.empty_table())) for table in tables]
                lake.write_rows(record.commit, landing)
                lake.commit(replace(record, stamp=record.commit.stamp))
                count += 1
    return count


def remove(lake: Lake, episode_ids: Collection[str]) -> None:
    """Remove every row of the episodes from every table that stages write, open or sealed, but the catalogue's."""
    ids = set(episode_ids)
    with exclusive(lake.home):
        _remove_from_voices(lake, ids)
        _remove_rows(lake, ids, "episode_id")


def remove_requested(lake: Lake, key: str, column: str) -> None:
    """Remove every row of a podcast, lesson or video, open or sealed. Its tables have the key in this column."""
    with exclusive(lake.home):
        _remove_rows(lake, {key}, column)


def _remove_rows(lake: Lake, ids: set[str], column: str) -> None:
    """Remove the rows of tables whose landings this column names, and the records and failures of the keys."""
    _remove_landings(lake.home, [commit for commit in _all_commits(lake.home) if commit.key in ids])
    for table in SEALABLE:
        if table.landing[0] == column or table is STAGE_RUNS:
            files = SealedFiles(lake.home, table)
            supersede(files, ids, (), rewrite_all=True)
            files.remove_replaced()
        for name in lake.home.names("lake", table.name, OPEN):
            if name.partition("@")[0] in ids:  # of a landing that was never committed
                lake.home.remove("lake", table.name, OPEN, name)
    for name in lake.keys(FAILURES):
        if name.partition(".")[0] in ids:
            lake.remove(FAILURES, name)


def _remove_from_voices(lake: Lake, episode_ids: set[str]) -> None:
    """Replace the voices of the feeds by landings without the episodes."""
    new = land_without(lake, episode_ids)
    feeds = {commit.key for commit in new}
    old = [commit for commit in _all_commits(lake.home) if commit.key in feeds and commit.stage == VOICES.asset]
    _remove_landings(lake.home, [commit for commit in old if commit not in new])
    for table in (VOICES, SPEAKER_LINKS):
        files = SealedFiles(lake.home, table)
        supersede(files, feeds, (), rewrite_all=True)
        files.remove_replaced()


def _seal_rows(files: SealedFiles, commits: Sequence[Commit]) -> list[int]:
    """Step 1 for a table that a stage writes: the newest landing of each key. Returns the number of rows of each."""
    newest = {commit.key: commit for commit in commits if files.table in _tables_of(commit.stage)}
    n_rows: list[int] = []
    if newest:
        paths = [_row_path(files.table, commit) for commit in newest.values()]
        supersede(files, newest.keys(), _read(files.home, files.table, paths, n_rows))
    return n_rows


def _seal_records(files: SealedFiles, commits: Sequence[Commit]) -> list[int]:
    """Step 1 for `stage_runs`, which keeps all records. Those that a killed compaction has sealed are left out."""
    sealed = files.records({commit.key for commit in commits}) if commits else set()
    paths = [_record_path(commit) for commit in commits if commit.name not in sealed]
    n_rows: list[int] = []
    if paths:
        supersede(files, (), _read(files.home, files.table, paths, n_rows))
    return n_rows


def supersede(
    files: SealedFiles, keys: Collection[str], landings: Iterable[pa.Table], *, rewrite_all: bool = False
) -> None:
    """A new manifest in which sealed rows of the keys are superseded, with the landings in new files.

    A file is rewritten without its superseded rows if they are many; with `rewrite_all`, if it holds any of the keys.
    """
    held = files.holding(keys) if keys else {}
    manifest = [file.superseding(held.get(file.name, {})) for file in files.manifest()]
    rewritten = [file for file in manifest if (rewrite_all and file.name in held) or files.is_mostly_superseded(file)]
    if not rewrite_all and manifest and manifest[-1] not in rewritten and files.is_small(manifest[-1].name):
        rewritten.append(manifest[-1])
    new = files.write(chain(chain.from_iterable(files.rows(file) for file in rewritten), landings))
    if new or rewritten or held:
        files.commit([*(file for file in manifest if file not in rewritten), *new])


def _read(home: Home, table: Table, paths: Sequence[Place], n_rows: list[int]) -> Iterator[pa.Table]:
    """The rows of open files, in order. Adds the number of rows of each to `n_rows`."""

    def one(path: Place) -> pa.Table:
        with home.filesystem.open_input_file(home.path(*path)) as file:
            return table.conform(pq.ParquetFile(file).read(use_threads=False))

    with ThreadPoolExecutor(_PARALLEL_FILES) as pool:
        for start in range(0, len(paths), _READ_AHEAD):
            for rows in pool.map(one, paths[start : start + _READ_AHEAD]):
                n_rows.append(rows.num_rows)
                yield rows


def _remove_landings(home: Home, commits: Sequence[Commit]) -> None:
    """Steps 2 and 3 for the open files: first the commits, older ones first, then the rows of the same landings."""
    by_key = groupby(commits, key=lambda commit: (commit.key, commit.stage))
    _delete(home, [[_record_path(commit) for commit in of_key] for _, of_key in by_key])
    _delete(home, [[_row_path(table, commit)] for commit in commits for table in _tables_of(commit.stage)])


def _delete(home: Home, groups: Iterable[Sequence[Place]]) -> None:
    """Delete files, those of a group one after the other. It is no error that a file is missing."""

    def delete(paths: Sequence[Place]) -> None:
        for path in paths:
            home.remove(*path)

    with ThreadPoolExecutor(_PARALLEL_FILES) as pool:
        list(pool.map(delete, groups))


def _tables_of(stage: str) -> list[Table]:
    return [table for table in ROW_TABLES if table.asset == stage]


def _row_path(table: Table, commit: Commit) -> Place:
    return ("lake", table.name, OPEN, f"{commit.name}.parquet")


def _record_path(commit: Commit) -> Place:
    return ("lake", STAGE_RUNS.name, OPEN, commit.stage, f"{commit.name}.parquet")


def _all_commits(home: Home) -> list[Commit]:
    """All open commits and records of failed tries, by key, stage and time."""
    return sorted(
        Commit.parse(stage, name)
        for stage in record_folders(home)
        for name in home.names("lake", STAGE_RUNS.name, OPEN, stage)
    )


def _failing(lake: Lake) -> set[str]:
    return {name.partition(".")[0] for name in lake.keys(FAILURES)}


def _remove_leftovers(home: Home) -> None:
    """Remove what killed processes left: sealed files without a manifest, rows without a commit, temporary files."""
    before = datetime.now(UTC) - _ABANDONED_AFTER
    for table in SEALABLE:
        SealedFiles(home, table).remove_replaced()
    rows = [
        (table, commit)
        for table in ROW_TABLES
        for commit in (Commit.parse(table.asset, name) for name in home.names("lake", table.name, OPEN))
        if commit.landed_at < before
    ]
    commits = set(_all_commits(home)) if rows else set()  # listed after the rows, so that each commit of theirs is seen
    _delete(home, [[_row_path(*row)] for row in rows if row[1] not in commits])
    if not home.is_local:
        return
    for unfinished in Path(home.path("lake")).rglob(".*.tmp"):
        is_ours = unfinished.parent.name in (SEALED, MANIFEST)  # only a compaction writes there
        with suppress(FileNotFoundError):  # its process has renamed it meanwhile
            if is_ours or unfinished.stat().st_mtime < before.timestamp():
                unfinished.unlink()


@contextmanager
def exclusive(home: Home) -> Iterator[None]:
    """Wait until no other process compacts or migrates on this machine; across machines, the pool `sealing` ensures it."""
    if home.is_local:
        path = Path(home.path("lake", ".sealing.lock"))
    else:
        path = Path(tempfile.gettempdir()) / f"podlake-sealing-{sha256(home.uri.encode()).hexdigest()[:16]}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        wait_for_lock(lock)
        yield
