"""Files of videos: `videos/{yyyy}/{mm}/{id}/…` and the users' uploads in the home, work in progress in the cache."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from pyarrow import fs

from resources.lake.home import Home
from speech.errors import BadReference

FOLDER = "videos"
UPLOADS = "video_uploads"
_UPLOAD = re.compile(r"[0-9a-f]{64}\.[a-z0-9]{1,5}")
SUFFIXES = ("mp4", "mov", "mkv", "webm", "avi", "wav", "mp3", "m4a", "flac", "ogg", "opus")


@dataclass(frozen=True)
class Upload:
    """A stored upload."""

    name: str
    size_bytes: int
    at: datetime


@dataclass(frozen=True)
class VideoFiles:
    """Where the files of videos lie."""

    home: Home
    cache: Path
    """A local folder, for copies and for what is being made."""

    def publish(self, video_id: str, name: str, source: Path) -> str:
        """Copy a local file into the home. Returns its path there, without the folder of all videos."""
        path = f"{video_folder(video_id)}/{name}"
        self.home.add(source, FOLDER, *path.split("/"))
        return path

    def stored(self, video_id: str) -> list[fs.FileInfo]:
        """All files of the video in the home, without the uploads that it was made from."""
        return self.home.files_below(FOLDER, *video_folder(video_id).split("/"))

    def stored_uploads(self, names: Collection[str]) -> list[fs.FileInfo]:
        return [info for info in self.home.files_below(UPLOADS) if info.base_name in names]

    def on_this_machine(self, video_id: str, uploads: Collection[str] = ()) -> list[Path]:
        """The folder of what is being made, and copies of its files and uploads."""
        videos, start = self.cache / "videos", video_folder(video_id).replace("/", "_")
        copies = (videos / "copies").glob("*")
        own = (path for path in copies if path.name.startswith(start) or path.name.startswith(tuple(uploads)))
        return [path for path in (videos / video_id, *own) if path.exists()]

    def exists(self, path: str) -> bool:
        return self.home.exists(FOLDER, *path.split("/"))

    def local(self, path: str) -> Path:
        """The file on a local disk; a copy, if the home is an object store."""
        return self._local(FOLDER, path)

    def scratch(self, video_id: str, name: str) -> Path:
        """A local file that is being made."""
        path = self.cache / "videos" / video_id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def upload(self, name: str) -> Path:
        """A local path of an upload. Raises `BadReference` if it is not there any more."""
        if not self.has_upload(name):
            raise BadReference(f"The upload {name[:80]} is not there any more. Upload the file again.")
        return self._local(UPLOADS, name)

    def has_upload(self, name: str) -> bool:
        return bool(_UPLOAD.fullmatch(name)) and self.home.exists(UPLOADS, name)

    def keep_upload(self, source: Path, suffix: str) -> Upload:
        """Store a local file under the hash of its bytes. Raises `BadReference` for a suffix that is not known."""
        suffix = suffix.lower().lstrip(".")
        if suffix not in SUFFIXES:
            raise BadReference(f"Files named .{suffix[:10]} are not taken: send {', '.join(SUFFIXES)}.")
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = f"{digest}.{suffix}"
        if not self.home.exists(UPLOADS, name):
            self.home.add(source, UPLOADS, name)
        return Upload(name, source.stat().st_size, datetime.now(UTC))

    def receiving(self, name: str) -> Path:
        """A local file for the bytes of an upload that is being received."""
        part = self.cache / "videos" / "receiving" / f"{name}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        return part

    def uploads(self) -> Iterator[Upload]:
        selector = fs.FileSelector(self.home.path(UPLOADS), allow_not_found=True)
        for info in self.home.filesystem.get_file_info(selector):
            if info.type == fs.FileType.File and _UPLOAD.fullmatch(info.base_name):
                yield Upload(info.base_name, info.size, info.mtime or datetime.now(UTC))

    def remove_upload(self, name: str) -> None:
        self.home.remove(UPLOADS, name)

    def _local(self, folder: str, path: str) -> Path:
        if self.home.is_local:
            return Path(self.home.path(folder, path))
        copy = self.cache / "videos" / "copies" / path.replace("/", "_")
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            part = copy.with_name(f"{copy.name}.{uuid4().hex}.part")
            part.write_bytes(self.home.read(folder, *path.split("/")))
            part.replace(copy)
        return copy


def video_folder(video_id: str) -> str:
    """`2026/11/video-20261127-1a2b3c4d`, by the day in the key."""
    day = video_id.split("-")[-2]
    return f"{day[:4]}/{day[4:6]}/{video_id}"
