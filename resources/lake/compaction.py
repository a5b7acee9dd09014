"""Sealing: open landings are folded into a few large files, and nobody who reads meanwhile can tell.

An open landing outranks sealed rows of its key. So while its open file stands, sealed rows of a landing can come
and go unseen, and each step may be the last that a killed process took:

1. take the rows of earlier landings of these keys out of the sealed files;
2. add the open landings, in the order of their keys, to the last sealed file, or to new ones when it is full;
3. take the open files away, but only those that still are what was read: a landing made meanwhile stays, and
   goes on outranking what was sealed.

Sealed files only grow (`resources.lake.sealed_files`), so no query that reads them is torn. A query that has listed an
open file which step 3 takes away before the query opens it, or a sealed one of which step 1 takes the last row,
fails with DuckDB's IOException, and is right when asked again, as `resources.lake.warehouse.ask` does: it never answers
wrongly.
"""

from __future__ import annotations

import fcntl
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from resources.lake.home import Home
from resources.lake.lake import OPEN, Lake
from resources.lake.sealed_files import SealedFiles, Sizes
from resources.lake.tables import FAILURES, POLLS, QUALITY, STAGE_RUNS, TABLES, Table

SEALABLE = tuple(table for table in TABLES.values() if table.landing and table is not FAILURES)
"""All but the subscriptions, which are one landing, and the failures, which go away by themselves."""
_LAST = {"quality": QUALITY, "episodes": POLLS}
"""The last stage of an episode, and of a feed, and what it lands. Complete is what `stage_runs` has that stage of, which
is written after the rows, and sealed after them: a run that was killed between the two has work left to do."""
Identity = tuple[int, ...]
_TAKEN = ".taken"
_REOPENED = ".reopened"
_AT_ONCE = 8
"""Open files that are read, or removed, at once: each waits for the disk or the object store, not for the processor."""
_READ_AHEAD = 64
_NOBODY_WRITES_SO_LONG_S = 86_400


@dataclass(frozen=True)
class Sealed:
    """What a sealing did to a table."""

    table: str
    landings: int
    rows: int
    bytes_added: int
    files: int
    """Sealed files of the table, afterwards."""
    seconds: float


def seal(lake: Lake, *, older_than: timedelta, sizes: Sizes = Sizes()) -> Iterator[Sealed]:  # noqa: B008 - frozen
    """Seal every table's landings of the episodes and feeds that are `settled`. One sealing at a time.

    Takes memory for a few row groups, whatever the size of the lake. Raises `StorageError`; what was not done
    then is done by the next sealing.
    """
    with _alone(lake.home):
        _tidy(lake.home)
        ids = settled(lake, older_than)
        for table in SEALABLE:
            yield _seal(lake, SealedFiles(lake.home, table, sizes), ids)


def settled(lake: Lake, older_than: timedelta) -> set[str]:
    """Episodes and feeds that are complete, that nothing fails for, and of which nothing was landed lately."""
    before = datetime.now(UTC) - older_than
    files = {table.name: _open_files(lake.home, table) for table in SEALABLE}
    recorded = {_id_of(info.base_name) for info in files[STAGE_RUNS.name] if _stage_of(info.base_name) in _LAST}
    sealed = {id_ for table in _LAST.values() for id_ in SealedFiles(lake.home, table).ids()}
    fresh = {_id_of(info.base_name) for infos in files.values() for info in infos if info.mtime > before}
    return (recorded | sealed) - _open_ids(lake, FAILURES) - fresh


def backlog(lake: Lake) -> int:
    """The most open landings that any table has. DuckDB takes 1.3 s to open 10 000: 2 000 are worth a sealing."""
    return max(len(lake.open_keys(table)) for table in SEALABLE)


def sealed_episodes(lake: Lake) -> list[str]:
    """Episodes of which all rows lie in sealed files, and none in open ones."""
    open_ids = {id_ for table in (*SEALABLE, FAILURES) for id_ in _open_ids(lake, table)}
    return sorted(SealedFiles(lake.home, QUALITY).ids() - open_ids)


def reopen(lake: Lake, episode_ids: Collection[str]) -> int:
    """Copy the episodes' sealed landings back to open files. Returns how many; what is open stays as it is."""
    count = 0
    with _alone(lake.home):
        for table in SEALABLE:
            sealed = SealedFiles(lake.home, table)
            for name in sealed.names() if table.landing[0] == "episode_id" else ():
                for key, rows in sealed.landings(name, set(episode_ids)):
                    count += _land_unless_open(lake, table, key, rows)
    return count


def _seal(lake: Lake, sealed: SealedFiles, ids: set[str]) -> Sealed:
    """The three steps, for one table."""
    started = time.monotonic()
    table, size = sealed.table, sealed.size()
    keys = sorted(key for key in lake.open_keys(table) if _id_of(key) in ids)
    sealed.take_out(keys)
    read: dict[str, Identity] = {}
    landings = _reading(lake, table, keys, read)
    left, n_rows = len(keys), 0
    while left:
        n_rows += sealed.put_in(landings)
        _remove_open(lake.home, table, read)
        left -= len(read)
        read.clear()
    for key, rows in sealed.to_be_moved():
        _land_unless_open(lake, table, key, rows)
    return Sealed(table.name, len(keys), n_rows, sealed.size() - size, len(sealed.names()), time.monotonic() - started)


