"""The command line `podlake`. A command imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dagster_project.commands.catalogue_cli import COMMANDS
from speech.errors import EngineUnavailable, PodlakeError

if TYPE_CHECKING:
    from dagster_project.settings import Settings
    from resources.fetch.audio_store import AudioStore
    from resources.lake.lake import Lake
    from resources.search import SearchIndex

FORMATS = {".csv": "csv", ".json": "json", ".parquet": "parquet"}
"""Suffix of --output → format, unless --format is given."""


class _Podlake(click.Group):
    """Prints errors that the user can correct without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (PodlakeError, EngineUnavailable, OSError) as error:
            if ctx.params["debug"] or getattr(error, "errno", None) == errno.EPIPE:
                raise
            if isinstance(error, OSError) and error.filename:
                message = f"{error.filename}: {error.strerror}. Check the path and PODLAKE_HOME: `podlake doctor`."
                raise click.ClickException(message) from error
            raise click.ClickException(str(error)) from error


def _examples(*lines: str) -> str:
    r"""The end of a help text; `\b` tells click to keep the line breaks."""
    return "\n".join(["\b", *lines])


@click.group(
    cls=_Podlake,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_examples(
        "podlake add https://example.org/feed.xml     subscribe",
        "podlake run                                  download, diarize, transcribe",
        'podlake sql "select * from transcript"       ask',
    ),
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="podlake")
def main(debug: bool) -> None:
    """Podcast feeds in; speaker-attributed, word-timed, queryable Parquet tables out."""


_ui_url = click.option(
    "--ui-url",
    envvar="PODLAKE_UI_URL",
    default="http://127.0.0.1:3000",
    show_default=True,
    help="Where Dagster's web UI is, for links.",
)


