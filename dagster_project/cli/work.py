"""Commands that put episodes to work: add, run, retry, reopen. Each imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from itertools import islice
from typing import Literal

import click

from dagster_project.cli.context import (
    examples,
    lake_of,
    log_to_screen,
    read_settings,
    require_feeds,
)

_SHOWN_FEEDS = 10


@click.command(
    epilog=examples(
        "podlake add https://example.org/feed.xml --language de",
        "podlake add subscriptions.opml",
        'podlake add ./interview.mp3 --title "Interview"',
        "podlake add episodes.jsonl",
    )
)
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--language", help="Language of the audio, such as en or zh; overrides the feed's.")
@click.option("--title", help="Title of the feed or file; its name derives from it. Only with one TARGET.")
@click.option("--priority", default=0, help="Feeds of a higher priority are processed first.", show_default=True)
@click.option("--no-check", is_flag=True, help="Add the URL as a feed without fetching it.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "txt", "opml"]),
    help="Format of a list. Default: by its suffix; jsonl for -.",
)
@click.option(
    "--kind", type=click.Choice(["feed", "audio"]), help="What a list names. Default: by the line, else by the URL."
)
def add(
    targets: tuple[str, ...],
    language: str | None,
    title: str | None,
    priority: int,
    no_check: bool,
    form: str | None,
    kind: Literal["feed", "audio"] | None,
) -> None:
    """Subscribe to feeds, or add audio files.

    TARGET is the URL or the path of an RSS feed, of an OPML list of feeds, or of audio; or the path of a list that ends
    in .jsonl, .csv or .txt, or - for standard input. A line has a url and optionally kind, language, title, guid and
    date. The URLs of a list are not opened.
    """
    from dagster_project.build_resources import fetch_policy
    from dagster_project.commands import bulk_import as bulk
    from dagster_project.commands.add import add as add_targets
    from dagster_project.commands.add import register_feeds
    from resources.lake.catalogue import Catalogue

    if title and len(targets) > 1:
        raise click.UsageError("--title names one target; several are given.")
    settings = read_settings()
    catalogue = Catalogue(lake_of(settings))
    lists = [target for target in targets if bulk.is_list(target, form)]
    targets = tuple(target for target in targets if target not in lists)
    for name in lists:
        click.echo(bulk.import_file(catalogue, name, form, kind=kind, language=language).summary())
    if lists:
        register_feeds(settings)
    try:
        added = add_targets(
            catalogue,
            targets,
            fetch_policy(settings),
            language=language,
            title=title,
            check=not no_check,
            priority=priority,
        )
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    for word, entries in (("added", added.new), ("already present", added.present)):
        for entry in entries:
            click.echo(f"{word}: {'  '.join(filter(None, (entry.feed_id, entry.title, entry.url)))}")
    if added.new:
        register_feeds(settings)
        click.echo("\nNext: podlake run processes the episodes; podlake ui opens Dagster's web UI.")
    if added.refused:
        raise click.ClickException("\n".join(added.refused))


@click.command(epilog=examples("podlake run", "podlake run --feed my-show --newest 3"))
@click.option("--feed", "feeds", multiple=True, help="Only this feed, by its name in podlake list; may be repeated.")
@click.option("--newest", type=click.IntRange(1), help="Only this number of newest episodes per feed.")
@click.option("--failed-too", is_flag=True, help="Also retry failed episodes that are not due for a retry.")
def run(feeds: tuple[str, ...], newest: int | None, failed_too: bool) -> None:
    """Run every stage for every episode in this process; an interrupted run continues where it stopped.

    At the end it lists the feeds that could not be polled, with the reason. Exit status: 1 if no feed could be polled and
    no episode was due, 130 if it is interrupted, else 0: failed episodes are in podlake status. (podlake refresh: 1 if
    any feed could not be polled.)
    """
    import signal

    from dagster_project.build_resources import build_resources
    from dagster_project.instance import open_instance
    from dagster_project.run import Selection
    from dagster_project.run import run as run_all

    log_to_screen()
    settings = read_settings()
    given = build_resources(settings)
    require_feeds(settings, feeds)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with open_instance(settings) as instance:
            found = run_all(instance, settings, given["lake"], given["engines"], Selection(feeds, newest, failed_too))
    except KeyboardInterrupt:
        click.echo("Interrupted. What has landed stays; `podlake run` continues.", err=True)
        sys.stderr.flush()
        os._exit(130)  # without waiting for the threads of batches: their runs have been canceled
    _tell_not_polled(found.not_polled)
    if found.is_failure:
        raise click.ClickException("No feed could be polled, and no episode is due.")


def _tell_not_polled(feeds: Mapping[str, str]) -> None:
    """A line for each, as many as fit on a screen."""
    if feeds:
        click.echo(f"{len(feeds)} {'feed' if len(feeds) == 1 else 'feeds'} could not be polled:")
    for feed_id, reason in islice(feeds.items(), _SHOWN_FEEDS):
        click.echo(f"  {feed_id}: {reason}")
    if len(feeds) > _SHOWN_FEEDS:
        click.echo(f"  and {len(feeds) - _SHOWN_FEEDS} more: podlake refresh polls and lists them all.")


@click.command(
    epilog=examples(
        "podlake retry --error-class network",
        "podlake retry --stage transcript --stage diarization --feed my-show --here",
    )
)
@click.option("--stage", "stages", multiple=True, help="Only what failed at this stage; may be repeated.")
@click.option(
    "--error-class",
    "classes",
    multiple=True,
    help="Only failures of this class, as in podlake status; may be repeated.",
)
@click.option("--feed", "feeds", multiple=True, help="Only this feed; may be repeated.")
@click.option("--here", is_flag=True, help="Run in this process instead of requesting a backfill.")
def retry(stages: tuple[str, ...], classes: tuple[str, ...], feeds: tuple[str, ...], here: bool) -> None:
    """Retry failed episodes now, also permanent failures; without options all of them."""
    from assets.stages import STAGES
    from dagster_project.backfills import daemon_is_running
    from dagster_project.instance import open_instance
    from dagster_project.retry import bring_back, failed, retry_by_backfill, retry_here

    settings = read_settings()
    lake = lake_of(settings)
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        raise click.BadParameter(f"There is no stage {unknown[0]}. Choose among: {', '.join(STAGES)}.")
    require_feeds(settings, feeds)
    wanted = failed(lake.home, stages=stages, classes=classes, feeds=feeds)
    if not wanted:
        click.echo("No failure matches.")
        return
    for stage, keys in wanted.items():
        click.echo(f"{stage}: {len(keys)} to try again")
    with open_instance(settings) as instance:
        bring_back(instance, wanted)
        if here:
            log_to_screen()
            retry_here(instance, settings, lake, wanted)
            click.echo("`podlake run` runs the later stages.")
            return
        backfill_id = retry_by_backfill(instance, settings, lake, wanted)
        if backfill_id is None:
            click.echo("All of it is queued or running already.")
            return
        click.echo(f"Backfill {backfill_id} is requested, including all later stages.")
        if not daemon_is_running(instance):
            click.echo("Dagster's daemon is not running. Start it with `podlake ui` or `dagster-daemon run`.")


@click.command(epilog=examples("podlake reopen my-show-20260102-1a2b3c4d"))
@click.argument("keys", nargs=-1, required=True, metavar="EPISODE...")
def reopen(keys: tuple[str, ...]) -> None:
    """Bring archived episodes back to work, complete or failed, so that any stage can be made again."""
    from dagster_project.commands.reopen import reopen as reopen_episodes
    from dagster_project.instance import open_instance

    settings = read_settings()
    with open_instance(settings) as instance:
        landings = reopen_episodes(instance, lake_of(settings), keys)
    click.echo(f"{len(keys)} in work again, with {landings} landings: the last partitions of every asset in the UI.")
    click.echo("Make a stage again, for example of the first one:")
    click.echo(f"  dagster asset materialize -m dagster_project.definitions --select transcript --partition {keys[0]}")
    click.echo(
        "`podlake retry` repeats failed stages. Compaction archives an episode again if nothing lands for a day."
    )


COMMANDS = (
    add,
    run,
    retry,
    reopen,
)