def _reading(lake: Lake, table: Table, keys: Sequence[str], read: dict[str, Identity]) -> Iterator[pa.Table]:
    """The open landings in order, and in `read` what the file of each that was handed out was before it was opened."""

    def one(key: str) -> tuple[str, Identity, pa.Table]:
        path = _open_path(lake.home, table, key)
        identity = _identity(lake.home, path)
        with lake.home.filesystem.open_input_file(path) as file:
            return key, identity, table.conform(pq.ParquetFile(file).read(use_threads=False))

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for start in range(0, len(keys), _READ_AHEAD):
            for key, identity, rows in pool.map(one, keys[start : start + _READ_AHEAD]):
                read[key] = identity
                yield rows


def _remove_open(home: Home, table: Table, read: Mapping[str, Identity]) -> None:
    """Take the open files away that still are the ones that were read.

    POSIX cannot remove a file on a condition. So whatever stands there is renamed first, looked at, and put back
    where it is another; what a killed process leaves renamed, the next sealing puts back. An object store cannot
    rename either: there, a landing made between the look and the removal would be lost, so do not land episodes
    again that are due for sealing while it runs.
    """
    same = [path for key, identity in read.items() if _identity(home, path := _open_path(home, table, key)) == identity]
    if not home.is_local:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(home.filesystem.delete_file, same))
        return
    taken = {}
    for path in same:
        hidden = taken[path] = _hidden(path, _TAKEN)
        Path(path).rename(hidden)
        if _identity(home, str(hidden)) != read[_key_of(path)]:
            _put_back(taken.pop(path), path)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(Path.unlink, taken.values()))


def _land_unless_open(lake: Lake, table: Table, key: str, rows: pa.Table) -> bool:
    """Land sealed rows of a key; never over a landing that somebody makes at the same time."""
    path = _open_path(lake.home, table, key)
    if lake.home.exists("lake", table.name, OPEN, f"{key}.parquet"):
        return False
    if not lake.home.is_local:
        lake.land(table, key, table.conform(rows))
        return True
    reopened = _hidden(path, _REOPENED)
    with lake.home.writing("lake", table.name, OPEN, reopened.name) as stream:
        pq.write_table(table.conform(rows), stream, compression="zstd")
    return _put_back(reopened, path)


def _put_back(hidden: Path, path: str) -> bool:
    """Give a hidden file its name, unless there is one by that name: that is newer. Returns whether there was none."""
    try:
        Path(path).hardlink_to(hidden)
    except FileExistsError:
        return False
    else:
        return True
    finally:
        hidden.unlink()


def _tidy(home: Home) -> None:
    """Put right what a killed sealing, or a killed landing, has left behind."""
    if not home.is_local:
        return
    for table in SEALABLE:
        folder = Path(home.path("lake", table.name, OPEN))
        for hidden in folder.glob(f".*{_TAKEN}"):
            _put_back(hidden, str(folder / hidden.name[1 : -len(_TAKEN)]))
        for hidden in folder.glob(f".*{_REOPENED}*"):
            hidden.unlink()
        for unfinished in folder.glob(".*.tmp"):
            if time.time() - unfinished.stat().st_mtime > _NOBODY_WRITES_SO_LONG_S:
                unfinished.unlink(missing_ok=True)
        SealedFiles(home, table).tidy()


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Wait until nobody else seals or reopens on this machine; across machines, Dagster's pool `sealing` sees to it."""
    if home.is_local:
        path = Path(home.path("lake", ".sealing.lock"))
    else:
        path = Path(tempfile.gettempdir()) / f"podlake-sealing-{sha256(home.uri.encode()).hexdigest()[:16]}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _identity(home: Home, path: str) -> Identity:
    """Tells a file from any other that has had its name (none: no file)."""
    if home.is_local:
        try:
            found = Path(path).stat()
        except FileNotFoundError:
            return ()
        return (found.st_ino, found.st_mtime_ns, found.st_size)
    info = home.filesystem.get_file_info(path)
    return (info.mtime_ns, info.size) if info.type == fs.FileType.File else ()


def _open_files(home: Home, table: Table) -> list[fs.FileInfo]:
    infos = home.filesystem.get_file_info(fs.FileSelector(home.path("lake", table.name, OPEN), allow_not_found=True))
    return [info for info in infos if info.base_name[0] not in "._"]


def _open_ids(lake: Lake, table: Table) -> set[str]:
    return {_id_of(key) for key in lake.open_keys(table)}


def _id_of(key: str) -> str:
    """The episode or feed of a landing's key or file name: what stands before the first dot."""
    return key.split(".", 1)[0]


def _stage_of(name: str) -> str:
    """The stage of a file of `stage_runs`."""
    return name.split(".")[1]


def _key_of(path: str) -> str:
    return Path(path).name.removesuffix(".parquet")


def _open_path(home: Home, table: Table, key: str) -> str:
    return home.path("lake", table.name, OPEN, f"{key}.parquet")


def _hidden(path: str, suffix: str) -> Path:
    """A name beside it that no reader lists."""
    return Path(path).with_name(f".{Path(path).name}{suffix}")
