"""Commands about this machine: doctor, engines, ui, env. Each imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from dagster_project.cli.context import (
    examples,
    read_settings,
)


@click.command(epilog=examples("podlake doctor", "PODLAKE_DIARIZER=nemo PODLAKE_TRANSCRIBER=nemo podlake doctor"))
def doctor() -> None:
    """Check versions, engines, data folder and Dagster, and say what to install or correct."""
    from dagster_project.commands import doctor as checks

    is_bad = False
    for finding in checks.findings(read_settings()):
        click.echo(str(finding))
        is_bad |= finding.mark == checks.BAD
    if is_bad:
        raise SystemExit(1)


@click.command(epilog=examples("podlake engines", "podlake engines stop"))
@click.argument("action", type=click.Choice(["list", "stop"]), default="list")
def engines(action: str) -> None:
    """List the processes that keep engines loaded, with what they work on; or stop them.

    A stopped process frees its memory. A run that uses it starts another one for the rest of its batch.
    """
    from dagster_project.commands.engines import processes_text
    from speech.engines import hosts

    if action == "list":
        click.echo(processes_text(hosts.statuses()))
        return
    stopped = hosts.stop()
    click.echo(f"{len(stopped)} processes are stopped: {', '.join(str(one['pid']) for one in stopped) or 'none ran'}.")


@click.command(epilog=examples("podlake ui --port 3001"))
@click.option("--port", type=click.IntRange(1, 65534), default=3000, show_default=True)
def ui(port: int) -> None:
    """Start Dagster's web UI and daemon on this machine, and the corpus site at the next port. Ctrl-C stops all."""
    import subprocess

    from dagster_project.instance import open_instance
    from speech.signals import reset_signals

    with open_instance(read_settings()):  # the daemon takes the limits of pools from its databases
        pass
    # Runs link to the site that is started here, unless a setting names another.
    os.environ.setdefault("PODLAKE_SITE_URL", f"http://127.0.0.1:{port + 1}")
    reset_signals()  # in the background of a shell, Dagster would ignore SIGTERM
    site = ["site", "--port", str(port + 1), "--ui-url", f"http://127.0.0.1:{port}", "--parent", str(os.getpid())]
    subprocess.Popen([sys.executable, "-m", "dagster_project.cli", *site])
    # `dg dev`, to which this command points, needs another package and starts the same processes.
    no_hint = ["-W", "ignore:Function `dev_command` is superseded"]
    arguments = ["-m", "dagster", "dev", "-m", "dagster_project.definitions", "-h", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, [sys.executable, *no_hint, *arguments])  # noqa: S606 - Ctrl-C and the exit code are Dagster's


@click.command(epilog=examples('eval "$(.venv/bin/podlake env)"'))
def env() -> None:
    """Print the shell variables that Dagster's own commands need."""
    import shlex

    from dagster_project.instance import EVENT_BATCH, prepare_home

    settings = read_settings()
    exports = {
        "PODLAKE_HOME": settings.home if "://" in settings.home else str(Path(settings.home).absolute()),
        "DAGSTER_HOME": str(prepare_home(settings)),
        "DAGSTER_MODULE_NAME": "dagster_project.definitions",
        EVENT_BATCH: os.environ[EVENT_BATCH],
    }
    for name, value in exports.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"')


COMMANDS = (
    doctor,
    engines,
    ui,
    env,
)
