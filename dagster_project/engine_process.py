"""A process of `podlake run` that runs one engine stage, while its owner runs all stages without an engine.

It imports what it needs while the owner polls feeds. It reads the episodes as one line of JSON, and exits when nothing
is left to run, or when its standard input is closed, because the owner has closed it or has exited.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from threading import Thread

from dagster_project.batch_loop import Work, run_batches
from dagster_project.in_process import DEFINITIONS
from dagster_project.instance import open_instance
from dagster_project.settings import Settings
from resources.lake.home import Home
from resources.lake.lake import Lake
from speech.signals import reset_signals

log = logging.getLogger("podlake")


class EngineProcess:
    """The process as its owner sees it."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        command = [sys.executable, "-m", "dagster_project.engine_process", stage]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        self._stdin = self._process.stdin
        assert self._stdin

    def begin(self, work: Work) -> None:
        before = work.retry_before and work.retry_before.isoformat()
        with suppress(BrokenPipeError):  # it has exited
            print(json.dumps({"keys": list(work.keys), "retry_before": before}), file=self._stdin, flush=True)

    def has_exited(self) -> bool:
        return self._process.poll() is not None

    def close(self) -> None:
        """End the process and wait for its exit."""
        with suppress(BrokenPipeError):
            self._stdin.close()  # type: ignore[union-attr]
        self._process.wait()


def main(stage: str) -> None:
    reset_signals()
    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    import_module(DEFINITIONS)
    if not (line := sys.stdin.readline()):
        return
    Thread(target=_exit_with_owner, daemon=True).start()
    settings, request = Settings(), json.loads(line)
    before = request["retry_before"] and datetime.fromisoformat(request["retry_before"])
    with suppress(KeyboardInterrupt), open_instance(settings) as instance:
        work = Work(instance, settings, Lake(Home.at(settings.home)), request["keys"], before)
        run_batches(work, lambda: frozenset([stage]))


def _exit_with_owner() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main(sys.argv[1])
