"""Rules of a folder of cached files that processes share: least recently used out first, files in use stay.

A process uses a file while it has a shared lock on it (`file_locks.open_shared`). Files are written as `.part` and
appear complete.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from speech.file_locks import try_lock

ABANDONED_AFTER_S = 86_400.0
"""The process that wrote a `.part` file of this age has exited."""


def mark_used(path: Path) -> None:
    """Set the access time, by which `evict` orders files. The modification time stays."""
    with suppress(FileNotFoundError):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))


def add(path: Path, complete: Path) -> None:
    """Link a complete file to its place, unless another process has done so: its file may be in use."""
    with suppress(FileExistsError):
        os.link(complete, path)


def evict(files: Iterable[Path], limit_bytes: int, keep: Path) -> None:
    """Remove the least recently used files above the limit, except `keep` and files in use."""
    found = []
    for path in files:
        with suppress(FileNotFoundError):  # another process evicts at the same time
            found.append((path.stat(), path))
    total_bytes = 0
    for stat, path in sorted(found, key=lambda each: each[0].st_atime_ns, reverse=True):
        if path.suffix == ".part":
            if time.time() - stat.st_mtime > ABANDONED_AFTER_S:
                path.unlink(missing_ok=True)
            continue
        total_bytes += stat.st_size
        if total_bytes > limit_bytes and path != keep and _removed(path):
            total_bytes -= stat.st_size


def _removed(path: Path) -> bool:
    """Remove a file and its report unless a process uses it."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        if not try_lock(file):
            return False
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    return True
