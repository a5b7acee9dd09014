"""Compaction: open landings of complete episodes and feeds are moved to sealed files; readers see no change.

1. For each table, write the newest open landing of each key to new sealed files, and the sealed files that hold older
   rows of these keys again without them. Then a new manifest names the new files instead of the old ones. Readers
   still take the keys from their open landings.
2. Delete the commits of the keys, older ones first. From now on readers take the keys from the sealed files.
3. Delete the open rows of these landings, and the sealed files that no manifest names.

Each step deletes only files that were read, by names that are never used again: a landing made meanwhile stays, and
outranks what was sealed. A process that is killed leaves work that the next compaction does again.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import fs

from resources.lake.commits import Commit
from resources.lake.home import Home
from resources.lake.lake import OPEN, Lake
from resources.lake.sealed_files import MANIFEST, SEALED, SealedFiles, Sizes
from resources.lake.tables import FAILURES, POLLS, QUALITY, STAGE_RUNS, TABLES, Table
from speech.file_locks import wait_for_lock

SEALABLE = tuple(table for table in TABLES.values() if table.is_sealable)
_LAST = {"quality": QUALITY, "episodes": POLLS}
"""The last stage of an episode, and of a feed, and a table that it writes."""
_PARALLEL_FILES = 8
"""Open files that are read or removed at once: each waits for the disk or the object store."""
_READ_AHEAD = 64
_ABANDONED_AFTER_S = 86_400
"""The age at which a temporary file belongs to a process that was killed."""


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


def seal(
    lake: Lake,
    *,
    older_than: timedelta,
    finished: Collection[str] = (),
    sizes: Sizes = Sizes(),  # noqa: B008 - frozen
) -> Iterator[Sealed]:
    """Compact every table's landings of the episodes and feeds that are `settled`, and of the `finished` ones.

    One compaction runs at a time.

    Raises `StorageError`; the next compaction does what was not done then.
    """
    with exclusive(lake.home):
        _remove_leftovers(lake.home)
        ids = settled(lake, older_than).union(finished)
        commits = {stage: _commits_of(lake.home, stage, ids) for stage in _stages(lake.home)}
        for table in SEALABLE:
            started = time.monotonic()
            files = SealedFiles(lake.home, table, sizes)
            size = files.size()
            paths = _record_files(commits) if table is STAGE_RUNS else _row_files(table, commits.get(table.asset, {}))
            n_rows = _seal(lake.home, files, paths)
            yield Sealed(
                table.name, len(paths), n_rows, files.size() - size, len(files.names()), time.monotonic() - started
            )
        _remove_landings(lake.home, commits)
        for table in SEALABLE:
            SealedFiles(lake.home, table).remove_replaced()


def settled(lake: Lake, older_than: timedelta) -> set[str]:
    """Episodes and feeds that are complete, that no stage fails for, and of which nothing landed lately."""
    before = datetime.now(UTC) - older_than
    files = {stage: _commit_files(lake.home, stage) for stage in _stages(lake.home)}
    complete = {_key_of(info.base_name) for stage in _LAST for info in files.get(stage, ())}
    complete |= {key for table in _LAST.values() for key in SealedFiles(lake.home, table).all_keys()}
    fresh = {_key_of(info.base_name) for infos in files.values() for info in infos if info.mtime > before}
    failing = {name.split(".", 1)[0] for name in lake.keys(FAILURES)}
    return complete - failing - fresh


def backlog(lake: Lake) -> int:
    """The most open landings that a stage has."""
    return max((len(lake.home.names("lake", STAGE_RUNS.name, OPEN, stage)) for stage in _stages(lake.home)), default=0)


def sealed_episodes(lake: Lake) -> list[str]:
    """Episodes of which all rows lie in sealed files, and none in open ones."""
    names = [name for stage in _stages(lake.home) for name in lake.home.names("lake", STAGE_RUNS.name, OPEN, stage)]
    open_ids = {_key_of(name) for name in names} | {name.split(".", 1)[0] for name in lake.keys(FAILURES)}
    return sorted(SealedFiles(lake.home, QUALITY).all_keys() - open_ids)


def reopen(lake: Lake, episode_ids: Collection[str]) -> int:
    """Copy the episodes' sealed landings to open files again. Returns how many; what is open stays as it is."""
    keys, count = sorted(episode_ids), 0
    stages = {table.asset for table in SEALABLE if table.landing == ("episode_id",)} - {"episodes"}
    with exclusive(lake.home):
        for stage in sorted(stages):
            still_open = {_key_of(name) for name in lake.home.names("lake", STAGE_RUNS.name, OPEN, stage)}
            records = SealedFiles(lake.home, STAGE_RUNS).newest_runs(
                stage, [key for key in keys if key not in still_open]
            )
            tables = [table for table in SEALABLE if table.asset == stage]
            rows = {table.name: SealedFiles(lake.home, table).landings(list(records)) for table in tables}
            for key, record in records.items():
                none = {table.name: table.schema.empty_table() for table in tables}
                landing = [(table, rows[table.name].get(key, none[table.name])) for table in tables]
                commit = Commit.of_record(stage, key, record)
                lake.write_rows(commit, landing)
                lake.commit(stage, commit, record)
                count += 1
    return count


