"""The folder of a data set while it is written: whole shards, records of the complete ones, and the hashes of all files.

An export that was killed continues after the last complete shard. `SHA256SUMS` is written last.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from pyarrow import fs

from resources.exports.splits import SPLITS
from resources.lake.home import Home
from speech.errors import PodlakeError
from speech.file_locks import try_lock

SUMS, MANIFEST, SOURCES, CARD = "SHA256SUMS", "manifest.json", "sources.jsonl", "README.md"
STATE = ".podlake-export"
"""What an unfinished export knows; removed when it is complete."""
_PLAN = "plan.json"
_UNFINISHED = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
"""As `Home.writing` names files."""


@dataclass(frozen=True)
class WrittenFile:
    """A file of the data set."""

    path: str
    """Relative to the folder."""
    bytes: int
    sha256: str


@dataclass
class Shard:
    """A part of a split, of about as much audio as every other. Formats write its files with `file` and `lines`."""

    folder: Home
    split: str
    index: int
    count: int
    """Shards of the split."""
    codec: str
    """Of the audio; also the suffix of its files."""
    files: list[WrittenFile] = field(default_factory=list)
    line_files: list[str] = field(default_factory=list)

    @contextmanager
    def file(self, path: str, *, durable: bool = True) -> Iterator[BinaryIO]:
        """A stream for a file of this shard alone. `durable=False` saves the wait for the disk, for many small files."""
        with _hashed(self.folder, path, self.files, durable=durable) as stream:
            yield stream

    @contextmanager
    def lines(self, path: str) -> Iterator[BinaryIO]:
        """A stream for this shard's part of a file that the split's shards have in common."""
        with self.folder.writing(*_part(self.name, path)) as stream:
            yield stream
        self.line_files.append(path)

    @property
    def name(self) -> str:
        return f"{self.split}-{self.index:05d}"


class ExportFolder:
    """One data set's folder, on a local disk or in an object store."""

    def __init__(self, uri: str) -> None:
        self.home = Home.at(uri)

    def is_complete(self, plan: str) -> bool:
        """Whether it has everything of an export with this plan."""
        return (
            self.home.exists(SUMS) and self._json(MANIFEST).get("plan") == plan and not self.home.exists(STATE, _PLAN)
        )

    def begin(self, plan: str) -> bool:
        """Prepare the folder. Returns whether an interrupted export of this plan continues.

        Files of another export of podlake are removed. Raises PodlakeError if the folder has other files.
        """
        self._remove_unfinished()
        if self._json(STATE, _PLAN).get("plan") == plan:
            return True
        if self.is_export():
            self.clear()
        elif others := self._others():
            raise PodlakeError(
                f"{self.home.uri} has files that are not of an export, such as {others[0]}. Name an empty folder with --out."
            )
        with self.home.writing(STATE, _PLAN) as stream:
            stream.write(json.dumps({"plan": plan}).encode())
        return False

    def is_export(self) -> bool:
        """Whether podlake has written a data set here, or begun to."""
        return (
            self.home.exists(STATE, _PLAN)
            or (self.home.exists(SUMS) and (self.home.exists(MANIFEST) or self.home.exists(SOURCES)))
            or self._others() == [SOURCES]  # the last file of an interrupted removal
        )

    def record(self, shard: Shard) -> None:
        """Write down that the shard is complete."""
        content = {"files": [asdict(one) for one in shard.files], "lines": shard.line_files}
        with self.home.writing(STATE, "shards", f"{shard.name}.json") as stream:
            stream.write(json.dumps(content).encode())

    def done(self) -> set[str]:
        """Names of the complete shards."""
        return {name.removesuffix(".json") for name in self.home.names(STATE, "shards")}

    def finish(self, shards: Iterable[str], documents: dict[str, str]) -> None:
        """Join the lines of the shards, in this order, write the documents, then the hashes of all files."""
        files: list[WrittenFile] = []
        parts: dict[str, list[str]] = {}
        for name in shards:
            record = self._json(STATE, "shards", f"{name}.json")
            files += [WrittenFile(**one) for one in record["files"]]
            for path in record["lines"]:
                parts.setdefault(path, []).append(name)
        for path, names in parts.items():
            with _hashed(self.home, path, files) as stream:
                for name in names:
                    stream.write(self.home.read(*_part(name, path)))
        for path, text in documents.items():
            with _hashed(self.home, path, files) as stream:
                stream.write(text.encode())
        with self.home.writing(SUMS) as stream:
            for one in sorted(files, key=lambda file: file.path):
                stream.write(f"{one.sha256}  {one.path}\n".encode())
        self._remove_folder(STATE)

    def episodes(self) -> set[str]:
        """The episodes that the data set is made from, also while it is unfinished."""
        if not self.home.exists(SOURCES):
            return set()
        return {json.loads(line)["episode_id"] for line in self.home.read(SOURCES).decode().splitlines()}

    def write_sources(self, text: str) -> None:
        """Written before any shard: it tells whether a forgotten episode is in the folder."""
        with self.home.writing(SOURCES) as stream:
            stream.write(text.encode())

    def clear(self) -> None:
        """Remove the data set. Hidden files, and files with names that no export writes, stay."""
        written = {CARD}
        if self.home.exists(SUMS):
            written |= {line.split("  ", 1)[1] for line in self.home.read(SUMS).decode().splitlines()}
        for name in self.done():
            written |= {one["path"] for one in self._json(STATE, "shards", f"{name}.json")["files"]}
        # A shard that was being written has no record. Its files lie in folders that only exports have, or have the
        # names of shards.
        self._remove_unfinished()
        written |= {path for path in self._paths() if _is_shard_file(path)}
        self.home.remove(MANIFEST)  # first: without it, no export takes the folder for complete
        for path in sorted(written - {MANIFEST, SUMS, SOURCES}):
            self.home.remove(path)
        self._remove_folder(STATE)
        self.home.remove(SUMS)
        self.home.remove(SOURCES)  # last: after an interrupted removal, the folder still says what it is
        self._remove_empty_folders()

    def _remove_unfinished(self) -> None:
        """Remove the hidden files of a process that was killed."""
        for path in self._paths():
            if _UNFINISHED.fullmatch(path.rsplit("/", 1)[-1]) and not path.startswith(".git/"):
                self.home.remove(path)

    def _others(self) -> list[str]:
        return [path for path in self._paths() if not any(part.startswith(".") for part in path.split("/"))]

    def _paths(self) -> list[str]:
        selector = fs.FileSelector(self.home.root, recursive=True, allow_not_found=True)
        infos = self.home.filesystem.get_file_info(selector)
        root = f"{self.home.root}/"
        return sorted(info.path.removeprefix(root) for info in infos if info.type == fs.FileType.File)

    def _json(self, *parts: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self.home.read(*parts))
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def _remove_folder(self, name: str) -> None:
        if self.home.filesystem.get_file_info(self.home.path(name)).type == fs.FileType.Directory:
            self.home.filesystem.delete_dir(self.home.path(name))

    def _remove_empty_folders(self) -> None:
        if not self.home.is_local:
            return
        folders = [path for path in Path(self.home.root).rglob("*") if path.is_dir() and ".git" not in path.parts]
        for path in sorted(folders, reverse=True):
            if not any(path.iterdir()):
                path.rmdir()


