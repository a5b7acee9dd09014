"""Commands for operators: stack, backup, restore. Each imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

import click

from dagster_project.cli.context import examples, read_settings


@click.command(
    epilog=examples(
        "podlake backup /mnt/backups/podlake",
        "podlake backup s3://backups/podlake --keep 14",
        "podlake backup s3://backups/podlake --verify",
    )
)
@click.argument("place")
@click.option("--keep", type=click.IntRange(min=1), help="Remove all but so many snapshots, and what only they need.")
@click.option("--verify", is_flag=True, help="Make no backup: read all bytes of a snapshot and compare their hashes.")
@click.option("--snapshot", help="The snapshot to verify. Default: the newest.")
def backup(place: str, keep: int | None, verify: bool, snapshot: str | None) -> None:
    """Copy the home and all databases to PLACE: a folder, or s3://bucket/prefix.

    Runs may go on. What PLACE has already is not copied again. The waveform cache, parts of downloads, the search index
    and the logs of runs are not copied.
    """
    from dagster_project.commands import backup as command
    from resources.backup.store import BackupStore
    from resources.lake.home import Home

    store = BackupStore(Home.at(place))
    if verify:
        chosen = store.snapshot(snapshot)
        damage = list(store.damage(chosen))
        for line in damage:
            click.echo(line)
        click.echo(
            f"{chosen.name}: {len(chosen.entries)} files, {chosen.bytes / 1e6:.1f} MB, {len(damage)} damaged or missing."
        )
        if damage:
            raise SystemExit(1)
        return
    made, files, new_bytes = command.back_up(read_settings(), place, lambda line: click.echo(line, err=True))
    click.echo(
        f"{place}: snapshot {made.name}, {len(made.entries)} files, {made.bytes / 1e6:.1f} MB; "
        f"{files} files, {new_bytes / 1e6:.1f} MB are new."
    )
    if keep:
        old, unnamed = store.keep(keep)
        click.echo(f"{old} older snapshots are removed, and {unnamed} files that only they had.")


@click.command(
    epilog=examples(
        "PODLAKE_HOME=/srv/podlake podlake restore /mnt/backups/podlake",
        "podlake restore s3://backups/podlake --snapshot 20261127T053000123456",
    )
)
@click.argument("place")
@click.option("--snapshot", help="Default: the newest.")
@click.option("--force", is_flag=True, help="Replace users, keys, jobs and requests that the database has now.")
def restore(place: str, snapshot: str | None, force: bool) -> None:
    """Restore a backup into an empty PODLAKE_HOME and DAGSTER_HOME.

    Stop the daemon first. Runs that were in progress during the backup are failed and retried when the daemon starts.
    """
    from dagster_project.commands import backup as command

    settings = read_settings()
    made = command.restore(settings, place, snapshot, lambda line: click.echo(line, err=True), replace_service=force)
    click.echo(
        f"{settings.home}: restored from snapshot {made.name}, {len(made.entries)} files, {made.bytes / 1e6:.1f} MB."
    )


@click.command(epilog=examples("podlake stack", "PODLAKE_GPUS=all podlake stack --port 8080"))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address of the service; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port of the service.")
def stack(host: str, port: int) -> None:
    """Run everything on this machine until Ctrl-C: PostgreSQL, Dagster's daemon, the service, and a worker.

    PostgreSQL is a cluster of its own below the home, for which Debian's package `postgresql` is enough; no other user of
    the machine can connect to it. Engines run in the daemon's runs; with PODLAKE_ENGINE_HOST=workers, in a worker.
    """
    from dagster_project.commands.stack import run_stack

    if code := run_stack(read_settings(), host, port, click.echo):
        raise SystemExit(code)


COMMANDS = (
    stack,
    backup,
    restore,
)
