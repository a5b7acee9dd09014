"""The files of a home that a backup copies, listed so that they are a state of the lake while runs go on.

Files of the lake never change: they appear and are removed. A listing takes time, so it can miss rows whose commit it
has seen, when a compaction moves them meanwhile. Such a listing is made again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow.parquet as pq
from pyarrow import fs

from resources.backup.store import BackupError
from resources.lake.commits import FAILED, Commit
from resources.lake.home import Home
from resources.lake.tables import STAGE_RUNS, TABLES

CACHES = {"waveforms", "parts", "pauses", "search", "dagster", "dagster-postgres", "postgres", "logs"}
"""Folders of a local home that can be made again, and Dagster's own, which is copied as databases."""
_CACHED_FILES = re.compile(r"(warehouse|service)\.(duckdb|version|db)(\.wal|-wal|-shm)?")
_IMMUTABLE = re.compile(r"audio/|lake/[^/]+/(sealed|manifest)/|lake/.*@")
_LISTINGS = 30
_AGAIN_AFTER_S = 0.5


@dataclass(frozen=True)
class HomeFile:
    """A file below the home."""

    path: str
    bytes: int
    modified_ns: int

    @property
    def is_immutable(self) -> bool:
        """Whether no other bytes ever have this path."""
        return bool(_IMMUTABLE.match(self.path))


def list_home(home: Home) -> list[HomeFile]:
    """The files, such that every commit has its rows, and every manifest its sealed files. Raises `BackupError`."""
    for _ in range(_LISTINGS):
        found = _list(home)
        if _is_whole(home, {file.path for file in found}):
            return found
        time.sleep(_AGAIN_AFTER_S)
    raise BackupError("Compactions moved rows during each of the last listings of the lake. Try again when they rest.")


def restore_last(path: str) -> bool:
    """Whether the file makes others visible, so that it is restored after them."""
    return path.startswith(f"lake/{STAGE_RUNS.name}/") or "/manifest/" in path


def _list(home: Home) -> list[HomeFile]:
    """Commits first: their rows have been written before. Then manifests, then everything else."""
    found: dict[str, HomeFile] = {}
    commits = f"lake/{STAGE_RUNS.name}/open"
    manifests = [f"lake/{name}/manifest" for name in TABLES]
    for folder in (commits, *manifests):
        found |= {file.path: file for file in _below(home, folder)}
    first = set(found)
    for folder in _top_folders(home):
        for file in _below(home, folder):
            if file.path in first or not file.path.startswith((f"{commits}/", *(f"{one}/" for one in manifests))):
                found[file.path] = file
    return list(found.values())


def _top_folders(home: Home) -> list[str]:
    selector = fs.FileSelector(home.root, allow_not_found=True)
    return sorted(
        info.base_name
        for info in home.filesystem.get_file_info(selector)
        if info.base_name not in CACHES and info.base_name[0] != "." and not _CACHED_FILES.fullmatch(info.base_name)
    )


def _below(home: Home, folder: str) -> Iterator[HomeFile]:
    selector = fs.FileSelector(home.path(folder), recursive=True, allow_not_found=True)
    try:
        infos = home.filesystem.get_file_info(selector)
    except NotADirectoryError:
        infos = [home.filesystem.get_file_info(home.path(folder))]
    except FileNotFoundError:  # a file was removed during the listing
        time.sleep(_AGAIN_AFTER_S)
        infos = home.filesystem.get_file_info(selector)
    for info in infos:
        if info.type == fs.FileType.File and not info.base_name.startswith("."):
            yield HomeFile(info.path.removeprefix(f"{home.root}/"), info.size, info.mtime_ns or 0)


def _is_whole(home: Home, paths: set[str]) -> bool:
    newest: dict[tuple[str, str], Commit] = {}
    manifests: dict[str, str] = {}
    for path in sorted(paths):
        parts = path.split("/")
        if path.startswith(f"lake/{STAGE_RUNS.name}/open/") and len(parts) == 5 and parts[3] != FAILED:
            commit = Commit.parse(parts[3], parts[4])
            newest[commit.stage, commit.key] = commit  # sorted by name, and so by time
        elif len(parts) == 4 and parts[2] == "manifest":
            manifests[parts[1]] = path
    rows = (
        f"lake/{table.name}/open/{commit.name}.parquet"
        for table in TABLES.values()
        if table.is_sealable and table is not STAGE_RUNS
        for commit in newest.values()
        if commit.stage == table.asset
    )
    if not all(path in paths for path in rows):
        return False
    try:
        sealed = [
            f"lake/{name}/sealed/{file}.parquet" for name, path in manifests.items() for file in _named(home, path)
        ]
    except FileNotFoundError:  # a compaction has replaced the manifest
        return False
    return all(path in paths for path in sealed)


def _named(home: Home, manifest: str) -> list[str]:
    with home.filesystem.open_input_file(home.path(manifest)) as file:
        return [name for name in pq.read_table(file, columns=["file"])["file"].to_pylist() if name]
