"""Which process works on a run, written on the run: so that a dead one can be told from a slow one."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import dagster as dg

PROCESS_TAG = "podlake/process"
"""host:pid:start time of the process (a pid alone may be used again)."""

_PROC = Path("/proc")

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def tag_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Write this process on the run."""
    instance.add_run_tags(run_id, signature())


def signature() -> dict[str, str]:
    """The tag that says which process we are."""
    return {PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"}


def fail_orphaned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fail the unfinished runs whose process on this machine is gone, and free their pool slots.

    Dagster's launcher does not notice that a process was killed, and of `podlake run` it knows nothing: the run would
    stand unfinished until its time is up, and the slot that it holds would block every later one.
    """
    buried = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        if not is_dead(instance, run):
            continue
        again = instance.get_run_by_id(run.run_id)
        if again and not again.is_finished:  # it may have ended well, just now
            # The slots first: whoever is killed here leaves a run that is found again.
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            instance.report_run_failed(again, "Its process is gone: killed, or the machine was restarted.")
            buried.append(run.run_id)
    return buried


def is_dead(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the run's process was one of this machine, and is gone."""
    host, _, process = _signed(instance, run).partition(":")
    pid, _, started = process.partition(":")
    return bool(pid) and host == socket.gethostname() and _started(int(pid)) != started


def _signed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """The run's own signature: a run that is tried again begins with a copy of the dead one's tags."""
    signed = run.tags.get(PROCESS_TAG, "")
    parent = instance.get_run_by_id(run.parent_run_id) if signed and run.parent_run_id else None
    return "" if parent and parent.tags.get(PROCESS_TAG) == signed else signed


def _started(pid: int) -> str | None:
    """When the process started, in whatever words the system has for it; None where there is no such process."""
    return _started_by_proc(pid) if (_PROC / "self").exists() else _started_by_ps(pid)


def _started_by_proc(pid: int) -> str | None:
    """Linux: field 22 of /proc/<pid>/stat, clock ticks since boot. A zombie, which field 3 tells, is gone."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def _started_by_ps(pid: int) -> str | None:
    """macOS: the date, to a second, in the same words for everybody who asks."""
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    plainly = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    said = subprocess.run(command, env=plainly, capture_output=True, text=True, check=False)
    return said.stdout.strip() or None
