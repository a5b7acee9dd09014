"""Which process works on a run, written on the run: so that a dead one can be told from a slow one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import dagster as dg

PROCESS_TAG = "podlake/process"
"""host:pid:start time of the process (in clock ticks since boot: a pid alone may be used again)."""

_UNFINISHED = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def sign(instance: dg.DagsterInstance, run_id: str) -> None:
    """Write this process on the run."""
    instance.add_run_tags(run_id, {PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}"})


def bury_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fail the unfinished runs whose process on this machine is gone, and free their pool slots.

    Dagster's daemon does so for the runs that it launched itself; for those of `podlake run` and of
    `dagster asset materialize` nobody would, and a slot that a killed run holds blocks every later one.
    """
    buried = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        host, _, process = run.tags.get(PROCESS_TAG, "::").partition(":")
        pid, _, started = process.partition(":")
        if host == socket.gethostname() and pid and _started(int(pid)) != started:
            instance.report_run_failed(run, f"Its process ({pid}) is gone: killed, or the machine was restarted.")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            buried.append(run.run_id)
    return buried


def _started(pid: int) -> str | None:
    """Field 22 of /proc/<pid>/stat; None where there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]
