"""Bounds the memory that glibc's malloc keeps for the threads of a process that runs for months."""

from __future__ import annotations

import ctypes
import os
import sys

ARENAS = 2
"""Fewer make threads wait for each other; the large buffers of DuckDB and Arrow come from allocators of their own."""
_M_ARENA_MAX = -8
"""Of glibc's malloc.h."""


def limit_arenas() -> None:
    """Call it before threads start. `MALLOC_ARENA_MAX` in the environment takes precedence.

    DuckDB starts new threads with each database that it opens. glibc gives threads arenas of their own, up to eight for
    each core, and what queries scatter over an arena keeps its pages resident, though it is free.
    """
    if sys.platform != "linux" or "MALLOC_ARENA_MAX" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_M_ARENA_MAX, ARENAS)
