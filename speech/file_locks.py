"""Advisory file locks. The operating system releases a lock when its process exits, however it exits."""

from __future__ import annotations

import fcntl
import os
from io import BufferedReader
from pathlib import Path
from typing import IO, Any


def wait_for_lock(file: IO[Any]) -> None:
    """Take the exclusive lock of an open file; wait while another process has a lock on it."""
    fcntl.flock(file, fcntl.LOCK_EX)


def try_lock(file: int | IO[Any]) -> bool:
    """Take the exclusive lock of an open file unless another process has a lock on it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_shared(path: Path) -> BufferedReader | None:
    """The file with a shared lock, until it is closed; None if there is no such file."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    fcntl.flock(file, fcntl.LOCK_SH)
    if is_file_at(file, path):
        return file
    file.close()
    return None


def is_file_at(file: IO[Any], path: Path) -> bool:
    """Whether `path` still names the open file: another process may have removed or replaced it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
