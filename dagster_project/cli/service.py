"""Commands about the service for a team: serve, keys, users. Each imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from dagster_project.cli.context import examples, read_settings

if TYPE_CHECKING:
    from resources.accounts import Accounts, RoleName

_ROLES = click.Choice(["viewer", "operator", "admin"])


@click.command(epilog=examples("podlake serve", "ADMIN_USERNAME=ana ADMIN_PASSWORD=… podlake serve --host 0.0.0.0"))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 for all.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
def serve(host: str, port: int) -> None:
    """Serve the dashboard, the API, the corpus site and Dagster's UI with login and roles. See docs/service.md.

    Start Dagster's daemon beside it: it runs the schedules and sensors.
    """
    import importlib.util

    if importlib.util.find_spec("fastapi") is None:
        raise click.ClickException("This needs the extra `service`: pip install 'podlake[service]'")
    arguments = ["-m", "gateway", "--host", host, "--port", str(port)]
    os.execv(sys.executable, [sys.executable, *arguments])  # noqa: S606 - signals and the exit code are the server's


@click.group(epilog=examples("podlake keys add prometheus --scope metrics", "podlake keys revoke prometheus"))
def keys() -> None:
    """API keys of programs that use the service."""


@keys.command("add")
@click.argument("name")
@click.option("--role", type=_ROLES, default="viewer", show_default=True)
@click.option("--scope", "scopes", multiple=True, help="Limit the key to: read, submit, retry, forget, work, metrics, ui; may be repeated. Default: all that the role may do.")  # fmt: skip
def keys_add(name: str, role: RoleName, scopes: tuple[str, ...]) -> None:
    """Add a key and print it. It cannot be shown again."""
    click.echo(_accounts().add_key(name, role, scopes))


@keys.command("list")
def keys_list() -> None:
    """List the keys with their last use."""
    from dagster_project.commands.terminal import render

    rows = [
        (key.name, key.role, ", ".join(key.scopes) or "all", key.added_at, key.last_used_at or "never",
         key.revoked_at or "")
        for key in _accounts().all_keys()
    ]  # fmt: skip
    names = ("key", "role", "scopes", "added (UTC)", "last used (UTC)", "revoked (UTC)")
    click.echo(render(names, rows) if rows else "There are no keys. `podlake keys add NAME` adds one.")


@keys.command("revoke")
@click.argument("name")
def keys_revoke(name: str) -> None:
    """Refuse a key from now on."""
    _accounts().revoke_key(name)
    click.echo(f"{name} is revoked. A running service refuses it after 5 s.")


@click.group(epilog=examples("podlake users add ben --role operator", "podlake users remove ben"))
def users() -> None:
    """Users who log in with a password."""


@users.command("add")
@click.argument("name")
@click.option("--role", type=_ROLES, default="viewer", show_default=True)
@click.option("--email", default=None, help="Where notifications are sent. Default: the name, if it is an address.")
@click.option("--password", envvar="PODLAKE_PASSWORD", prompt=True, hide_input=True, confirmation_prompt=True)
def users_add(name: str, role: RoleName, email: str | None, password: str) -> None:
    """Add a user, or give them another role and password, which ends their sessions."""
    from resources.accounts import is_address

    if email and not is_address(email):
        raise click.BadParameter(f"{email!r} is no e-mail address.", param_hint="--email")
    accounts = _accounts()
    accounts.set_user(name, role, password)
    if email:
        accounts.set_address(name, email)
    click.echo(f"{name} can log in as {role}.")


@users.command("list")
def users_list() -> None:
    """List the users."""
    from dagster_project.commands.terminal import render

    rows = [(user.name, user.role, user.added_at) for user in _accounts().users()]
    click.echo(render(("user", "role", "added (UTC)"), rows) if rows else "There are no users.")


@users.command("remove")
@click.argument("name")
def users_remove(name: str) -> None:
    """Remove a user, which ends their sessions."""
    _accounts().remove_user(name)
    click.echo(f"{name} is removed.")


@users.command("hash")
@click.option("--password", envvar="PODLAKE_PASSWORD", prompt=True, hide_input=True, confirmation_prompt=True)
def users_hash(password: str) -> None:
    """Print the hash of a password, for ADMIN_PASSWORD."""
    from resources.accounts import password_hash

    click.echo(password_hash(password))


def _accounts() -> Accounts:
    from dagster_project.instance import database_url
    from resources.accounts import Accounts

    return Accounts.at(database_url(read_settings()))


COMMANDS = (
    serve,
    keys,
    users,
)
