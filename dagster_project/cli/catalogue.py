"""Commands of the catalogue: what leaves it, and what it is exchanged with. Each imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

from pathlib import Path

import click

from dagster_project.cli.context import log_to_screen, read_settings, require_feeds


@click.command(epilog="\b\npodlake forget my-show-20260102-1a2b3c4d --dry-run\npodlake forget my-show")
@click.argument("names", nargs=-1, required=True, metavar="FEED|EPISODE...")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def forget(names: tuple[str, ...], dry_run: bool, yes: bool) -> None:
    """Remove every byte of feeds or episodes: audio, rows, exports, lessons made of them, and Dagster's events.

    A poll does not list them again. Backups and older versions of objects in a bucket are not touched.
    """
    from dagster_project.build_resources import build_resources
    from dagster_project.commands import forget as command
    from dagster_project.commands.add import register_feeds
    from dagster_project.instance import database_url, open_instance

    settings = read_settings()
    resources = build_resources(settings)
    plan = command.plan(resources, settings.cache_folder, names)
    click.echo(command.summary(plan))
    if dry_run:
        return
    if not yes:
        click.confirm("This cannot be undone. Remove all of it?", abort=True)
    with open_instance(settings) as instance:
        command.forget(instance, resources, settings.cache_folder, database_url(settings), plan)
    if plan.feeds:
        register_feeds(settings)
    click.echo("Removed.")


@click.command("export-catalogue", epilog="\b\npodlake export-catalogue catalogue.jsonl")
@click.argument("output", type=click.Path(dir_okay=False, writable=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), help="Default: by the suffix.")
@click.option("--episodes", is_flag=True, help="Also list the audio of feeds that are polled.")
@click.option("--with-credentials", is_flag=True, help="Write passwords and tokens of URLs into the list.")
def export_catalogue(output: Path, form: str | None, episodes: bool, with_credentials: bool) -> None:
    """Write the feeds and the added audio as a list that `podlake add` reads.

    Feeds and audio whose URLs contain credentials are left out without --with-credentials.
    """
    from dagster_project.commands.export_catalogue import export_catalogue as export
    from resources.lake.catalogue import Catalogue
    from resources.lake.home import Home
    from resources.lake.lake import Lake

    catalogue = Catalogue(Lake(Home.at(read_settings().home)))
    form = form or ("csv" if output.suffix.lower() == ".csv" else "jsonl")
    made = export(catalogue, output, form, with_episodes=episodes, with_credentials=with_credentials)
    click.echo(f"{made.lines} lines written to {output}")
    if made.left_out:
        shown = ", ".join(made.left_out[:10]) + (", …" if len(made.left_out) > 10 else "")
        why = "are not known any more" if with_credentials else "--with-credentials writes them"
        click.echo(f"{len(made.left_out)} left out, as their URLs contain credentials ({why}): {shown}", err=True)


@click.command(epilog="\b\npodlake refresh\npodlake refresh my-show")
@click.argument("feeds", nargs=-1, metavar="[FEED]...")
def refresh(feeds: tuple[str, ...]) -> None:
    """Poll feeds now; without names all of them. `podlake run` then processes what is new.

    Exit status: 1 if a feed could not be polled; the table has the reason.
    """
    from dagster_project.commands.refresh import refresh as poll
    from dagster_project.commands.terminal import render
    from dagster_project.instance import open_instance
    from resources.lake.home import Home
    from resources.lake.lake import Lake

    log_to_screen()
    settings = read_settings()
    require_feeds(settings, feeds)
    with open_instance(settings) as instance:
        rows = poll(instance, settings, Lake(Home.at(settings.home)), feeds)
    click.echo(
        render(("feed", "episodes", "new", "failed because"), rows) if rows else "There is no feed: podlake add."
    )
    if any(new is None for _, _, new, _ in rows):
        raise SystemExit(1)


@click.command(epilog="\b\npodlake remove my-show\npodlake remove --undo my-show")
@click.argument("names", nargs=-1, required=True, metavar="FEED|EPISODE...")
@click.option("--undo", is_flag=True, help="Take removed feeds or episodes back into work.")
def remove(names: tuple[str, ...], undo: bool) -> None:
    """Stop polling feeds, or processing episodes. Rows and audio stay; `podlake forget` deletes them."""
    from dagster_project.commands import remove as command
    from dagster_project.commands.add import register_feeds
    from dagster_project.instance import open_instance
    from resources.lake.catalogue import Catalogue
    from resources.lake.home import Home
    from resources.lake.lake import Lake

    settings = read_settings()
    catalogue = Catalogue(Lake(Home.at(settings.home)))
    with open_instance(settings) as instance:
        if undo:
            command.undo(instance, catalogue, names)
            click.echo("Back in work: podlake run.")
        else:
            count = command.remove(instance, catalogue, names)
            click.echo(f"{count} episodes were taken out of work. `podlake remove --undo` takes them back.")
    register_feeds(settings)


@click.command(epilog="\b\nPODLAKE_KEEP_AUDIO_DAYS=30 podlake retention --dry-run")
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
def retention(dry_run: bool) -> None:
    """Remove audio of complete episodes, as PODLAKE_KEEP_AUDIO_DAYS, _GB and PODLAKE_AUDIO_COPY say. Rows stay.

    The schedule `retention` does this daily. A new materialization of `audio` fetches audio again.
    """
    from dagster_project.commands import retention as command
    from dagster_project.in_process import materialize
    from dagster_project.instance import open_instance
    from resources.lake.home import Home
    from resources.lake.lake import Lake

    settings = read_settings()
    lake = Lake(Home.at(settings.home))
    with open_instance(settings) as instance:
        chosen = command.planned(instance, settings, lake)
        click.echo("\n".join(command.lines(settings, chosen)))
        if dry_run or not chosen:
            return
        materialize(instance, "audio_retention")
        left = len(command.planned(instance, settings, lake))
    click.echo(f"{len(chosen) - left} files are removed.")
    if left:
        raise click.ClickException(f"{left} files stay. The run of audio_retention in `podlake ui` says why.")


@click.command("search-feeds", epilog="\b\npodlake search-feeds night vale")
@click.argument("words", nargs=-1, required=True, metavar="NAME...")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True)
def search_feeds(words: tuple[str, ...], limit: int) -> None:
    """Find feeds by name, in Apple's directory and with PODLAKE_PODCASTINDEX_KEY and _SECRET in PodcastIndex."""
    from dagster_project.build_resources import fetch_policy
    from dagster_project.commands.search_feeds import search_feeds as search
    from dagster_project.commands.terminal import render

    settings = read_settings()
    found, problems = search(settings, fetch_policy(settings), " ".join(words), limit=limit)
    if found:
        rows = [(feed.title, feed.author, feed.episodes, feed.url) for feed in found]
        click.echo(render(("title", "author", "episodes", "URL"), rows))
        click.echo("\nNext: podlake add URL")
    elif not problems:
        click.echo("No feed has this name.")
    if problems:
        raise click.ClickException("\n".join(problems))


COMMANDS = (export_catalogue, forget, refresh, remove, retention, search_feeds)
