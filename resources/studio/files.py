"""Files of podcasts that are made here: `podcasts/{yyyy}/{mm}/{id}.mp3` and others in the home, lines in the cache."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from resources.lake.home import Home

FOLDER = "podcasts"
_LINE = re.compile(r"(\d{4,})-[0-9a-f]{12}\.wav")


@dataclass(frozen=True)
class StudioFiles:
    """Where the files of podcasts lie."""

    home: Home
    cache: Path
    """A local folder, for lines that are being made."""

    def line(self, podcast_id: str, turn_idx: int, *made_of: object) -> Path:
        """The local file of a line. It is there as soon as the line is said, and another name says other content."""
        digest = hashlib.sha256("\n".join(map(str, made_of)).encode()).hexdigest()[:12]
        return self.cache / "studio" / podcast_id / f"{turn_idx:04d}-{digest}.wav"

    def newest_line(self, podcast_id: str, turn_idx: int) -> Path | None:
        """The local file of a line that is said. Of several, which other voices have made, the newest."""
        found = (self.cache / "studio" / podcast_id).glob(f"{turn_idx:04d}-*.wav")
        return max(found, key=lambda path: path.stat().st_mtime_ns, default=None)

    def lines_made(self, podcast_id: str) -> frozenset[int]:
        """The turns whose lines are said and not landed yet, as far as runs on this machine have made them."""
        folder = self.cache / "studio" / podcast_id
        names = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 - only names are needed
        return frozenset(int(found[1]) for name in names if (found := _LINE.fullmatch(name)))

    def forget_lines(self, podcast_id: str) -> None:
        """Remove the local files of lines, which the home has by now."""
        shutil.rmtree(self.cache / "studio" / podcast_id, ignore_errors=True)

    def stored(self, podcast_id: str) -> list[fs.FileInfo]:
        """All files of the podcast in the home."""
        found = self.home.files_below(FOLDER, podcast_folder(podcast_id))
        return [info for info in found if podcast_id in re.split(r"[./]", info.path)]

    def on_this_machine(self, podcast_id: str) -> list[Path]:
        """The folder of its lines, and copies of its files."""
        studio = self.cache / "studio"
        copies = (path for path in (studio / "copies").rglob("*") if podcast_id in path.name)
        return [path for path in (studio / podcast_id, *copies) if path.exists()]

    def publish(self, podcast_id: str, name: str, content: bytes) -> str:
        """Write a file of the podcast. Returns its path in the home, without the folder of all podcasts."""
        path = f"{podcast_folder(podcast_id)}/{name}"
        with self.home.writing(FOLDER, *path.split("/")) as stream:
            stream.write(content)
        return path

    def read(self, path: str) -> bytes:
        return self.home.read(FOLDER, *path.split("/"))

    def local(self, path: str) -> Path:
        """The file on a local disk; a copy, if the home is an object store. Raises `FileNotFoundError`."""
        place = self.home.path(FOLDER, path)
        if self.home.is_local:
            return Path(place)
        info = self.home.filesystem.get_file_info(place)
        if info.size is None:
            raise FileNotFoundError(path)
        copy = self.cache / "studio" / "copies" / path
        if not (copy.exists() and (copy.stat().st_size, copy.stat().st_mtime_ns) == (info.size, info.mtime_ns)):
            copy.parent.mkdir(parents=True, exist_ok=True)
            hidden = copy.with_name(f".{copy.name}.{uuid.uuid4().hex[:8]}")
            hidden.write_bytes(self.read(path))
            os.utime(hidden, ns=(info.mtime_ns, info.mtime_ns))
            hidden.replace(copy)
        return copy


def podcast_folder(podcast_id: str) -> str:
    """`2026/11`, by the day in the podcast's key."""
    day = podcast_id.split("-")[-2]
    return f"{day[:4]}/{day[4:6]}"
