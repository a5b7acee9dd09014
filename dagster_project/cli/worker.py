"""The commands `worker` and `workers`: engines on other machines, for a service."""

from __future__ import annotations

from typing import TextIO

import click

from dagster_project.cli.context import examples, log_to_screen, read_settings


@click.command(
    epilog=examples(
        "podlake worker --server https://podlake.example.org --token-file /etc/podlake/token",
        "podlake worker --server http://10.0.0.5:8000 --gpus 0,1 --languages en,de --once",
    )
)
@click.option("--server", envvar="PODLAKE_SERVER", required=True, help="The service's URL, as `podlake serve` has it.")
@click.option("--token", envvar="PODLAKE_WORKER_TOKEN", help="The worker's token. Better in the variable or a file.")
@click.option("--token-file", type=click.File("r"), help="A file with the token.")
@click.option("--gpus", help="Devices: `all`, `none`, or numbers such as `0,1`. Default: PODLAKE_GPUS.")
@click.option("--languages", default="", help="Take only jobs of these languages: `en,de`. Default: all.")
@click.option("--once", is_flag=True, help="End when there is no job.")
def worker(
    server: str,
    token: str | None,
    token_file: TextIO | None,
    gpus: str | None,
    languages: str,
    once: bool,
) -> None:
    """Run engines for a service on this machine, which needs no access to its lake.

    The service runs with PODLAKE_ENGINE_HOST=workers. An administrator makes the token there: `podlake keys add NAME
    --role operator --scope work`. Its name is the worker's. Audio and waveforms are kept in PODLAKE_CACHE during the
    work. Ctrl-C gives the jobs back and ends.
    """
    import logging
    import signal
    import socket
    from importlib.metadata import version
    from threading import Event

    from partitions.languages import normalise_language
    from resources.engines.devices import CPU, visible
    from resources.workers.connection import GatewayConnection, Machine, Refused
    from resources.workers.loop import WorkerSettings, run_worker

    settings = read_settings()
    if not server.lower().startswith(("http://", "https://")):
        raise click.BadParameter(f"{server!r} is no URL; give one such as http://{server}", param_hint="--server")
    secret = token_file.read().strip() if token_file else token
    if not secret:
        raise click.UsageError("Give the worker's token: PODLAKE_WORKER_TOKEN, or --token-file.")
    try:
        devices = visible(settings.gpus if gpus is None else gpus)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--gpus") from error
    wanted = [tag.strip() for tag in languages.split(",") if tag.strip()]
    known = {tag: normalise_language(tag) for tag in wanted}
    if unknown := [tag for tag, language in known.items() if language is None]:
        raise click.BadParameter(f"{unknown[0]!r} names no language; use a tag such as `en`.", param_hint="--languages")
    log_to_screen()
    logging.getLogger("httpx").setLevel(logging.WARNING)
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    machine = Machine(socket.gethostname(), version("podlake"), devices or (CPU,), tuple(filter(None, known.values())))
    click.echo(f"Takes jobs of {server} on {', '.join(machine.devices)}. Ctrl-C ends.")
    own = WorkerSettings(
        settings.cache_folder, int(settings.cache_gb * 1e9), settings.pythons, settings.engine_idle_s, is_once=once
    )
    try:
        run_worker(GatewayConnection.to(server, secret, machine, stop), devices, own)
    except Refused as error:
        raise click.ClickException(str(error)) from error


@click.command(epilog=examples("podlake workers"))
def workers() -> None:
    """List the workers that were connected in the last day, and the jobs that they have now."""
    from collections import Counter

    from dagster_project.commands.terminal import render
    from dagster_project.instance import database_url
    from resources.workers.jobs import JobQueue

    queue = JobQueue.at(database_url(read_settings()))
    busy = Counter(job.worker for job in queue.running())
    rows = [
        (one.name, one.host, one.version, ", ".join(one.devices), ", ".join(one.languages) or "all", one.seen_at,
         busy[one.name])
        for one in queue.workers()
    ]  # fmt: skip
    columns = ("worker", "host", "version", "devices", "languages", "seen (UTC)", "jobs")
    click.echo(
        render(columns, rows) if rows else "No worker has been connected. On a machine with a GPU: podlake worker"
    )
    counts = queue.counts()
    click.echo(f"{counts['queued']} jobs wait, {counts['leased']} are at workers.")


COMMANDS = (worker, workers)
