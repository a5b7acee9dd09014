"""Dagster's web UI on loopback: a writable server for operators, and a read-only one for viewers.

A server that exits is started again. Both exit with this process.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from dagster_project.instance import open_instance
from dagster_project.settings import Settings

PREFIX = "/dagster"
_STOP_S = 20.0
_RESTART_S = (1.0, 60.0)
"""Wait before a server is started again: at first, and at most."""
# The first argument is the process that starts it, and with which it ends.
_START = (
    "import runpy, sys; from speech.signals import end_with_parent; end_with_parent(int(sys.argv.pop(1))); "
    "sys.argv[0] = 'dagster-webserver'; runpy.run_module('dagster_webserver', run_name='__main__', alter_sys=True)"
)
log = logging.getLogger("podlake")


@dataclass(frozen=True)
class Webservers:
    """The ports of the two servers."""

    writable: int
    read_only: int

    @classmethod
    def planned(cls) -> Webservers:
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            return cls(one.getsockname()[1], other.getsockname()[1])


@asynccontextmanager
async def running(settings: Settings, ports: Webservers) -> AsyncIterator[None]:
    """Both servers run, or are about to."""
    with await asyncio.to_thread(open_instance, settings):  # its databases are created by one process
        pass
    tasks = [
        asyncio.create_task(_keep_running(ports.writable)),
        asyncio.create_task(_keep_running(ports.read_only, "--read-only")),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keep_running(port: int, *options: str) -> None:
    wait_s = _RESTART_S[0]
    while True:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _START, str(os.getpid()), "-m", "dagster_project.definitions", "-h", "127.0.0.1", "-p", str(port),
            "--path-prefix", PREFIX, "--dagster-log-level", "warning", *options,
            env={**os.environ, "PYTHONWARNINGS": "ignore"}, stdin=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        started_s = asyncio.get_running_loop().time()
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await _stop(process)
            raise
        if asyncio.get_running_loop().time() - started_s > _RESTART_S[1]:
            wait_s = _RESTART_S[0]
        log.warning("Dagster's webserver at port %d exited with %s, and is started again in %.0f s", port, code, wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, _RESTART_S[1])


async def _stop(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), _STOP_S)
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