def remove(lake: Lake, episode_ids: Collection[str]) -> None:
    """Remove every row of the episodes from every table that their stages write, open or sealed."""
    ids = set(episode_ids)
    with exclusive(lake.home):
        commits = {stage: _commits_of(lake.home, stage, ids) for stage in _stages(lake.home)}
        _remove_landings(lake.home, commits)
        for table in SEALABLE:
            if table.landing[0] == "episode_id":
                files = SealedFiles(lake.home, table)
                _replace(files, ids, pa.array(sorted(ids), pa.string()), table.landing[0], ())
                files.remove_replaced()
            for name in lake.home.names("lake", table.name, OPEN):
                if _key_of(name) in ids:  # of a landing that was never committed
                    lake.home.remove("lake", table.name, OPEN, name)
    for name in lake.keys(FAILURES):
        if name.split(".", 1)[0] in ids:
            lake.remove(FAILURES, name)


def _seal(home: Home, files: SealedFiles, paths: Mapping[str, Sequence[str]]) -> int:
    """Step 1 for one table. `paths`: key → its open files, of which all rows are sealed. Returns the rows."""
    if not paths:
        return 0
    counted: list[int] = []

    def landings() -> Iterator[pa.Table]:
        for rows in _reading(home, files.table, [path for key in sorted(paths) for path in paths[key]]):
            counted.append(rows.num_rows)
            yield rows

    if files.table is STAGE_RUNS:
        stamps = [Path(path).stem.partition("@")[2] for of_key in paths.values() for path in of_key]
        _replace(files, set(paths), pa.array(stamps, pa.string()), "stamp", landings())
    else:
        _replace(files, set(paths), pa.array(sorted(paths), pa.string()), files.table.landing[0], landings())
    return sum(counted)


def _replace(files: SealedFiles, keys: set[str], gone: pa.Array, column: str, landings: Iterable[pa.Table]) -> None:
    """A new manifest: without the rows whose `column` is in `gone`, which are rows of `keys`, and with the landings."""
    names = files.names()
    touched = files.holding(keys) if names else set()
    if names and files.is_small(names[-1]):
        touched.add(names[-1])

    def rows() -> Iterator[pa.Table]:
        for name in names:
            for group in files.row_groups(name) if name in touched else ():
                yield group.filter(pc.invert(pc.is_in(group[column], gone)))
        yield from landings

    new = files.write(rows())
    if new or touched:
        files.commit([*(name for name in names if name not in touched), *new])


