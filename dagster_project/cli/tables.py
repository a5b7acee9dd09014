"""Commands that read the tables: list, status, sql, report, check. Each imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from dagster_project.cli.context import (
    examples,
    lake_of,
    read_settings,
    require_feeds,
)

FORMATS = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
"""Suffix of --output → format, unless --format is given."""


@click.command(
    "list", epilog=examples("podlake list", "podlake list --feed my-show --status failed --since 2026-01-01")
)
@click.option("--feeds/--episodes", "is_feeds", default=True, help="What to list.", show_default=True)
@click.option("--feed", help="Only the episodes of this feed.")
@click.option(
    "--status", type=click.Choice(["done", "failed", "waiting", "removed"]), help="Only episodes in this state."
)
@click.option("--language", help="Only episodes that declare this language.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Only episodes published on this day or later (UTC).")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Episodes to show, newest first.")
def list_(
    is_feeds: bool, feed: str | None, status: str | None, language: str | None, since: datetime | None, limit: int
) -> None:
    """List the feeds, or the newest episodes with their state. A choice of episodes lists episodes."""
    from dagster_project.commands import listing
    from dagster_project.commands.terminal import render

    settings = read_settings()
    home = lake_of(settings).home
    require_feeds(settings, [feed] if feed else [], with_removed=True)
    chosen = listing.Filter(feed, status, language, since.replace(tzinfo=UTC) if since else None)
    if is_feeds and chosen == listing.Filter():
        names, rows = listing.feeds(home)
    else:
        names, rows = listing.episodes(home, chosen, limit=limit)
    nothing = "Nothing yet: podlake add, then podlake run." if chosen == listing.Filter() else "No episode matches."
    click.echo(render(names, rows) if rows else nothing)


@click.command(epilog=examples("podlake duplicates --find", "podlake duplicates --feed my-show"))
@click.option("--feed", help="Only copies and repeated audio of this feed.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Rows of each list.")
@click.option("--find", is_flag=True, help="Search now for what is new. The schedule `duplicates` does so daily.")
def duplicates(feed: str | None, limit: int, find: bool) -> None:
    """List episodes with the audio of another one, and the ads, jingles and intros that recur in feeds."""
    from dagster_project.commands import duplicates as command
    from dagster_project.commands.terminal import render

    settings = read_settings()
    lake = lake_of(settings)
    require_feeds(settings, [feed] if feed else [], with_removed=True)
    if find:
        from dagster_project.gathering import gather
        from dagster_project.in_process import materialize
        from dagster_project.instance import open_instance

        with open_instance(settings) as instance:
            gather(instance, lake, settings)
            materialize(instance, "same_audio")
    for (names, rows), nothing in (
        (command.copies(lake.home, feed, limit), "No copies are known. `podlake duplicates --find` searches for them."),
        (command.repeated(lake.home, feed, limit), "No repeated audio is known."),
    ):
        click.echo(render(names, rows) if rows else nothing)


@click.command(epilog=examples("podlake status", "podlake status my-show-20260102-1a2b3c4d"))
@click.argument("key", required=False, metavar="[EPISODE]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(key: str | None, as_json: bool) -> None:
    """Show the progress of all episodes, or all details of one episode or feed."""
    from dagster_project.commands import overview as everything
    from dagster_project.commands import status as of

    settings = read_settings()
    lake = lake_of(settings)
    if key:
        detail = of.detail(lake, key)
        found, text = detail.as_json(), of.detail_text(detail)
    else:
        overview = everything.overview(lake.home, settings.space)
        found, text = overview.as_json(), everything.overview_text(overview)
    click.echo(json.dumps(found, indent=1, ensure_ascii=False, default=of.plain) if as_json else text)


@click.command(
    epilog=examples(
        'podlake sql "select feed_id, count(*) from episodes group by all"',
        "podlake sql -f talk_time_share",
        'podlake sql "from transcript" --output transcript.parquet',
    )
)
@click.argument("query", required=False)
@click.option("-f", "--file", "source", help="A file with the query, or the name of a question.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", *FORMATS.values()]),
    help="Default: by the suffix of --output, else a table.",
)
@click.option("--output", type=click.Path(dir_okay=False, writable=True, path_type=Path), help="Write to this file.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Rows of a table to show.")
def sql(query: str | None, source: str | None, form: str | None, output: Path | None, limit: int) -> None:
    """Query the tables with SQL (DuckDB). Without a query, list the views and questions."""
    from dagster_project.commands import query as ask

    if query and source:
        raise click.UsageError("Give a query or --file, not both.")
    form = form or FORMATS.get(output.suffix if output else "", "table")
    if form == "table" and output:
        raise click.UsageError(f"Say with --format which kind of file {output} is: csv, json or parquet.")
    if form == "parquet" and not output and sys.stdout.isatty():
        raise click.UsageError("Parquet is binary: give --output FILE, or redirect the output.")
    home = lake_of(read_settings()).home
    try:
        text = ask.question(source) if source else query
        if not text:
            click.echo(ask.contents())
        elif output:
            ask.to_file(home, text, form, output)
        elif form == "table":
            click.echo(ask.to_text(home, text, limit=limit))
        else:
            ask.to_stream(home, text, form, sys.stdout.buffer)
    except ask.QueryError as error:
        raise click.ClickException(str(error)) from error


@click.command(epilog=examples("podlake report my-show", "podlake report --all --out report.html"))
@click.argument("feed", required=False)
@click.option("--all", "is_all", is_flag=True, help="All feeds together.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Also write the report as an HTML file.")
def report(feed: str | None, is_all: bool, out: Path | None) -> None:
    """Show hours, languages, speakers, quality, failures and cost of a feed or of all."""
    from dagster_project.commands.report import report as report_of
    from resources.lake.home import Home

    if bool(feed) == is_all:
        raise click.UsageError("Name one feed (`podlake list` shows them), or give --all.")
    click.echo(report_of(Home.at(read_settings().home), feed, out))
    if out:
        click.echo(f"\n{out} has the same as a page.")


@click.command(epilog=examples("podlake check"))
def check() -> None:
    """Check all rows: keys, times, turns, durations, languages, rates, polls. Exits with 1 if an error is found."""
    from dagster_project.commands.check import check as check_lake
    from resources.lake.home import Home
    from resources.lake.lake import Lake

    is_bad = False
    for line, is_error in check_lake(Lake(Home.at(read_settings().home))):
        click.echo(line)
        is_bad |= is_error
    if is_bad:
        raise SystemExit(1)


COMMANDS = (
    list_,
    duplicates,
    status,
    sql,
    report,
    check,
)
