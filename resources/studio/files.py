"""Files of podcasts that are made here: `podcasts/{yyyy}/{mm}/{id}.mp3` and others in the home, lines in the cache."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from resources.lake.home import Home

FOLDER = "podcasts"


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

    def forget_lines(self, podcast_id: str) -> None:
        """Remove the local files of lines, which the home has by now."""
        shutil.rmtree(self.cache / "studio" / podcast_id, ignore_errors=True)

    def publish(self, podcast_id: str, name: str, content: bytes) -> str:
        """Write a file of the podcast. Returns its path in the home, without the folder of all podcasts."""
        path = f"{podcast_folder(podcast_id)}/{name}"
        with self.home.writing(FOLDER, *path.split("/")) as stream:
            stream.write(content)
        return path

    def read(self, path: str) -> bytes:
        return self.home.read(FOLDER, *path.split("/"))

    def local(self, path: str) -> Path:
        """The file on a local disk; a copy, if the home is an object store."""
        if self.home.is_local:
            return Path(self.home.path(FOLDER, path))
        copy = self.cache / "studio" / "copies" / path.rpartition("/")[2]
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(self.read(path))
        return copy


def podcast_folder(podcast_id: str) -> str:
    """`2026/11`, by the day in the podcast's key."""
    day = podcast_id.split("-")[-2]
    return f"{day[:4]}/{day[4:6]}"
