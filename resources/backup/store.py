"""A place of backups: `blobs/ab/<sha256>` has the bytes, each once, and `snapshots/<time>.parquet` names them.

A snapshot lists path, size and SHA-256 of every file. It is written last, so an interrupted backup is no snapshot, and
the next one finds the bytes that it has copied.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from resources.lake.home import Home
from speech.errors import PodlakeError, StorageError

BLOBS, SNAPSHOTS = "blobs", "snapshots"
FORMAT = "1"
_CHUNK = 1 << 20
_SCHEMA = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("modified_ns", pa.int64(), nullable=False),
    ]
)


class BackupError(PodlakeError):
    """A backup cannot be made, or cannot be restored."""


@dataclass(frozen=True)
class Entry:
    """A file of a snapshot."""

    path: str
    """`home/…`, `instance/…` or `service/…`."""
    bytes: int
    sha256: str
    modified_ns: int
    """Of the original, when it was copied."""


@dataclass(frozen=True)
class Snapshot:
    """What a backup holds of one moment."""

    name: str
    """When it was made, in UTC: 20261127T053000123456."""
    storage: str
    """What the databases are: `sqlite` or `postgres`."""
    home: str
    """The URI of the home that was copied."""
    entries: tuple[Entry, ...]

    @property
    def bytes(self) -> int:
        return sum(entry.bytes for entry in self.entries)

    def below(self, folder: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.path.startswith(f"{folder}/")]


@dataclass(frozen=True)
class BackupStore:
    """Reads and writes backups at a place."""

    place: Home

    def names(self) -> list[str]:
        """The snapshots, oldest first."""
        return [name.removesuffix(".parquet") for name in self.place.names(SNAPSHOTS)]

    def snapshot(self, name: str | None = None) -> Snapshot:
        """The snapshot of this name, or the newest. Raises `BackupError`."""
        names = self.names()
        if not names or (name and name not in names):
            raise BackupError(
                f"{self.place.uri} has no snapshot{f' {name}' if name else ''}. It has: {names or 'none'}."
            )
        chosen = name or names[-1]
        with self.place.filesystem.open_input_file(self.place.path(SNAPSHOTS, f"{chosen}.parquet")) as file:
            rows = pq.read_table(file)
        about = {key.decode(): value.decode() for key, value in (rows.schema.metadata or {}).items()}
        if about.get("format") != FORMAT:
            raise BackupError(f"Snapshot {chosen} has format {about.get('format')}; this podlake reads {FORMAT}.")
        entries = tuple(Entry(**row) for row in rows.select(_SCHEMA.names).to_pylist())
        return Snapshot(chosen, about["storage"], about["home"], entries)

    def newest(self) -> Snapshot | None:
        return self.snapshot() if self.names() else None

    def blobs(self) -> set[str]:
        """SHA-256 of everything that is stored."""
        selector = fs.FileSelector(self.place.path(BLOBS), recursive=True, allow_not_found=True)
        found = self.place.filesystem.get_file_info(selector)
        return {info.base_name for info in found if info.type == fs.FileType.File and info.base_name[0] != "."}

    def add(self, source: Path, sha256: str, *, private: bool = False) -> None:
        """Store the bytes of a local file; in a folder, if `private`, only for the user. Raises `StorageError`."""
        if private and self.place.is_local:
            with self.place.writing(BLOBS, sha256[:2], sha256, private=True) as stream, source.open("rb") as file:
                shutil.copyfileobj(file, stream, _CHUNK)
        else:
            self.place.add(source, BLOBS, sha256[:2], sha256)

    def write(self, storage: str, home: str, entries: Collection[Entry]) -> Snapshot:
        """Write a snapshot, which makes the backup valid. Raises `StorageError`."""
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
        ordered = tuple(sorted(entries, key=lambda entry: entry.path))
        schema = _SCHEMA.with_metadata({"format": FORMAT, "storage": storage, "home": home})
        rows = pa.Table.from_pylist([asdict(entry) for entry in ordered], schema=schema)
        with self.place.writing(SNAPSHOTS, f"{name}.parquet") as stream:
            pq.write_table(rows, stream, compression="zstd")
        return Snapshot(name, storage, home, ordered)

    @contextmanager
    def fetched(self, entry: Entry) -> Iterator[Path]:
        """A local file with the bytes of an entry, compared with its hash. Raises `BackupError`."""
        with tempfile.TemporaryDirectory(prefix="podlake-restore-") as folder:
            path = Path(folder) / "file"
            try:
                found = copy(self.place, f"{BLOBS}/{entry.sha256[:2]}/{entry.sha256}", path)
            except FileNotFoundError as error:
                raise BackupError(f"The bytes of {entry.path} are missing in {self.place.uri}.") from error
            if found != entry.sha256:
                raise BackupError(f"The bytes of {entry.path} in {self.place.uri} are damaged: SHA-256 {found}.")
            yield path

    def damage(self, snapshot: Snapshot) -> Iterator[str]:
        """Read all bytes of a snapshot, and say what is missing or damaged."""
        for entry in {entry.sha256: entry for entry in snapshot.entries}.values():
            try:
                with self.fetched(entry):
                    pass
            except BackupError as error:
                yield str(error)

    def keep(self, count: int) -> tuple[int, int]:
        """Remove all but the newest snapshots, and the bytes that none of them names. Returns both numbers."""
        old = self.names()[:-count]
        for name in old:
            self.place.remove(SNAPSHOTS, f"{name}.parquet")
        named = {entry.sha256 for name in self.names() for entry in self.snapshot(name).entries}
        unnamed = self.blobs() - named
        for sha256 in unnamed:
            self.place.remove(BLOBS, sha256[:2], sha256)
        return len(old), len(unnamed)


def copy(source: Home, path: str, target: Path) -> str:
    """Copy a file of a home to a local path. Returns its SHA-256. Raises `FileNotFoundError` and `StorageError`."""
    digest = hashlib.sha256()
    try:
        with source.filesystem.open_input_stream(source.path(path)) as stream, target.open("wb") as out:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                out.write(chunk)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"{source.path(path)} could not be copied: {error}.") from error
    return digest.hexdigest()


def hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
