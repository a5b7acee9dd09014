"""The command `forget` of podcasts, lessons and videos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dagster_project.cli.context import examples, read_settings

if TYPE_CHECKING:
    from dagster_project.commands.forget_requested import Kind

_HELP = """Remove every byte of a {name}: its request, files, rows, and Dagster's runs and events.

Backups and older versions of objects in a bucket are not touched."""


def forget_command(name: str, key: str) -> click.Command:
    """`podlake NAME forget`."""

    @click.command("forget", help=_HELP.format(name=name), epilog=examples(f"podlake {name} forget {key} --dry-run"))
    @click.argument("key", metavar="ID")
    @click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    def forget(key: str, dry_run: bool, yes: bool) -> None:
        _forget(name, key, dry_run=dry_run, yes=yes)

    return forget


def _forget(name: str, key: str, *, dry_run: bool, yes: bool) -> None:
    from dagster_project.build_resources import build_resources
    from dagster_project.commands.forget_requested import forget
    from dagster_project.instance import database_url, open_instance

    settings, kind = read_settings(), _kind(name)
    resources = build_resources(settings)
    with open_instance(settings) as instance:
        if not kind.is_known(instance, resources, key):
            raise click.ClickException(f"There is no requested {name} {key}. `podlake {name} list` shows them.")
        removal = kind.plan(resources, settings.cache_folder, key)
        click.echo(removal.summary())
        if dry_run:
            return
        if not yes:
            click.confirm("This cannot be undone. Remove all of it?", abort=True)
        forget(instance, resources, database_url(settings), kind, removal)
    click.echo("Removed.")


def _kind(name: str) -> Kind:
    from dagster_project.commands import forget_requested

    return {"podcast": forget_requested.PODCAST, "lesson": forget_requested.LESSON, "video": forget_requested.VIDEO}[
        name
    ]
