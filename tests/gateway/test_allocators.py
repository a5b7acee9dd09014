"""The allocators of a process with many threads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from dagster_project.settings import ROOT
from gateway.__main__ import main
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


@pytest.mark.parametrize(("variable", "pool"), [(None, "system"), ("jemalloc", "jemalloc")])
def test_arrow_uses_malloc(variable: str | None, pool: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    environment |= {"ARROW_DEFAULT_MEMORY_POOL": variable} if variable else {}
    code = (
        "import pyarrow as pa; from gateway.allocators import limit_allocators; limit_allocators(); "
        "held = pa.array(range(9)); print(pa.default_memory_pool().backend_name, held.nbytes)"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert found.split() == [pool, "72"]


def test_the_server_limits_them_first(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []

    def refuse() -> None:
        steps.append("settings")
        raise click.ClickException("no settings")

    monkeypatch.setattr("gateway.__main__.limit_allocators", lambda: steps.append("allocators"))
    monkeypatch.setattr("gateway.__main__.read_settings", refuse)
    assert CliRunner().invoke(main, []).exit_code == 1
    assert steps == ["allocators", "settings"]
