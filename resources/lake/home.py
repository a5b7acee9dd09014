"""Where everything lies: `PODLAKE_HOME`, a folder or an s3:// prefix, and how a file gets there whole."""

from __future__ import annotations

import os
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pyarrow import fs

from speech.errors import StorageError


@dataclass(frozen=True)
class Home:
    """The root of audio, lake and subscriptions, on whatever file system it is."""

    uri: str
    """What the user wrote: a path, or `s3://bucket/prefix`."""
    filesystem: fs.FileSystem
    root: str
    """The root as the file system names it."""

    @classmethod
    def at(cls, uri: str) -> Home:
        if "://" in uri:
            filesystem, root = fs.FileSystem.from_uri(uri)
            return cls(uri.rstrip("/"), filesystem, root.rstrip("/"))
        return cls(uri, fs.LocalFileSystem(), str(Path(uri).absolute()))

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def path(self, *parts: str) -> str:
        return "/".join((self.root, *parts))

    def exists(self, *parts: str) -> bool:
        return bool(self.filesystem.get_file_info(self.path(*parts)).type == fs.FileType.File)

    def duckdb_path(self, path: str) -> str:
        """A path under the home as DuckDB takes it: an object store's with its scheme, `[`, `?` and `*` as themselves."""
        full = path if self.is_local else self.uri + path.removeprefix(self.root)
        return re.sub(r"([\[?*])", r"[\1]", full)

    def names(self, *folder: str) -> list[str]:
        """Names of the files in a folder, sorted; none where there is no such folder."""
        if self.is_local:  # without a look at each file, which takes ten times as long
            try:
                names = os.listdir(self.path(*folder))  # noqa: PTH208 - names are all that is needed
            except FileNotFoundError:
                return []
            return sorted(name for name in names if name[0] not in "._" and "." in name)
        selector = fs.FileSelector(self.path(*folder), allow_not_found=True)
        found = self.filesystem.get_file_info(selector)
        return sorted(
            info.base_name for info in found if info.type == fs.FileType.File and info.base_name[0] not in "._"
        )

    def read(self, *parts: str) -> bytes:
        with self.filesystem.open_input_stream(self.path(*parts)) as stream:
            return bytes(stream.read())

    def remove(self, *parts: str) -> None:
        """Remove a file; it is no error that there is none."""
        if self.exists(*parts):
            self.filesystem.delete_file(self.path(*parts))

    @contextmanager
    def writing(self, *parts: str, exclusive: bool = False) -> Iterator[BinaryIO]:
        """A stream whose bytes appear under the name all at once, or not at all.

        On a local disk they are written beside it, synced and renamed; for an object store they are
        collected on the local disk first, because a stream that breaks off would upload what it has.
        Raises `StorageError`; if `exclusive`, and the home is local, `FileExistsError` where the file exists already.
        """
        target = self.path(*parts)
        try:
            with (
                _written_beside(Path(target), exclusive=exclusive)
                if self.is_local
                else self._uploaded(target) as stream
            ):
                yield stream
        except OSError as error:
            if exclusive and isinstance(error, FileExistsError):
                raise
            raise StorageError(
                f"{target} could not be written: {error}. Check free space and write permission (`podlake doctor`)."
            ) from error

    @contextmanager
    def _uploaded(self, target: str) -> Iterator[BinaryIO]:
        """A local file that nobody else sees, uploaded when it is complete.

        In one call that no signal interrupts: a stream that Python breaks off is closed, and closing ends an upload.
        """
        with tempfile.TemporaryDirectory() as folder:
            collected = Path(folder) / "collected"
            with collected.open("wb") as stream:
                yield stream
            fs.copy_files(str(collected), target, fs.LocalFileSystem(), self.filesystem)


@contextmanager
def _written_beside(target: Path, *, exclusive: bool) -> Iterator[BinaryIO]:
    """A local file under a hidden name, synced, and renamed when it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with beside.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if exclusive:
            _link(beside, target)
        else:
            beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


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
