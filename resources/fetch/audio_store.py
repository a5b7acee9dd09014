"""The store of audio files as fetched, named by their SHA-256: `audio/ab/<sha256>.<ext>`."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections import deque
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit
from uuid import uuid4

from resources.fetch.disk_space import UNLIMITED, DiskSpace
from resources.lake.home import Home
from speech.cached_files import add, evict, mark_used
from speech.errors import AudioRemoved, DiskShort, StorageError
from speech.file_locks import open_shared

IN_USE = 32
"""Copies that a process keeps in the cache: more than a run downloads and decodes ahead."""

_REMOVED = (
    "The audio {path} is not kept any more, so it could not be copied or decoded. Its rows stay. A new materialization of `audio` fetches it again, which the "
    "planner requests by itself."
)
_EXTENSIONS = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/mp4": "m4a",
    "audio/x-m4a": "m4a",
    "audio/aac": "aac",
    "audio/ogg": "ogg",
    "audio/opus": "opus",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/flac": "flac",
    "audio/webm": "webm",
    "video/mp4": "mp4",
    "video/webm": "webm",
}


@dataclass(frozen=True)
class AudioStore:
    """Content-addressed files under the home, and a local folder for downloads and for copies of remote files."""

    home: Home
    cache: Path
    limit_bytes: int
    """Least recently used copies above this size are removed, except those in use."""
    space: DiskSpace = UNLIMITED
    """Where nothing is downloaded while it is short."""
    _in_use: deque[BufferedReader] = field(default_factory=lambda: deque(maxlen=IN_USE), repr=False, compare=False)

    def part(self, key: str) -> Path:
        """The file into which an episode is downloaded. A later download resumes what an exited run left there.

        Raises `DiskShort`.
        """
        if shortage := self.space.shortage():
            raise DiskShort(f"{shortage} The download waits for it.")
        folder = self.cache / "parts"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / key

    def keep(self, fetched: Path, sha256: str, url: str, content_type: str | None) -> str:
        """Move fetched bytes into the store. Returns the URI relative to the home."""
        uri = f"audio/{sha256[:2]}/{sha256}.{extension(url, content_type)}"
        if not self.home.exists(uri):
            self.home.move(fetched, uri)
        fetched.unlink(missing_ok=True)
        return uri

    def has(self, uri: str) -> bool:
        return self.home.exists(uri)

    def local(self, uri: str) -> Path:
        """A local path of the bytes. If the home is remote, a verified copy; the last `IN_USE` ones stay in the cache.

        Raises AudioRemoved and StorageError.
        """
        if self.home.is_local:
            path = Path(self.home.path(uri))
            if not path.exists():
                raise AudioRemoved(_REMOVED.format(path=path))
            return path
        path = self.cache / uri
        try:
            while (file := open_shared(path)) is None:
                self._copy(uri, path)
        except FileNotFoundError as error:
            raise AudioRemoved(_REMOVED.format(path=self.home.path(uri))) from error
        except OSError as error:
            raise StorageError(f"{self.home.path(uri)} could not be copied to {path}: {error}.") from error
        self._in_use.append(file)
        mark_used(path)
        return path

    def _copy(self, uri: str, path: Path) -> None:
        own = path.with_name(f"{path.name}.{uuid4().hex}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.home.filesystem.open_input_stream(self.home.path(uri)) as source, own.open("wb") as stream:
                shutil.copyfileobj(source, stream, 1 << 20)
            with own.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if sha256 != path.stem:
                raise StorageError(
                    f"{self.home.path(uri)} has other bytes than its name says (SHA-256 {sha256}). "
                    "If this persists, remove the object and materialize `audio` of the episode again."
                )
            add(path, own)
        finally:
            own.unlink(missing_ok=True)
        evict((self.cache / "audio").glob("*/*"), self.limit_bytes, keep=path)


def extension(url: str, content_type: str | None) -> str:
    """From the path of the URL, else from the content type. The decoder does not rely on it."""
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower().lstrip(".")
    if re.fullmatch(r"[a-z0-9]{2,4}", suffix):
        return suffix
    return _EXTENSIONS.get((content_type or "").partition(";")[0].strip().lower(), "audio")
