"""Files of lessons: `lessons/{yyyy}/{mm}/{id}/{name}` in the home, and parts that are being made in the cache."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from resources.lake.home import Home
from speech.errors import StorageError

FOLDER = "lessons"


@dataclass(frozen=True)
class LessonFiles:
    """Where the files of lessons lie. A URI is a path under the home: `lessons/2026/11/<id>/dubbed.mp4`."""

    home: Home
    cache: Path
    """A local folder, for what is being made and for copies of remote files."""

    def uri(self, lesson_id: str, name: str) -> str:
        return f"{_folder(lesson_id)}/{name}"

    def stored(self, lesson_id: str) -> list[fs.FileInfo]:
        """All files of the lesson in the home."""
        return self.home.files_below(_folder(lesson_id))

    def add(self, lesson_id: str, name: str, source: Path) -> str:
        """Copy a local file into the home, where it appears complete. Returns its URI."""
        uri = self.uri(lesson_id, name)
        self.home.add(source, *uri.split("/"))
        return uri

    def write(self, lesson_id: str, name: str, content: bytes) -> str:
        """Write a small file. Returns its URI."""
        uri = self.uri(lesson_id, name)
        with self.home.writing(*uri.split("/")) as stream:
            stream.write(content)
        return uri

    def local(self, uri: str) -> Path:
        """The file on a local disk; a copy, if the home is an object store. Raises `StorageError` if it is not there."""
        if self.home.is_local:
            path = Path(self.home.path(uri))
            if not path.exists():
                raise StorageError(f"{path} is not there any more. Add the lesson again.")
            return path
        owner = uri.split("/")[3] if uri.startswith(f"{FOLDER}/") else "episodes"
        copy = self.cache / owner / "copies" / hashlib.sha256(uri.encode()).hexdigest()[:16] / uri.rpartition("/")[2]
        copy.parent.mkdir(parents=True, exist_ok=True)
        part = copy.with_suffix(".part")
        with self.home.filesystem.open_input_stream(self.home.path(uri)) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target, 1 << 20)
        part.replace(copy)
        return copy

    def work(self, lesson_id: str, name: str) -> Path:
        """A local path for something that is being made; a run that is interrupted finds it again."""
        path = self.cache / lesson_id / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def made(self, lesson_id: str, idx: int, *made_of: object) -> Path:
        """The local file of a spoken line. Another name says other content."""
        digest = hashlib.sha256("\n".join(map(str, made_of)).encode()).hexdigest()[:12]
        return self.work(lesson_id, f"lines/{idx:05d}-{digest}.wav")

    def forget_work(self, lesson_id: str) -> None:
        """Remove what was made locally, which the home has by now."""
        shutil.rmtree(self.cache / lesson_id, ignore_errors=True)


def _folder(lesson_id: str) -> str:
    """`lessons/2026/11/lesson-20261127-1a2b3c4d`, by the day in the key."""
    day = lesson_id.split("-")[-2]
    return f"{FOLDER}/{day[:4]}/{day[4:6]}/{lesson_id}"


def sha256_of(path: Path) -> str:
    """Of the bytes of a local file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
