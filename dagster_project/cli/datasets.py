"""Commands that make data sets: export, profile. Each imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

from pathlib import Path

import click

from dagster_project.cli.context import (
    examples,
    read_settings,
    require_feeds,
)


@click.command(
    "export",
    epilog=examples("podlake export srt --feed my-show --out captions", "podlake export textgrid --episode EPISODE"),
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
    settings = read_settings()
    require_feeds(settings, feeds)
    folder = out or Path("export") / form
    count = export_transcripts(Home.at(settings.home), form, folder, feeds=feeds, episodes=episodes)
    click.echo(f"{folder}: {count} {'episode' if count == 1 else 'episodes'}.")


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
    from resources.profiles import load_profiles

    profiles = load_profiles()
    if name not in profiles:
        raise click.BadParameter(f"There is no profile {name}. Choose among: {', '.join(profiles)}.")
    click.echo(hours_kept(Home.at(read_settings().home), name, profiles[name]))


COMMANDS = (
    export_,
    profile,
)
