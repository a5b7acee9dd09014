"""`podlake ui` on a new home starts Dagster's services without warnings, and ends at SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from dagster_project.settings import ROOT


def test_it_starts_without_warnings_and_ends_at_sigterm_in_the_background_of_a_shell(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    environment |= {"PODLAKE_HOME": str(tmp_path / "home"), "PYTHONUNBUFFERED": "1"}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "dagster_project.cli", "ui", "--port", str(port)]
    said: list[str] = []
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        signal.signal(signal.SIGINT, before)
        assert process.stdout
        waited_for = {
            "Serving dagster-webserver",
            "The corpus site is at",
            "Checking for new runs for sensor: dead_runs",
        }
        for line in process.stdout:
            said.append(line)
            waited_for = {words for words in waited_for if words not in line}
            if not waited_for:
                process.send_signal(signal.SIGTERM)
                break
        process.stdout.read()
        process.wait(timeout=120)
    assert not waited_for, "".join(said)
    assert [line for line in said if "warning" in line.lower()] == []
