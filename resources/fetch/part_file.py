"""A partial download: `<target>.part`, and a note of its origin beside it.

They remain after a dropped connection or a killed process. The next try resumes if the validator shows
that the server still has the same file.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from speech.errors import StorageError
from speech.file_locks import is_file_at, try_lock


@dataclass(frozen=True, slots=True)
class Origin:
    """The file whose first bytes a part file holds."""

    url_sha256: str
    """Not the URL itself, which may contain credentials."""
    validator: str | None
    """A strong ETag or Last-Modified; None where the server gave none, and nothing can be resumed."""
    total_bytes: int | None


def url_sha256(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()


class PartFile:
    """The file while it grows, hashed as it is written; one process at a time.

    Raises StorageError where the disk fails or another process is at the same file.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = target.with_name(target.name + ".part")
        self._note = target.with_name(target.name + ".part.json")
        self.size = 0
        self.origin: Origin | None = None
        """None if there is nothing to resume."""

    def __enter__(self) -> Self:
        with _disk(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b")
            # The other process may have finished and renamed the file between the two calls.
            if not try_lock(self._file) or not is_file_at(self._file, self._path):
                self._file.close()
                raise StorageError(f"Another process writes {self._path}. Try again later.")
            self._take_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._file.closed:
            with _disk(self._path), self._file:
                self._save_progress() if self.origin and self.origin.validator else self.discard()

    def start_over(self, origin: Origin) -> None:
        """Nothing but what follows, and it comes from `origin`."""
        with _disk(self._path):
            self._file.truncate(0)
            self._reset()
            self.origin = origin
            self._save_progress()

    def append(self, chunk: bytes) -> None:
        with _disk(self._path):
            self._file.write(chunk)
        self._hash(chunk)
        is_due = time.monotonic() >= self._saved_at_s + _SAVE_EVERY_S
        if is_due and self.size >= self._saved_size + _SAVE_EVERY_BYTES:
            with _disk(self._path):
                self._save_progress()

    def finish(self) -> str:
        """Sync and rename to the target. Returns the SHA-256."""
        with _disk(self._path), self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._path.replace(self._target)
            self._note.unlink(missing_ok=True)
        return self._sha256.hexdigest()

    def discard(self) -> None:
        """Remove the part file and its note."""
        with _disk(self._path):
            self._note.unlink(missing_ok=True)
            self._path.unlink(missing_ok=True)
            self._file.close()

    def _take_up(self) -> None:
        """What an earlier try is known to have written; what it wrote after that may not be on the disk."""
        self._reset()
        try:
            note = json.loads(self._note.read_text())
            origin, saved_size = Origin(**note["origin"]), int(note["size"])
        except (OSError, ValueError, KeyError, TypeError):
            return
        if not origin.validator or not 0 < saved_size <= os.fstat(self._file.fileno()).st_size:
            return
        self._file.truncate(saved_size)
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK_BYTES):
            self._hash(chunk)
        self._saved_size = self.size
        self.origin = origin

    def _reset(self) -> None:
        self.origin, self.size, self._saved_size = None, 0, 0
        self._saved_at_s = time.monotonic()
        self._sha256 = hashlib.sha256()

    def _hash(self, chunk: bytes) -> None:
        self._sha256.update(chunk)
        self.size += len(chunk)

    def _save_progress(self) -> None:
        """Sync the bytes before the note that counts them."""
        self._file.flush()
        os.fsync(self._file.fileno())
        note = {"origin": asdict(self.origin) if self.origin else None, "size": self.size}
        new_note = self._note.with_name(self._note.name + ".new")
        new_note.write_text(json.dumps(note))
        new_note.replace(self._note)
        self._saved_size, self._saved_at_s = self.size, time.monotonic()


_CHUNK_BYTES = 1 << 20
_SAVE_EVERY_BYTES, _SAVE_EVERY_S = 16 << 20, 1.0
"""A killed process loses the larger of the two: so many bytes, or what came in so many seconds. Each save waits for the
disk, which takes longer than a download from a server nearby."""


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path} could not be written: {error}. Free space, or check the folder's permissions."
        ) from error
