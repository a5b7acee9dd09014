"""Polls many feeds, in several processes where there are several batches.

`python -m dagster_project.polling` is such a process. It reads a batch of keys from each line of its input, polls the
feeds, and answers with a line. It ends with its input, and with the process that started it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from queue import Empty, SimpleQueue

import dagster as dg

from dagster_project.in_process import materialize_range, run_batch
from dagster_project.instance import POLL_RUNS, open_instance
from dagster_project.planning import move_scattered
from pipeline.planner import Batch
from speech.errors import PodlakeError
from speech.signals import end_with_parent

STOP_S = 4.0
"""Until a process that was asked to end is killed."""


def poll_batches(instance: dg.DagsterInstance, batches: Sequence[Batch]) -> None:
    """Run planned batches of polls: one in this process, several in processes of their own.

    Raises `PodlakeError` if such a process ends early, and `KeyboardInterrupt` if interrupted.
    """
    n_processes = min(POLL_RUNS, len(batches))
    if n_processes < 2:
        for batch in batches:
            run_batch(instance, batch)
        return
    move_scattered(instance, batches)
    waiting: SimpleQueue[Batch] = SimpleQueue()
    for batch in batches:
        waiting.put(batch)
    # The processes end before the threads are waited for, which read from them.
    with ThreadPoolExecutor(n_processes) as threads, ExitStack() as started:
        pollers = [started.enter_context(_poller()) for _ in range(n_processes)]
        for ended in as_completed([threads.submit(_poll, poller, waiting) for poller in pollers]):
            ended.result()


def _poll(poller: subprocess.Popen[str], waiting: SimpleQueue[Batch]) -> None:
    assert poller.stdin, "it was started with pipes"
    assert poller.stdout, "it was started with pipes"
    while True:
        try:
            batch = waiting.get_nowait()
        except Empty:
            return
        with suppress(BrokenPipeError):  # it has ended, and gives no answer
            poller.stdin.write(json.dumps([batch.stage, *batch.keys]) + "\n")
            poller.stdin.flush()
        if not poller.stdout.readline():
            raise PodlakeError(
                f"A process that polls feeds has ended with the status {poller.wait()}; its messages are above. "
                "Start the command again: it goes on with the feeds that were not polled."
            )


@contextmanager
def _poller() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "dagster_project.polling", str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as poller:
        try:
            yield poller
        finally:
            poller.terminate()
            try:
                poller.wait(STOP_S)
            except subprocess.TimeoutExpired:
                poller.kill()
            assert poller.stdin, "it was started with pipes"
            with suppress(BrokenPipeError):  # a batch that it did not read
                poller.stdin.close()


def main() -> None:
    from dagster_project.cli.context import log_to_screen
    from dagster_project.settings import Settings

    end_with_parent(int(sys.argv[1]))
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    log_to_screen()
    with open_instance(Settings()) as instance:
        for line in sys.stdin:
            stage, *keys = json.loads(line)
            materialize_range(instance, stage, keys)
            answers.write("polled\n")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
