"""`podlake backup` and `restore`: the home, Dagster's storage, and the database of jobs and keys.

Databases are copied before the lake. Rows, commit, event is the order of a landing, so whatever the copied databases
know of lies in the copied lake. What landed meanwhile looks like a run that was killed before its last event.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from dagster_project.instance import CONFIG, database_url, open_instance, prepare_home
from dagster_project.settings import Settings
from resources import accounts
from resources.alerts import ledger as alerts
from resources.backup.databases import (
    copy_sqlite,
    dump_postgres,
    filled_tables,
    has_runs,
    is_quiet,
    restore_postgres,
)
from resources.backup.home_files import HomeFile, list_home, restore_last
from resources.backup.store import BackupError, BackupStore, Entry, Snapshot, copy, hash_of
from resources.lake.home import Home
from resources.studio import ledger as studio
from resources.workers import jobs
from speech.errors import StorageError

if TYPE_CHECKING:
    from dagster import DagsterInstance

SQLITE, POSTGRES = "sqlite", "postgres"
DUMP = "postgres.dump"
_SERVICE = "service.db"
_SERVICE_TABLES = frozenset(
    name for schema in (accounts.SCHEMA, alerts.SCHEMA, jobs.SCHEMA, studio.SCHEMA) for name in schema.tables
)
_RUNS = "history/runs.db"
"""It says whether the storage is in use, so it is restored last."""
_AT_ONCE = 8
_PASSES = 10

Report = Callable[[str], None]


@dataclass
class _Copying:
    """A backup in progress: what it has, and what the last snapshot had."""

    store: BackupStore
    before: dict[str, Entry]
    stored: set[str]
    entries: dict[str, Entry] = field(default_factory=dict)
    copied: int = 0
    copied_bytes: int = 0
    lock: Lock = field(default_factory=Lock)

    def add(self, path: str, file: Path, modified_ns: int) -> None:
        sha256 = hash_of(file)
        size = file.stat().st_size
        with self.lock:
            is_new = sha256 not in self.stored
            self.stored.add(sha256)
            self.copied += is_new
            self.copied_bytes += size if is_new else 0
        if is_new:
            self._store(path, file, sha256)
        self.entries[path] = Entry(path, size, sha256, modified_ns)

    def _store(self, path: str, file: Path, sha256: str) -> None:
        """Raises `FileNotFoundError` if the file has gone; then the bytes are not stored."""
        try:
            self.store.add(file, sha256, private=path.startswith("home/secrets/") or not path.startswith("home/"))
        except StorageError as error:
            with self.lock:
                self.stored.discard(sha256)
            if not file.exists():
                raise FileNotFoundError(f"{file} has gone.") from error
            raise

    def keep(self, path: str, size: int, modified_ns: int, *, is_immutable: bool) -> bool:
        """Take the entry of the last snapshot over, if the file is the same."""
        known = self.before.get(path)
        if known is None or known.sha256 not in self.stored:
            return False
        is_same = known.bytes == size if is_immutable else known.modified_ns == modified_ns
        if is_same:
            self.entries[path] = known
        return is_same


def back_up(settings: Settings, place: str, report: Report = lambda _: None) -> tuple[Snapshot, int, int]:
    """Make a snapshot. Returns it, and the number of files and bytes that were not there before.

    Raises `BackupError` and `StorageError`. Runs may go on meanwhile.
    """
    home, store = Home.at(settings.home), BackupStore(Home.at(place))
    _refuse_overlap(home, store.place)
    last = store.newest()
    copying = _Copying(store, {entry.path: entry for entry in last.entries} if last else {}, store.blobs())
    with open_instance(settings) as instance:
        url = _postgres_url(instance)
        _add_databases(copying, settings, instance, url)
    report(f"{len(copying.entries)} files of databases.")
    _add_home(copying, home, report)
    snapshot = store.write(POSTGRES if url else SQLITE, home.uri, copying.entries.values())
    return snapshot, copying.copied, copying.copied_bytes


def restore(
    settings: Settings,
    place: str,
    name: str | None = None,
    report: Report = lambda _: None,
    *,
    replace_service: bool = False,
) -> Snapshot:
    """Restore a snapshot into an empty home and an empty storage of Dagster. Raises `BackupError` and `StorageError`.

    `replace_service`: the database of users, keys, jobs and requests may have rows, which are lost. A restoration that was
    interrupted is completed when it is repeated.
    """
    store = BackupStore(Home.at(place))
    snapshot = store.snapshot(name)
    home = Home.at(settings.home)
    wanted = {entry.path.removeprefix("home/"): entry for entry in snapshot.below("home")}
    _refuse_other_files(home, wanted)
    folder = prepare_home(settings)
    with open_instance(settings) as instance:
        url = _postgres_url(instance)
    kind = POSTGRES if url else SQLITE
    if kind != snapshot.storage:
        raise BackupError(
            f"The snapshot has Dagster's storage in {snapshot.storage}, and {folder / CONFIG} says {kind}. Restore with a "
            f"{CONFIG} of the same kind."
        )
    _refuse_used_storage(folder, url)
    if not replace_service:
        _refuse_used_service(snapshot, database_url(settings), url)
    present = {file.path: file for file in _files(home)}
    ordered = sorted(wanted, key=lambda path: (restore_last(path), path))
    for part in (False, True):  # commits and manifests after all others
        paths = [path for path in ordered if restore_last(path) is part]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(lambda path: _put_back(store, home, wanted[path], path, present), paths))
    report(f"{len(wanted)} files of the home.")
    _put_back_databases(store, snapshot, settings, folder, url)
    return snapshot


def _add_databases(copying: _Copying, settings: Settings, instance: DagsterInstance, url: str | None) -> None:
    with tempfile.TemporaryDirectory(prefix="podlake-backup-") as folder:
        new = Path(folder) / "copy"
        root = Path(instance.root_directory)
        if (root / CONFIG).exists():
            copying.add(f"instance/{CONFIG}", root / CONFIG, 0)
        if url:
            dump_postgres(url, new)
            copying.add(f"instance/{DUMP}", new, 0)
        else:
            for path in _sqlite_files(root):
                _add_sqlite(copying, f"instance/{path.relative_to(root)}", path, new)
        service = database_url(settings)
        if service.startswith("sqlite"):
            path = Path(service.removeprefix("sqlite:///"))
            if path.exists():
                _add_sqlite(copying, f"service/{_SERVICE}", path, new)
        elif service != url:
            dump_postgres(service, new)
            copying.add(f"service/{DUMP}", new, 0)


def _sqlite_files(root: Path) -> Iterator[Path]:
    """In the order in which Dagster writes, backwards: runs, then the index, then the events of each run."""
    history = root / "history"
    first = [root / "schedules" / "schedules.db", root / _RUNS, history / "runs" / "index.db"]
    if not (root / _RUNS).exists():
        raise BackupError(f"{root} has no {_RUNS}. Of SQLite, only Dagster's usual place in DAGSTER_HOME is copied.")
    yield from (path for path in first if path.exists())
    yield from sorted(path for path in history.rglob("*.db") if path not in first)


def _add_sqlite(copying: _Copying, name: str, path: Path, new: Path) -> None:
    stat = path.stat()
    if is_quiet(path) and copying.keep(name, stat.st_size, stat.st_mtime_ns, is_immutable=False):
        return
    new.unlink(missing_ok=True)
    copy_sqlite(path, new)
    copying.add(name, new, stat.st_mtime_ns)


def _add_home(copying: _Copying, home: Home, report: Report) -> None:
    """Copy what is listed. If a file of the lake has gone before it was copied, list again: the rest is there already."""
    for _ in range(_PASSES):
        files = list_home(home)
        copying.entries = {path: entry for path, entry in copying.entries.items() if not path.startswith("home/")}
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            gone = [path for path in pool.map(lambda file: _add_file(copying, home, file), files) if path]
        report(f"{len(files) - len(gone)} files of the home, {copying.copied_bytes / 1e6:.0f} MB new.")
        if not any(path.startswith("lake/") for path in gone):
            return
    raise BackupError("Compactions moved rows during each pass over the lake. Try again when they rest.")


def _add_file(copying: _Copying, home: Home, file: HomeFile) -> str | None:
    """Returns the path if the file has gone."""
    name = f"home/{file.path}"
    if file.is_immutable and copying.keep(name, file.bytes, file.modified_ns, is_immutable=True):
        return None
    with tempfile.TemporaryDirectory(prefix="podlake-backup-") as folder:
        try:
            if home.is_local and file.is_immutable:
                copying.add(name, Path(home.path(file.path)), file.modified_ns)
            else:  # a copy, as the file may be replaced between hash and storing
                own = Path(folder) / "copy"
                copy(home, file.path, own)
                copying.add(name, own, file.modified_ns)
        except FileNotFoundError:
            return file.path
    return None


def _put_back(store: BackupStore, home: Home, entry: Entry, path: str, present: dict[str, HomeFile]) -> None:
    known = present.get(path)
    if known and known.bytes == entry.bytes and home.is_local and hash_of(Path(home.path(path))) == entry.sha256:
        return
    with store.fetched(entry) as fetched:
        if home.is_local and path.startswith("secrets/"):
            with home.writing(path, private=True) as stream:
                stream.write(fetched.read_bytes())
        else:
            home.add(fetched, path)


def _put_back_databases(
    store: BackupStore, snapshot: Snapshot, settings: Settings, folder: Path, url: str | None
) -> None:
    service = database_url(settings)
    for entry in sorted(snapshot.entries, key=lambda entry: entry.path == f"instance/{_RUNS}"):
        area, _, path = entry.path.partition("/")
        if area == "home" or path == CONFIG:
            continue
        with store.fetched(entry) as fetched:
            if path == DUMP:
                restore_postgres(service if area == "service" else url or "", fetched)
            else:
                target = Path(service.removeprefix("sqlite:///")) if area == "service" else folder / path
                _replace_database(target, fetched)


def _replace_database(target: Path, new: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = target.with_name(f".{target.name}.new")
    hidden.write_bytes(new.read_bytes())
    for suffix in ("-wal", "-shm"):
        target.with_name(f"{target.name}{suffix}").unlink(missing_ok=True)
    hidden.replace(target)


def _files(home: Home) -> list[HomeFile]:
    with suppress(FileNotFoundError):
        return list_home(home)
    return []


def _refuse_overlap(home: Home, place: Home) -> None:
    if f"{place.root}/".startswith(f"{home.root}/") and place.is_local == home.is_local:
        raise BackupError(f"{place.uri} lies in the home {home.uri}. Choose a place outside it.")


def _refuse_other_files(home: Home, wanted: dict[str, Entry]) -> None:
    other = [file for file in _files(home) if file.path not in wanted and not _is_empty_schema(file)]
    if other:
        raise BackupError(f"{home.uri} is not empty: it has {other[0].path}. Restore into an empty PODLAKE_HOME.")


def _is_empty_schema(file: HomeFile) -> bool:
    """What any command writes into a new home."""
    return file.path.endswith(("/_schema.parquet", "/version.json", f"manifest/{0:012d}.parquet"))


def _refuse_used_storage(folder: Path, url: str | None) -> None:
    import sqlite3
    from contextlib import closing

    if url:
        is_used = has_runs(url)
    else:
        with closing(sqlite3.connect(f"file:{folder / _RUNS}?mode=ro", uri=True)) as database:
            is_used = database.execute("select count(*) from runs").fetchone()[0] > 0
    if is_used:
        raise BackupError(f"Dagster's storage of {folder} has runs. Restore into an empty DAGSTER_HOME or database.")


def _refuse_used_service(snapshot: Snapshot, service: str, url: str | None) -> None:
    """Unless it has no rows, is not restored, or is the snapshot's own: then a restoration was interrupted."""
    restored = {entry.path: entry for entry in snapshot.entries if service == url or entry.path.startswith("service/")}
    if not restored:
        return
    if service.startswith("sqlite:///"):
        file, entry = Path(service.removeprefix("sqlite:///")), restored.get(f"service/{_SERVICE}")
        if entry and file.exists() and hash_of(file) == entry.sha256:
            return
    # PostgreSQL may have them beside Dagster's own tables, some of which are never empty.
    if filled := filled_tables(service, _SERVICE_TABLES if service == url else None):
        shown = sa.make_url(service).render_as_string(hide_password=True)
        raise BackupError(
            f"{shown} is not empty: {', '.join(filled)} have rows. `podlake restore --force` replaces them by the "
            "snapshot's; make a backup first."
        )


def _postgres_url(instance: Any) -> str | None:
    return getattr(instance.run_storage, "postgres_url", None)
