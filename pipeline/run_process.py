"""Which process executes a run: a tag on the run names it, so that a run whose process has exited can be failed."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import dagster as dg

from pipeline.dagster_internals import UNFINISHED

PROCESS_TAG = "podlake/process"
"""host:pid:start time of the process. A pid alone may be used again."""

UNTAGGED_LIMIT_S = 180.0
"""A stage tags its run as soon as it starts. A run without a tag after this time was killed before that."""

_PROC = Path("/proc")
_PARTITION_TAGS = {"dagster/asset_partition_range_start", "dagster/partition"}


def tag_process(instance: dg.DagsterInstance, run_id: str) -> None:
    """Tag the run with this process."""
    instance.add_run_tags(run_id, process_tags())


def process_tags() -> dict[str, str]:
    """The tag that names this process."""
    return {PROCESS_TAG: f"{socket.gethostname()}:{os.getpid()}:{_start_time(os.getpid())}"}


def fail_orphaned_runs(instance: dg.DagsterInstance) -> list[str]:
    """Fail the unfinished runs whose process on this machine has exited. Returns their ids.

    Dagster does not notice that the process of `podlake run`, or of a run whose code server was restarted, was
    killed. The run would occupy its pools until its time limit.
    """
    failed = []
    started = [status for status in UNFINISHED if status is not dg.DagsterRunStatus.QUEUED]
    for record in instance.get_run_records(dg.RunsFilter(statuses=started)):
        run = record.dagster_run
        if not (has_exited(instance, run) or _was_killed_at_start(instance, record)):
            continue
        current = instance.get_run_by_id(run.run_id)
        if current and not current.is_finished:  # the run may have finished since it was listed
            # Slots exist only with the pool granularity `op`. They are released first: if this process is killed
            # in between, the run is still unfinished and is found again.
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            instance.report_run_failed(current, "The process of this run has exited: killed, or the machine restarted.")
            failed.append(run.run_id)
    return failed


def cancel_own_runs(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Record the end of the unfinished runs of this process, which is about to exit. Returns them."""
    runs = list(instance.get_runs(dg.RunsFilter(statuses=UNFINISHED, tags=process_tags())))
    for run in runs:
        instance.report_run_canceled(run, "podlake was interrupted. What has landed stays; the next run continues.")
    return runs


def has_exited(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Whether the run's process was on this machine and has exited."""
    host, _, process = _own_tag(instance, run).partition(":")
    pid, _, start_time = process.partition(":")
    return bool(pid) and host == socket.gethostname() and _start_time(int(pid)) != start_time


def has_ended(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether the run's process has exited, or Dagster has recorded the end of the run."""
    run = instance.get_run_by_id(run_id)
    return run is None or run.is_finished or has_exited(instance, run)


def _was_killed_at_start(instance: dg.DagsterInstance, record: dg.RunRecord) -> bool:
    """Whether a run of a stage has started and has not been tagged in time."""
    run = record.dagster_run
    if record.start_time is None or run.status is not dg.DagsterRunStatus.STARTED or _own_tag(instance, run):
        return False
    return bool(_PARTITION_TAGS & run.tags.keys()) and time.time() - record.start_time > UNTAGGED_LIMIT_S


def _own_tag(instance: dg.DagsterInstance, run: dg.DagsterRun) -> str:
    """The run's process tag. A retried run begins with a copy of its parent's tags, which does not count."""
    tag = run.tags.get(PROCESS_TAG, "")
    parent = instance.get_run_by_id(run.parent_run_id) if tag and run.parent_run_id else None
    return "" if parent and parent.tags.get(PROCESS_TAG) == tag else tag


def _start_time(pid: int) -> str | None:
    """When the process started, in the system's notation; None if there is no such process."""
    return _start_time_of_proc(pid) if (_PROC / "self").exists() else _start_time_of_ps(pid)


def _start_time_of_proc(pid: int) -> str | None:
    """Linux: field 22 of /proc/<pid>/stat, in clock ticks since boot. Field 3 marks a zombie, which has exited."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def _start_time_of_ps(pid: int) -> str | None:
    """macOS: the date to a second, independent of the caller's locale and time zone."""
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    environment = {**os.environ, "LC_ALL": "C", "TZ": "UTC"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
