"""Commands that make data sets: export, profile. Each imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dagster_project.cli.context import (
    examples,
    read_settings,
    require_feeds,
)


@click.command(
    "export",
    epilog=examples(
        "podlake export srt --feed my-show --out captions",
        "podlake export huggingface --profile asr --split 98/1/1",
        "podlake export parquet --license permissive --license cc-by-sa --audio opus",
        "podlake export webdataset --license any --split 90/5/5 --split-by voice --out s3://bucket/my-set",
    ),
)
@click.argument("form", metavar="FORMAT", required=False)
@click.option("--feed", "feeds", multiple=True, help="Only this feed; may be repeated.")
@click.option("--episode", "episodes", multiple=True, help="Only this episode; may be repeated.")
@click.option("--out", help="Folder; for a data set also s3://bucket/prefix. Default: export/FORMAT.")
@click.option("--profile", help="Data sets: only utterances that this quality profile keeps. Default: all.")
@click.option("--split", help="Data sets: shares of train, validation and test, such as 98/1/1. Default: all is train.")
@click.option(
    "--split-by",
    type=click.Choice(["feed", "voice"]),
    help="Data sets: what is in one split only. feed: each feed and each voice (default); voice: each voice.",
)
@click.option(
    "--audio",
    "codec",
    type=click.Choice(["flac", "opus", "wav"]),
    help="Data sets: format of the audio. Default: flac.",
)
@click.option(
    "--license",
    "licenses",
    multiple=True,
    help="Data sets: only episodes under this license; may be repeated. permissive (default): anybody may use, change "
    "and distribute it (CC0, CC BY, Apache-2.0, …); a name such as cc-by-sa; unstated; any.",
)
@click.option(
    "--shard-minutes",
    type=click.FloatRange(1),
    help="Data sets: minutes of audio in a shard, and most that an interruption repeats. Default: 60.",
)
def export_(form: str | None, feeds: tuple[str, ...], episodes: tuple[str, ...], out: str | None, **given: Any) -> None:
    """Write transcripts, or a data set of utterances with their audio. Without FORMAT, list the formats.

    Transcripts are a file for each episode. A data set is a folder with a card, the hash of each file (SHA256SUMS), and
    sources and licenses (sources.jsonl). The same lake gives the same bytes. Run an interrupted export again to continue
    it. Episodes whose feed or item asks to be left out (block) are never in a data set.
    """
    from dagster_project.commands import export as command
    from resources.exports.registry import DATASETS, TRANSCRIPTS, descriptions
    from resources.lake.home import Home

    if form is None:
        for name, description in descriptions().items():
            click.echo(f"{name:14}{description}")
        return
    if form not in TRANSCRIPTS and form not in DATASETS:
        raise click.BadParameter(f"There is no format {form}. Choose among: {', '.join(descriptions())}.")
    settings = read_settings()
    require_feeds(settings, feeds, with_removed=True)
    folder = out or str(Path("export") / form)
    given = {name: value for name, value in given.items() if value}
    if form in TRANSCRIPTS:
        if given:
            raise click.UsageError(f"{_option(next(iter(given)))} is for data sets: {', '.join(DATASETS)}.")
        home = Home.at(settings.home)
        count = command.export_transcripts(home, form, Path(folder), feeds=feeds, episodes=episodes)
        click.echo(f"{folder}: {count} {'episode' if count == 1 else 'episodes'}.")
        return
    try:
        wanted = command.choice(feeds=feeds, episodes=episodes, **{k: v for k, v in given.items() if k != "codec"})
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    result = command.export_with_bar(settings, form, wanted, folder, codec=given.get("codec", "flac"))
    if not result.selection.n_utterances:
        raise click.ClickException(command.nothing(result))
    click.echo(command.summary(result))


def _option(name: str) -> str:
    return {"codec": "--audio", "licenses": "--license"}.get(name, f"--{name.replace('_', '-')}")


@click.group(epilog=examples("podlake profile check tts"))
@click.help_option("-h", "--help")
def profile() -> None:
    """Quality profiles: which utterances a data set keeps."""


@profile.command("check", epilog=examples("podlake profile check asr"))
@click.argument("name")
def check_profile(name: str) -> None:
    """Print the hours that profile NAME keeps, and the hours that each rule drops alone and last."""
    from dagster_project.commands.profile import check as hours_kept
    from resources.lake.home import Home
    from resources.profiles import load_profile

    home = Home.at(read_settings().home)
    click.echo(hours_kept(home, name, load_profile(home, name)))


COMMANDS = (
    export_,
    profile,
)
