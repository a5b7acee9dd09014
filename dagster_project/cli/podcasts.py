"""Commands for podcasts that are made from scripts: podlake podcast submit, list, status, cancel, forget, run."""

from __future__ import annotations

import getpass
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dagster_project.cli.context import TextFile, examples, lake_of, log_to_screen, read_settings
from dagster_project.cli.forget_requested import forget_command

if TYPE_CHECKING:
    from dagster_project.podcasts import Status


@click.group(
    epilog=examples(
        'podlake podcast submit talk.txt --title "A talk"    ask for a podcast',
        "podlake podcast run                                make it here, without Dagster's daemon",
        "podlake podcast status studio-20261127-1a2b3c4d    see what became of it",
    )
)
def podcast() -> None:
    """Make podcasts from scripts."""


@podcast.command(epilog=examples("[S1] Welcome to the show.", "[S2] Thank you for having me."))
@click.argument("script", type=TextFile())
@click.option("--title", required=True, help="Title of the podcast.")
@click.option("--language", default="en", show_default=True, help="Language of the script, such as en or de.")
@click.option(
    "--seed", default=0, show_default=True, help="Another seed gives other samples, where a voice can do that."
)
@click.option("--user", default=None, help="Who asks; limits are for each user. Default: your name on this machine.")
@click.option("--key", default=None, help="An idempotency key: the same key gets the same answer, for a day.")
def submit(script: str, title: str, language: str, seed: int, user: str | None, key: str | None) -> None:
    """Ask for a podcast of SCRIPT, a text file; - is standard input.

    A turn begins with [S1] to [S4]. The sensor `requested_podcasts` starts the run while Dagster's daemon runs (`podlake
    ui`); `podlake podcast run` makes it without the daemon.
    """
    from dagster_project.build_resources import voices
    from dagster_project.instance import database_url, open_instance
    from dagster_project.podcasts import limits, open_requests
    from partitions.languages import normalise_language
    from resources.studio.ledger import Asked, Ledger

    settings = read_settings()
    known = normalise_language(language)
    if known is None:
        raise click.BadParameter(
            f"{language!r} names no language: use a tag such as en or de.", param_hint="--language"
        )
    asked = Asked(user or getpass.getuser(), script, title, known, seed)
    with open_instance(settings) as instance:
        lake = lake_of(settings)
        answer = Ledger(database_url(settings)).admit(
            asked, limits(settings), lambda own: open_requests(instance, lake, own), key=key,
            check_turns=voices(settings).check,
        )  # fmt: skip
    if not answer.is_admitted:
        raise click.ClickException(f"{answer.code}: {answer.message}")
    click.echo(f"{answer.podcast_id}  {answer.message}")


@podcast.command("list")
@click.option("--user", default=None, help="Only the requests of this user.")
@click.option("--newest", default=20, show_default=True, help="So many of the newest.")
def list_podcasts(user: str | None, newest: int) -> None:
    """List requested podcasts, the newest first."""
    from dagster_project.instance import database_url, open_instance
    from dagster_project.podcasts import statuses
    from resources.studio.ledger import Ledger

    settings = read_settings()
    with open_instance(settings) as instance:
        found = statuses(instance, lake_of(settings), Ledger(database_url(settings)).requests(user, most=newest))
    for one in found:
        click.echo(f"{one.request.podcast_id}  {one.state:10}  {one.request.user_id}  {one.request.title}")
    if not found:
        click.echo("No podcasts are requested. Ask for one: podlake podcast submit SCRIPT --title TITLE")


@podcast.command()
@click.argument("podcast_id", metavar="ID")
def status(podcast_id: str) -> None:
    """Show what became of a requested podcast."""
    from dagster_project.instance import database_url, open_instance
    from dagster_project.podcasts import statuses_in_queue, unfinished
    from resources.studio.ledger import Ledger

    settings = read_settings()
    with open_instance(settings) as instance:
        ledger = Ledger(database_url(settings))
        request = ledger.request(podcast_id)
        if request is None:
            raise _no_such(podcast_id)
        lake = lake_of(settings)
        _show(statuses_in_queue(instance, lake, [request], unfinished(lake, ledger, datetime.now(UTC)))[0])
    if files := _files(podcast_id):
        click.echo("\n".join(files))


@podcast.command()
@click.argument("podcast_id", metavar="ID")
def cancel(podcast_id: str) -> None:
    """Cancel a requested podcast. A finished one stays."""
    from dagster_project.instance import database_url, open_instance
    from dagster_project.podcasts import cancel as cancel_podcast
    from resources.studio.ledger import Ledger

    settings = read_settings()
    with open_instance(settings) as instance:
        found = cancel_podcast(instance, lake_of(settings), Ledger(database_url(settings)), podcast_id)
    if found is None:
        raise _no_such(podcast_id)
    _show(found)


podcast.add_command(forget_command("podcast", "studio-20261127-1a2b3c4d"))


@podcast.command()
def run() -> None:
    """Make the requested podcasts that are due, in this process."""
    from dagster_project.build_resources import build_resources
    from dagster_project.instance import open_instance
    from dagster_project.podcasts import run_due, statuses_in_queue, unfinished

    log_to_screen()
    settings = read_settings()
    resources = build_resources(settings)
    with open_instance(settings) as instance:
        made = run_due(instance, resources)
        lake, ledger = resources["lake"], resources["ledger"]
        requests = [one for one in map(ledger.request, made) if one]
        found = statuses_in_queue(instance, lake, requests, unfinished(lake, ledger, datetime.now(UTC)))
    for one in found:
        _show(one)
    if not made:
        click.echo("No requested podcast is due.")
    sys.exit(any(one.state != "completed" for one in found))


def _show(status: Status) -> None:
    parts = [f"{status.request.podcast_id}  {status.state}"]
    if status.position:
        parts.append(f"{status.position}. in the queue")
    if status.attempt:
        parts.append(f"attempt {status.attempt}")
    if status.stage:
        parts.append(f"at {status.stage}")
    click.echo(", ".join(parts))
    if status.error:
        click.echo(f"  {status.error}")
    if status.retry_at:
        click.echo(f"  The next attempt begins at {status.retry_at:%H:%M:%S} UTC.")


def _files(podcast_id: str) -> list[str]:
    from resources.lake.tables import PODCAST_AUDIO
    from resources.studio.files import FOLDER

    lake = lake_of(read_settings())
    rows = lake.rows(PODCAST_AUDIO, podcast_id)
    root = Path(lake.home.root) / FOLDER if lake.home.is_local else f"{lake.home.uri}/{FOLDER}"
    return [f"  {root}/{path}" for row in rows for path in (row.mp3_path, row.opus_path)]


def _no_such(podcast_id: str) -> click.ClickException:
    return click.ClickException(f"There is no requested podcast {podcast_id}. `podlake podcast list` shows them.")


COMMANDS = (podcast,)
