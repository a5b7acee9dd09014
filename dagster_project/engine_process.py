"""The second process of `podlake run`: it runs the engine stages, while its owner runs all others.

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

from dagster_project.batch_loop import ALL_STAGES, CPU_STAGES, ENGINE_STAGES, Work, run_batches
from dagster_project.in_process import DEFINITIONS
from dagster_project.instance import open_instance
from dagster_project.settings import Settings
from pipeline.run_process import fail_orphaned_runs
from resources.lake.home import Home
from resources.lake.lake import Lake
from speech.signals import reset_signals

log = logging.getLogger("podlake")


class EngineProcess:
    """The process as its owner sees it."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "dagster_project.engine_process"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
        self._stdin = self._process.stdin
        assert self._stdin

    def begin(self, work: Work) -> None:
        before = work.retry_before and work.retry_before.isoformat()
        with suppress(BrokenPipeError):  # it has exited, which `stages_left` notices
            print(json.dumps({"keys": list(work.keys), "retry_before": before}), file=self._stdin, flush=True)

    def stages_left(self, work: Work) -> frozenset[str]:
        """The stages of the owner: not the engine stages while the process runs, all stages once it has exited."""
        if self._process.poll() is None:
            return CPU_STAGES
        fail_orphaned_runs(work.instance)
        return ALL_STAGES

    def close(self) -> None:
        """End the process and wait for its exit."""
        with suppress(BrokenPipeError):
            self._stdin.close()  # type: ignore[union-attr]
        self._process.wait()


def main() -> None:
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
        run_batches(work, lambda: ENGINE_STAGES)


def _exit_with_owner() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