@main.command(
    epilog=_examples(
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
    settings = _settings()
    catalogue = Catalogue(_lake(settings))
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


@main.command(epilog=_examples("podlake run", "podlake run --feed my-show --newest 3"))
@click.option("--feed", "feeds", multiple=True, help="Only this feed, by its name in podlake list; may be repeated.")
@click.option("--newest", type=click.IntRange(1), help="Only this number of newest episodes per feed.")
@click.option("--failed-too", is_flag=True, help="Also retry failed episodes that are not due for a retry.")
def run(feeds: tuple[str, ...], newest: int | None, failed_too: bool) -> None:
    """Run every stage for every episode in this process; an interrupted run continues where it stopped."""
    import signal

    from dagster_project.build_resources import build_resources
    from dagster_project.instance import open_instance
    from dagster_project.run import Selection
    from dagster_project.run import run as run_all

    _log_to_screen()
    settings = _settings()
    given = build_resources(settings)
    _require_feeds(settings, feeds)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with open_instance(settings) as instance:
            run_all(instance, settings, given["lake"], given["engines"], Selection(feeds, newest, failed_too))
    except KeyboardInterrupt:
        click.echo("Interrupted. What has landed stays; `podlake run` continues.", err=True)
        sys.stderr.flush()
        os._exit(130)  # without waiting for the threads of batches: their runs have been canceled


@main.command(
    epilog=_examples(
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

    settings = _settings()
    lake = _lake(settings)
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown:
        raise click.BadParameter(f"There is no stage {unknown[0]}. Choose among: {', '.join(STAGES)}.")
    _require_feeds(settings, feeds)
    wanted = failed(lake.home, stages=stages, classes=classes, feeds=feeds)
    if not wanted:
        click.echo("No failure matches.")
        return
    for stage, keys in wanted.items():
        click.echo(f"{stage}: {len(keys)} to try again")
    with open_instance(settings) as instance:
        bring_back(instance, wanted)
        if here:
            _log_to_screen()
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


@main.command(epilog=_examples("podlake reopen my-show-20260102-1a2b3c4d"))
@click.argument("keys", nargs=-1, required=True, metavar="EPISODE...")
def reopen(keys: tuple[str, ...]) -> None:
    """Bring archived episodes back to work, complete or failed, so that any stage can be made again."""
    from dagster_project.commands.reopen import reopen as reopen_episodes
    from dagster_project.instance import open_instance

    settings = _settings()
    with open_instance(settings) as instance:
        landings = reopen_episodes(instance, _lake(settings), keys)
    click.echo(f"{len(keys)} in work again, with {landings} landings: the last partitions of every asset in the UI.")
    click.echo("Make a stage again, for example of the first one:")
    click.echo(f"  dagster asset materialize -m dagster_project.definitions --select transcript --partition {keys[0]}")
    click.echo(
        "`podlake retry` repeats failed stages. Compaction archives an episode again if nothing lands for a day."
    )


@main.command(
    "list", epilog=_examples("podlake list", "podlake list --feed my-show --status failed --since 2026-01-01")
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

    settings = _settings()
    home = _lake(settings).home
    _require_feeds(settings, [feed] if feed else [])
    chosen = listing.Filter(feed, status, language, since.replace(tzinfo=UTC) if since else None)
    if is_feeds and chosen == listing.Filter():
        names, rows = listing.feeds(home)
    else:
        names, rows = listing.episodes(home, chosen, limit=limit)
    nothing = "Nothing yet: podlake add, then podlake run." if chosen == listing.Filter() else "No episode matches."
    click.echo(render(names, rows) if rows else nothing)


@main.command(epilog=_examples("podlake status", "podlake status my-show-20260102-1a2b3c4d"))
@click.argument("key", required=False, metavar="[EPISODE]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(key: str | None, as_json: bool) -> None:
    """Show the progress of all episodes, or all details of one episode or feed."""
    from dagster_project.commands import status as of

    settings = _settings()
    lake = _lake(settings)
    if key:
        detail = of.detail(lake, key)
        found, text = detail.as_json(), of.detail_text(detail)
    else:
        found = of.overview(lake.home, settings.space)
        text = of.overview_text(found)
    click.echo(json.dumps(found, indent=1, ensure_ascii=False, default=of.plain) if as_json else text)


@main.command(
    epilog=_examples(
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
    home = _lake(_settings()).home
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


@main.group(
    epilog=_examples(
        "podlake voices list my-show",
        'podlake voices name my-show-v1a2b3c4d "Ada Lovelace"',
        "podlake voices split my-show-20260102-1a2b3c4d S2",
    )
)
def voices() -> None:
    """Show who speaks in which episodes, give voices names, and correct them. Decisions survive reprocessing."""


@voices.command("list", epilog=_examples("podlake voices list", "podlake voices list my-show --limit 10"))
@click.argument("feed", required=False)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Voices to show, longest first.")
def list_voices(feed: str | None, limit: int) -> None:
    """List the voices of a feed, or of all feeds."""
    from dagster_project.commands.terminal import render
    from dagster_project.commands.voices import listing
    from resources.lake.home import Home

    settings = _settings()
    _require_feeds(settings, [feed] if feed else [])
    names, rows = listing(Home.at(settings.home), feed_id=feed, limit=limit)
    click.echo(render(names, rows) if rows else "No voices yet: podlake run links the speakers of episodes.")


@voices.command("name", epilog=_examples('podlake voices name my-show-v1a2b3c4d "Ada Lovelace"'))
@click.argument("voice")
@click.argument("name")
def name_voice(voice: str, name: str) -> None:
    """Give a voice a name, which the views show. An empty name removes it."""
    from dagster_project.commands import voices as commands

    _land_voices(commands.name(_lake(_settings()), voice, name))


@voices.command("merge", epilog=_examples("podlake voices merge my-show-v1a2b3c4d my-show-v5e6f7a8b"))
@click.argument("voice")
@click.argument("other")
def merge_voices(voice: str, other: str) -> None:
    """Make OTHER a part of VOICE. Of two feeds, each keeps its voice, and both are the same person."""
    from dagster_project.commands import voices as commands

    _land_voices(commands.merge(_lake(_settings()), voice, other))


@voices.command("split", epilog=_examples("podlake voices split my-show-20260102-1a2b3c4d S2"))
@click.argument("episode")
@click.argument("speaker")
@click.option("--to", "target", metavar="VOICE", help="An existing voice. Default: a new one.")
def split_voice(episode: str, speaker: str, target: str | None) -> None:
    """Take the speaker of an episode out of its voice."""
    from dagster_project.commands import voices as commands

    voice, feeds = commands.split(_lake(_settings()), episode, speaker, target)
    _land_voices(feeds)
    click.echo(f"{speaker} of {episode} is {voice} now.")


@voices.command("link", epilog=_examples("podlake voices link --across"))
@click.option("--across", is_flag=True, help="Link voices of different feeds that are the same person.")
def link_voices(across: bool) -> None:
    """Link the speakers of new episodes now; with --across, also the voices of different feeds."""
    from dagster_project.gathering import gather
    from dagster_project.instance import open_instance
    from dagster_project.link_voices import land_voices, link_feeds
    from speech.voices import feed_of_voice

    settings, lake = _settings(), _lake(_settings())
    with open_instance(settings) as instance:
        gather(instance, lake, settings)
        if across:
            found = link_feeds(lake.home)
            land_voices(instance, map(feed_of_voice, found))
            click.echo(f"{len(found)} voices are linked to voices of other feeds.")


@main.command(epilog=_examples("podlake report my-show", "podlake report --all --out report.html"))
@click.argument("feed", required=False)
@click.option("--all", "is_all", is_flag=True, help="All feeds together.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Also write the report as an HTML file.")
def report(feed: str | None, is_all: bool, out: Path | None) -> None:
    """Show hours, languages, speakers, quality, failures and cost of a feed or of all."""
    from dagster_project.commands.report import report as report_of
    from resources.lake.home import Home

    if bool(feed) == is_all:
        raise click.UsageError("Name one feed (`podlake list` shows them), or give --all.")
    click.echo(report_of(Home.at(_settings().home), feed, out))
    if out:
        click.echo(f"\n{out} has the same as a page.")


@main.command(epilog=_examples("podlake check"))
def check() -> None:
    """Check all rows: keys, times, turns, durations, languages, rates, polls. Exits with 1 if an error is found."""
    from dagster_project.commands.check import check as check_lake
    from resources.lake.home import Home
    from resources.lake.lake import Lake

    is_bad = False
    for line, is_error in check_lake(Lake(Home.at(_settings().home))):
        click.echo(line)
        is_bad |= is_error
    if is_bad:
        raise SystemExit(1)


@main.command(epilog=_examples("podlake doctor", "PODLAKE_DIARIZER=nemo PODLAKE_TRANSCRIBER=nemo podlake doctor"))
def doctor() -> None:
    """Check versions, engines, data folder and Dagster, and say what to install or correct."""
    from dagster_project.commands import doctor as checks

    is_bad = False
    for finding in checks.findings(_settings()):
        click.echo(str(finding))
        is_bad |= finding.mark == checks.BAD
    if is_bad:
        raise SystemExit(1)


@main.command(epilog=_examples("podlake engines", "podlake engines stop"))
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


@main.command(
    epilog=_examples("podlake page my-show-20260102-1a2b3c4d", "podlake page EPISODE --audio link --out page.html")
)
@click.argument("episode", metavar="EPISODE")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write. Default: EPISODE.html.")
@click.option(
    "--audio",
    type=click.Choice(["auto", "embed", "link", "none"]),
    default="auto",
    show_default=True,
    help="embed: a small Opus copy in the page; link: the publisher's file; auto: embed up to two hours.",
)
@_ui_url
def page(episode: str, out: Path | None, audio: str, ui_url: str) -> None:
    """Write one HTML file to read and hear an episode."""
    from dagster_project.commands.page import write_page

    path = out or Path(f"{episode}.html")
    written = write_page(_audio_store(), episode, path, audio=audio, ui_url=ui_url)
    click.echo(f"{path}: {written.n_words} words, {path.stat().st_size / 1e6:.1f} MB. Open it in a browser.")


@main.command(epilog=_examples("podlake site", "podlake site --out corpus --audio embed", "podlake site --port 3010"))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Write the site into this folder.")
@click.option(
    "--audio",
    type=click.Choice(["link", "copy", "none"]),
    default="link",
    show_default=True,
    help="With --out: the publisher's files, a small Opus copy of each episode, or none.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=3001, show_default=True, help="Without --out: serve here."
)
@click.option("--parent", type=int, hidden=True, help="Stop when this parent process exits.")
@_ui_url
def site(out: Path | None, audio: str, port: int, parent: int | None, ui_url: str) -> None:
    """Serve the corpus site of feeds, episodes, reading pages and search, or write it as files."""
    from dagster_project.commands.site import export_site, serve_site

    if out:
        count = export_site(_audio_store(), out, audio=audio)
        click.echo(f"{out / 'index.html'}: {count} episodes. Open it in a browser, or copy the folder to a web server.")
    else:
        serve_site(_audio_store(), _search_index(), port=port, ui_url=ui_url, parent=parent)


@main.command(
    epilog=_examples(
        "podlake search train",
        """podlake search '"night train"' --speaker S1""",
        "podlake search climate --since 2026-01-01",
    )
)
@click.argument("query", metavar="QUERY")
@click.option("--feed", help="Only this feed.")
@click.option("--speaker", help="Only turns of this speaker, by label or name.")
@click.option("--language", help="Only this language, such as en.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Published on this day or later.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Published on this day or before.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Turns to show, best first.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def search(
    query: str, feed: str | None, speaker: str | None, language: str | None,
    since: datetime | None, until: datetime | None, limit: int, as_json: bool,
) -> None:  # fmt: skip
    """Find turns that contain all words of QUERY; a phrase stands in double quotes."""
    from dagster_project.commands.search import find, to_text
    from resources.lake.home import Home
    from resources.search import SearchQuery

    asked = SearchQuery(query, feed, speaker, language, since and since.date(), until and until.date())
    result = find(Home.at(_settings().home), _search_index(), asked, limit=limit)
    if as_json:
        click.echo(json.dumps(asdict(result), indent=1, ensure_ascii=False))
    else:
        click.echo(to_text(result))


@main.command(
    "export",
    epilog=_examples("podlake export srt --feed my-show --out captions", "podlake export textgrid --episode EPISODE"),
)
@click.argument("form", metavar="FORMAT", required=False)
@click.option("--feed", "feeds", multiple=True, help="Only this feed; may be repeated.")
@click.option("--episode", "episodes", multiple=True, help="Only this episode; may be repeated.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder. Default: export/FORMAT.")
def export_(form: str | None, feeds: tuple[str, ...], episodes: tuple[str, ...], out: Path | None) -> None:
    """Write transcripts as files for other tools. Without FORMAT, list the formats."""
    from dagster_project.commands.export import export_transcripts
    from resources.lake.home import Home
    from speech.formats.registry import FORMATS as TRANSCRIPTS

    if form is None:
        for name, module in TRANSCRIPTS.items():
            click.echo(f"{name:14}{(module.__doc__ or '').splitlines()[0]}")
        return
    if form not in TRANSCRIPTS:
        raise click.BadParameter(f"There is no format {form}. Choose among: {', '.join(TRANSCRIPTS)}.")
    settings = _settings()
    _require_feeds(settings, feeds)
    folder = out or Path("export") / form
    count = export_transcripts(Home.at(settings.home), form, folder, feeds=feeds, episodes=episodes)
    click.echo(f"{folder}: {count} {'episode' if count == 1 else 'episodes'}.")


@main.group(epilog=_examples("podlake profile check tts"))
@click.help_option("-h", "--help")
def profile() -> None:
    """Quality profiles: which utterances a data set keeps."""


@profile.command("check", epilog=_examples("podlake profile check asr"))
@click.argument("name")
def check_profile(name: str) -> None:
    """Print the hours that profile NAME keeps, and the hours that each rule drops alone and last."""
    from dagster_project.commands.profile import check as hours_kept
    from resources.lake.home import Home
    from resources.profiles import load_profiles

    profiles = load_profiles()
    if name not in profiles:
        raise click.BadParameter(f"There is no profile {name}. Choose among: {', '.join(profiles)}.")
    click.echo(hours_kept(Home.at(_settings().home), name, profiles[name]))


@main.command(epilog=_examples("podlake ui --port 3001"))
@click.option("--port", type=click.IntRange(1, 65534), default=3000, show_default=True)
def ui(port: int) -> None:
    """Start Dagster's web UI and daemon on this machine, and the corpus site at the next port. Ctrl-C stops all."""
    import subprocess

    from dagster_project.instance import open_instance
    from speech.signals import reset_signals

    with open_instance(_settings()):  # the daemon takes the limits of pools from its databases
        pass
    reset_signals()  # in the background of a shell, Dagster would ignore SIGTERM
    site = ["site", "--port", str(port + 1), "--ui-url", f"http://127.0.0.1:{port}", "--parent", str(os.getpid())]
    subprocess.Popen([sys.executable, "-m", "dagster_project.cli", *site])
    # `dg dev`, to which this command points, needs another package and starts the same processes.
    no_hint = ["-W", "ignore:Function `dev_command` is superseded"]
    arguments = ["-m", "dagster", "dev", "-m", "dagster_project.definitions", "-h", "127.0.0.1", "-p", str(port)]
    os.execv(sys.executable, [sys.executable, *no_hint, *arguments])  # noqa: S606 - Ctrl-C and the exit code are Dagster's


@main.command(epilog=_examples('eval "$(.venv/bin/podlake env)"'))
def env() -> None:
    """Print the shell variables that Dagster's own commands need."""
    import shlex

    from dagster_project.instance import EVENT_BATCH, prepare_home

    settings = _settings()
    exports = {
        "PODLAKE_HOME": settings.home if "://" in settings.home else str(Path(settings.home).absolute()),
        "DAGSTER_HOME": str(prepare_home(settings)),
        "DAGSTER_MODULE_NAME": "dagster_project.definitions",
        EVENT_BATCH: os.environ[EVENT_BATCH],
    }
    for name, value in exports.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    click.echo(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"')


def _audio_store() -> AudioStore:
    from resources.fetch.audio_store import AudioStore
    from resources.lake.home import Home

    settings = _settings()
    return AudioStore(Home.at(settings.home), settings.cache_folder, int(settings.cache_gb * 1e9))


def _search_index() -> SearchIndex:
    from resources.search import SearchIndex

    return SearchIndex(_settings().cache_folder / "search")


def _log_to_screen() -> None:
    """The pipeline's messages, a line per episode."""
    import logging

    logging.basicConfig(format="%(asctime)s  %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("podlake").setLevel(logging.INFO)


def _land_voices(feeds: Sequence[str]) -> None:
    """Land the voices of the feeds, so that the tables show what was decided."""
    from dagster_project.instance import open_instance
    from dagster_project.link_voices import land_voices

    with open_instance(_settings()) as instance:
        land_voices(instance, feeds)


def _lake(settings: Settings) -> Lake:
    from resources.lake.home import Home
    from resources.lake.lake import Lake

    return Lake(Home.at(settings.home))


def _require_feeds(settings: Settings, feeds: Sequence[str]) -> None:
    from resources.lake.catalogue import SINGLES, Catalogue

    catalogue = Catalogue(_lake(settings))
    known = {one.feed_id for one in catalogue.subscriptions()} | {one.feed_id for one in catalogue.imported()}
    for feed in set(feeds) - known - {SINGLES}:
        raise click.BadParameter(f"There is no feed {feed}. `podlake list` shows the feeds.")


def _settings() -> Settings:
    from pydantic import ValidationError

    from dagster_project.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        wrong = [f"{_variable(one['loc'])}: {_reason(one)}" for one in error.errors()]
        raise click.ClickException("\n".join([*wrong, "Correct it in the environment or in .env."])) from error


def _variable(location: Sequence[int | str]) -> str:
    """The environment variable of a setting; one with a name of its own is in capitals."""
    name = "_".join(map(str, location))
    return name if name.isupper() else f"PODLAKE_{name.upper()}"


def _reason(error: Any) -> str:
    """Why pydantic refuses a value: the message of our validator, if it has one."""
    return str(error.get("ctx", {}).get("error", error["msg"]))


for _command in COMMANDS:
    main.add_command(_command)

if __name__ == "__main__":
    main()