@contextmanager
def alone(uri: str) -> Iterator[None]:
    """Keep other processes of this machine from writing the same folder. Raises PodlakeError if one does."""
    name = hashlib.sha256(Home.at(uri).root.encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"podlake-export-{name}.lock").open("a") as lock:
        if not try_lock(lock):
            raise PodlakeError(f"Another export writes to {uri}. Wait until it ends, or name another folder.")
        yield


def _is_shard_file(path: str) -> bool:
    first, _, rest = path.partition("/")
    if first == "audio":
        return rest.split("/")[0] in SPLITS
    name = path.rsplit("/", 1)[-1].lstrip(".")
    return any(
        first == split or name.startswith(tuple(f"{stem}{end}" for stem in (split, f"cuts_{split}") for end in "-._"))
        for split in SPLITS
    )


def _part(shard: str, path: str) -> tuple[str, ...]:
    return (STATE, "parts", shard, path.replace("/", "+"))


@contextmanager
def _hashed(home: Home, path: str, files: list[WrittenFile], *, durable: bool = True) -> Iterator[BinaryIO]:
    with home.writing(path, durable=durable) as stream:
        hashing = _HashingStream(stream)
        yield hashing  # type: ignore[misc]
    files.append(WrittenFile(path, hashing.size, hashing.digest.hexdigest()))


class _HashingStream(io.RawIOBase):
    """Passes bytes on, and hashes them. Writers can only append."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        self.size += memoryview(data).nbytes
        self._stream.write(data)
        return memoryview(data).nbytes

    def tell(self) -> int:
        return self.size
