"""Bounds the memory that allocators keep for the threads of a process that runs for months."""

from __future__ import annotations

import ctypes
import os
import sys

ARENAS = 2
"""Fewer make threads wait for each other; DuckDB's large buffers come from an allocator of its own."""
_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


def limit_allocators() -> None:
    """Call it before threads start, and before Arrow is imported. Arrow uses malloc, and malloc two arenas.

    `ARROW_DEFAULT_MEMORY_POOL` and `MALLOC_ARENA_MAX` in the environment take precedence. DuckDB starts new threads with
    each database that it opens. glibc gives threads arenas of their own, up to eight for each core, and what queries
    scatter over an arena keeps its pages resident, though it is free. Arrow's own allocator keeps freed memory too: in a
    soak of an hour more by the minute, 242 MB in the end.
    """
    # Not `pyarrow.set_memory_pool`: what Arrow allocates by itself, for IPC and compute, stays in its own allocator.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if sys.platform != "linux" or "MALLOC_ARENA_MAX" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_M_ARENA_MAX, ARENAS)