def _reading(home: Home, table: Table, paths: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of open files, in order."""

    def one(path: str) -> pa.Table:
        with home.filesystem.open_input_file(path) as file:
            return table.conform(pq.ParquetFile(file).read(use_threads=False))

    with ThreadPoolExecutor(_PARALLEL_FILES) as pool:
        for start in range(0, len(paths), _READ_AHEAD):
            yield from pool.map(one, paths[start : start + _READ_AHEAD])


def _remove_landings(home: Home, commits: Mapping[str, Mapping[str, Sequence[tuple[Commit, str]]]]) -> None:
    """Steps 2 and 3 for the open files: first the commits, older ones first, then the rows of the same landings."""
    with ThreadPoolExecutor(_PARALLEL_FILES) as pool:
        oldest_first = [sorted(of_key) for of_stage in commits.values() for of_key in of_stage.values()]
        list(pool.map(lambda of_key: _delete(home, *(path for _, path in of_key)), oldest_first))
        rows = []
        for table in SEALABLE:
            newest = {key: max(of_key)[0] for key, of_key in commits.get(table.asset, {}).items()}
            for name in home.names("lake", table.name, OPEN) if newest else ():
                commit = Commit.parse(table.asset, name)
                if commit.key in newest and commit <= newest[commit.key]:
                    rows.append(home.path("lake", table.name, OPEN, name))
        list(pool.map(lambda path: _delete(home, path), rows))


def _key_of(name: str) -> str:
    """The key of an open file, by its name."""
    return name.partition("@")[0]


def _delete(home: Home, *paths: str) -> None:
    """In this order. It is no error that a file is gone."""
    for path in paths:
        if home.filesystem.get_file_info(path).type == fs.FileType.File:
            home.filesystem.delete_file(path)


def _stages(home: Home) -> list[str]:
    """The stages that have committed something, and `failed`: the folders of open records."""
    selector = fs.FileSelector(home.path("lake", STAGE_RUNS.name, OPEN), allow_not_found=True)
    return sorted(
        info.base_name for info in home.filesystem.get_file_info(selector) if info.type == fs.FileType.Directory
    )


def _commit_files(home: Home, stage: str) -> list[fs.FileInfo]:
    selector = fs.FileSelector(home.path("lake", STAGE_RUNS.name, OPEN, stage), allow_not_found=True)
    return [info for info in home.filesystem.get_file_info(selector) if info.base_name[0] not in "._"]


def _commits_of(home: Home, stage: str, ids: Collection[str]) -> dict[str, list[tuple[Commit, str]]]:
    """Key → its open commits at the stage and the paths of their files."""
    found: dict[str, list[tuple[Commit, str]]] = defaultdict(list)
    for name in home.names("lake", STAGE_RUNS.name, OPEN, stage):
        commit = Commit.parse(stage, name)
        if commit.key in ids:
            found[commit.key].append((commit, home.path("lake", STAGE_RUNS.name, OPEN, stage, name)))
    return found


def _row_files(home_table: Table, commits: Mapping[str, Sequence[tuple[Commit, str]]]) -> dict[str, list[str]]:
    """Key → the file with the rows of its newest landing in the table."""
    return {
        key: [path.replace(f"/{STAGE_RUNS.name}/{OPEN}/{home_table.asset}/", f"/{home_table.name}/{OPEN}/")]
        for key, path in ((key, max(of_key)[1]) for key, of_key in commits.items())
    }


def _record_files(commits: Mapping[str, Mapping[str, Sequence[tuple[Commit, str]]]]) -> dict[str, list[str]]:
    """Key → the files with the records of all its landings and failed tries."""
    found: dict[str, list[str]] = defaultdict(list)
    for of_stage in commits.values():
        for key, of_key in of_stage.items():
            found[key] += [path for _, path in sorted(of_key)]
    return found


def _remove_leftovers(home: Home) -> None:
    """Remove what killed compactions and landings left: sealed files without a manifest, and temporary files."""
    for table in SEALABLE:
        SealedFiles(home, table).remove_replaced()
    if home.is_local:
        for unfinished in Path(home.path("lake")).rglob(".*.tmp"):
            is_ours = unfinished.parent.name in (SEALED, MANIFEST)  # only a compaction writes there
            try:
                if is_ours or time.time() - unfinished.stat().st_mtime > _ABANDONED_AFTER_S:
                    unfinished.unlink()
            except FileNotFoundError:  # its process has renamed it meanwhile
                continue


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
