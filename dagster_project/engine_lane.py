"""The engines' lane: a process of its own, started and ended by `podlake run`.

It loads while feeds are polled, is told the episodes in a line of JSON, and ends when nothing is left of them, or when
its standard input closes: because its owner lets go, or has died.
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

from dagster_project.instance import open_instance
from dagster_project.lanes import ALL_STAGES, CPU_STAGES, ENGINE_STAGES, Work, work_off
from dagster_project.settings import Settings
from pipeline.run_process import fail_orphaned_runs
from resources.lake.home import Home
from resources.lake.lake import Lake
from speech.signals import reset_signals

log = logging.getLogger("podlake")


class EngineLane:
    """The owner's end."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Let it load while there is no work yet."""
        command = [sys.executable, "-m", "dagster_project.engine_lane"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)

    def begin(self, work: Work) -> None:
        """Say what is to be done; start it where that has not happened."""
        if self._process is None:
            self.start()
        assert self._process
        assert self._process.stdin
        with suppress(BrokenPipeError):  # it has died: `stages_left` says so
            before = work.retry_before and work.retry_before.isoformat()
            self._process.stdin.write(json.dumps({"keys": list(work.keys), "retry_before": before}) + "\n")
            self._process.stdin.flush()

    def stages_left(self, work: Work) -> frozenset[str]:
        """The owner's stages: all but the engines'; once the lane's process has ended, in whatever way, all of them."""
        if self._process and self._process.poll() is None:
            return CPU_STAGES
        fail_orphaned_runs(work.instance)
        return ALL_STAGES

    def close(self) -> None:
        """End it, and wait until it has ended."""
        if self._process and self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()


def main() -> None:
    reset_signals()
    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    log.setLevel(logging.INFO)
    import_module("dagster_project.definitions")
    told = sys.stdin.readline()
    if told:
        Thread(target=_end_with_owner, daemon=True).start()
        settings = Settings()
        work = json.loads(told)
        before = work["retry_before"] and datetime.fromisoformat(work["retry_before"])
        with suppress(KeyboardInterrupt), open_instance(settings) as instance:
            lake = Lake(Home.at(settings.home))
            work_off(Work(instance, settings, lake, work["keys"], before), lambda: ENGINE_STAGES)


def _end_with_owner() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()
