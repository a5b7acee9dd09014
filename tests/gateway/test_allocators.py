"""The allocators of a process with many threads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from dagster_project.settings import ROOT
from gateway.allocators import ARENAS

_THREADS = 5
"""glibc has at least eight arenas for them, the main one included."""
_COUNT = f"""
import ctypes, sys, threading
from gateway.allocators import limit_allocators

if sys.argv[1] == "limited":
    limit_allocators()
libc, started, counted = ctypes.CDLL(None), threading.Barrier({_THREADS} + 1), threading.Event()
libc.malloc.restype = ctypes.c_void_p

def allocate():
    libc.malloc(1000)
    started.wait()
    counted.wait()

threads = [threading.Thread(target=allocate) for _ in range({_THREADS})]
for thread in threads:
    thread.start()
started.wait()
libc.fopen.restype = ctypes.c_void_p
stream = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, stream)
libc.fclose(stream)
counted.set()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="arenas are of glibc")
@pytest.mark.parametrize(
    ("argument", "variable", "arenas"),
    [("limited", None, ARENAS), ("limited", "3", 3), ("unlimited", None, _THREADS + 1)],
)
def test_threads_share_arenas(argument: str, variable: str | None, arenas: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    environment |= {"MALLOC_ARENA_MAX": variable} if variable else {}
    command = [sys.executable, "-c", _COUNT, argument]
    found = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.count("<heap nr=") == arenas


_HIGHEST_HINT = 0x1E << 40
"""mimalloc asks for its memory at addresses between 2 and 30 TiB, where nothing else is."""
_ARROW = f"""
import sys
from gateway.allocators import limit_allocators

if sys.argv[1] == "limited":
    limit_allocators()
import pyarrow as pa
import pyarrow.compute as pc

held = [pa.array(range(100_000)), pc.add(pa.array(range(100_000)), 1)]
with open("/proc/self/maps") as maps:
    starts = [int(line.partition("-")[0], 16) for line in maps]
print(pa.default_memory_pool().backend_name, any(2 << 40 <= start < {_HIGHEST_HINT} for start in starts))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("argument", "variable", "found"),
    [
        ("limited", None, ["system", "False"]),
        ("limited", "mimalloc", ["mimalloc", "True"]),
        ("unlimited", None, ["mimalloc", "True"]),
    ],
)
def test_arrow_uses_malloc_alone(argument: str, variable: str | None, found: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    environment |= {"ARROW_DEFAULT_MEMORY_POOL": variable} if variable else {}
    command = [sys.executable, "-c", _ARROW, argument]
    printed = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.split() == found


_SERVER = """
import sys
import click
from gateway.__main__ import main

imported = "pyarrow" in sys.modules
try:
    main(["--host", "0.0.0.0"], standalone_mode=False)
except click.ClickException:
    pass
print(imported, sys.modules["pyarrow"].default_memory_pool().backend_name)
"""


def test_the_server_limits_them_before_it_imports_arrow(tmp_path: Path) -> None:
    unset = ("ARROW_DEFAULT_MEMORY_POOL", "ADMIN_PASSWORD")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {"PODLAKE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", _SERVER]
    printed = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["False", "system"]
