"""The home of a lake: `PODLAKE_HOME`, a folder or an s3:// prefix. Files appear in it complete or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pyarrow import fs

from resources.object_store import SCHEME, is_s3, open_filesystem, upload
from speech.errors import StorageError


@dataclass(frozen=True)
class Home:
    """The root folder of audio, tables and subscriptions, on a local disk or in an object store."""

    uri: str
    """As the user wrote it: a path, or `s3://bucket/prefix`."""
    filesystem: fs.FileSystem
    root: str
    """The root as the file system names it."""

    @classmethod
    def at(cls, uri: str) -> Home:
        if "://" in uri:
            filesystem, root = open_filesystem(uri) if uri.startswith(f"{SCHEME}://") else fs.FileSystem.from_uri(uri)
            return cls(uri.rstrip("/"), filesystem, root.rstrip("/"))
        return cls(uri, fs.LocalFileSystem(), str(Path(uri).absolute()))

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def path(self, *parts: str) -> str:
        return "/".join((self.root, *parts))

    def exists(self, *parts: str) -> bool:
        return bool(self.filesystem.get_file_info(self.path(*parts)).type == fs.FileType.File)

    def duckdb_root(self) -> str:
        """The root for DuckDB, which reads a backslash as a slash: the path of a symbolic link if there is one."""
        if not self.is_local:
            return self.uri
        if "\\" not in self.root:
            return self.root
        link = Path.home() / ".cache" / "podlake" / "homes" / hashlib.sha256(self.root.encode()).hexdigest()[:16]
        link.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            link.symlink_to(self.root)
        return str(link)

    def duckdb_path(self, path: str) -> str:
        """A path under the home for DuckDB: with the scheme of an object store, and `[`, `?` and `*` escaped."""
        return re.sub(r"([\[?*])", r"[\1]", self.duckdb_root() + path.removeprefix(self.root))

    def names(self, *folder: str) -> list[str]:
        """Sorted names of the files in a folder; none if the folder does not exist."""
        if self.is_local:  # `get_file_info` also looks at each file, which takes ten times as long
            try:
                names = os.listdir(self.path(*folder))  # noqa: PTH208 - only names are needed
            except FileNotFoundError:
                return []
            return sorted(name for name in names if name[0] not in "._" and "." in name)
        selector = fs.FileSelector(self.path(*folder), allow_not_found=True)
        found = self.filesystem.get_file_info(selector)
        return sorted(
            info.base_name for info in found if info.type == fs.FileType.File and info.base_name[0] not in "._"
        )

    def files_below(self, *folder: str) -> list[fs.FileInfo]:
        """All files in a folder and in its subfolders, by their paths; none if it does not exist."""
        selector = fs.FileSelector(self.path(*folder), recursive=True, allow_not_found=True)
        found = [info for info in self.filesystem.get_file_info(selector) if info.type == fs.FileType.File]
        return sorted(found, key=lambda info: info.path)

    def read(self, *parts: str) -> bytes:
        with self.filesystem.open_input_stream(self.path(*parts)) as stream:
            return bytes(stream.read())

    def remove(self, *parts: str) -> None:
        """Remove a file if it exists."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(self.path(*parts))

    @contextmanager
    def writing(
        self, *parts: str, exclusive: bool = False, private: bool = False, durable: bool = True
    ) -> Iterator[BinaryIO]:
        """A stream whose bytes appear under the name at once when the block ends without an error.

        Raises `StorageError`; if `exclusive`, and the home is local, `FileExistsError` where the file exists already.
        Only the user can read a local file that is `private`. A power failure can lose one that is not `durable`.
        """
        target = self.path(*parts)
        try:
            with (
                _renamed(Path(target), exclusive=exclusive, private=private, durable=durable)
                if self.is_local
                else self._uploaded(target) as stream
            ):
                yield stream
        except OSError as error:
            if exclusive and isinstance(error, FileExistsError):
                raise
            raise _not_written(target, error) from error

    @contextmanager
    def _uploaded(self, target: str) -> Iterator[BinaryIO]:
        """A temporary local file that is uploaded when it is complete.

        A direct upload stream would publish an incomplete object if an exception or a signal closed it.
        """
        with tempfile.TemporaryDirectory() as folder:
            collected = Path(folder) / "collected"
            with collected.open("wb") as stream:
                yield stream
            self._put(collected, target)

    def add(self, source: Path, *parts: str) -> None:
        """Copy a local file into the home, where it appears complete. Raises `StorageError`."""
        if self.is_local:
            with self.writing(*parts) as stream, source.open("rb") as file:
                shutil.copyfileobj(file, stream, 1 << 20)
            return
        try:
            self._put(source, self.path(*parts))
        except OSError as error:
            raise _not_written(self.path(*parts), error) from error

    def move(self, source: Path, *parts: str) -> None:
        """Move a local file into the home, without a copy if both are on one disk. Raises `StorageError`."""
        if self.is_local and _is_renamed(source, Path(self.path(*parts))):
            return
        self.add(source, *parts)
        source.unlink()

    def _put(self, source: Path, target: str) -> None:
        if is_s3(self.filesystem):
            upload(source, target)
        else:
            fs.copy_files(str(source), target, fs.LocalFileSystem(), self.filesystem)


def _not_written(target: str, error: OSError) -> StorageError:
    return StorageError(
        f"{target} could not be written: {error}. Check free space and write permission (`podlake doctor`)."
    )


def _is_renamed(source: Path, target: Path) -> bool:
    """Move the synced file. False: the target is on another file system. Raises `StorageError`."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as file:
            os.fsync(file.fileno())
        source.replace(target)
    except OSError as error:
        if error.errno == errno.EXDEV:
            return False
        raise _not_written(str(target), error) from error
    return True


@contextmanager
def _renamed(target: Path, *, exclusive: bool, private: bool, durable: bool) -> Iterator[BinaryIO]:
    """A hidden local file that is synced and renamed when it is complete."""
    hidden = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    is_there = True
    try:
        with _created(hidden, 0o600 if private else 0o666) as stream:
            yield stream
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        if exclusive:
            _link(hidden, target)
        else:
            hidden.replace(target)
            is_there = False
    finally:
        if is_there:
            hidden.unlink(missing_ok=True)


def _created(path: Path, mode: int) -> BinaryIO:
    """The new file, and its folder if it is missing."""

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, mode)

    try:
        return open(path, "wb", opener=opener)
    except FileNotFoundError:  # only the first time, and a look before each file takes as long as the file
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "wb", opener=opener)


def _link(source: Path, target: Path) -> None:
    """Give the file a second name. Raises `FileExistsError`."""
    try:
        target.hardlink_to(source)
    except FileExistsError:
        raise
    except OSError:  # the file system has no hard links
        if target.exists():
            raise FileExistsError(target) from None
        source.replace(target)
