"""Audio as it was fetched, named by its own SHA-256: `audio/ab/<sha256>.<ext>`."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from resources.lake.home import Home

_KNOWN = {
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
    """Content-addressed files under the home, with a local folder for what is being fetched."""

    home: Home
    cache: Path
    """Local folder: parts of downloads, and copies where the home is an object store."""

    def part(self, key: str) -> Path:
        """Where the download of an episode is collected; a part left by a killed run is continued."""
        folder = self.cache / "parts"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / key

    def keep(self, fetched: Path, sha256: str, url: str, content_type: str | None) -> str:
        """Move fetched bytes to their place. Returns the URI relative to the home."""
        uri = f"audio/{sha256[:2]}/{sha256}.{extension(url, content_type)}"
        if not self.home.exists(uri):
            with self.home.writing(uri) as stream, fetched.open("rb") as source:
                shutil.copyfileobj(source, stream, 1 << 20)
        fetched.unlink()
        return uri

    def has(self, uri: str) -> bool:
        return self.home.exists(uri)

    def local(self, uri: str) -> Path:
        """A local path of the bytes, fetched into the cache where the home is an object store."""
        if self.home.is_local:
            return Path(self.home.path(uri))
        path = self.cache / uri
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(path.suffix + ".part")
            with self.home.filesystem.open_input_stream(self.home.path(uri)) as source, fresh.open("wb") as stream:
                shutil.copyfileobj(source, stream, 1 << 20)
            fresh.replace(path)
        return path


def extension(url: str, content_type: str | None) -> str:
    """What the URL's path ends with, else what the type says. Only a name: the decoder looks at the bytes."""
    suffix = PurePosixPath(urlsplit(url).path).suffix.lower().lstrip(".")
    if re.fullmatch(r"[a-z0-9]{2,4}", suffix):
        return suffix
    return _KNOWN.get((content_type or "").partition(";")[0].strip().lower(), "audio")
