"""Locks between the processes of one machine, for what they change in a home by reading and writing it again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from resources.lake.home import Home
from speech.file_locks import wait_for_lock


@contextmanager
def one_process(home: Home, purpose: str, *names: str) -> Iterator[None]:
    """Wait until no other process of this machine is in such a block, for this home and these names."""
    digest = sha256("\n".join([home.duckdb_root(), *names]).encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"podlake-{purpose}-{digest}.lock").open("a") as lock:
        wait_for_lock(lock)
        yield
