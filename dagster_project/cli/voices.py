"""Commands about who speaks: the group `podlake voices`. Each imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

from collections.abc import Sequence

import click

from dagster_project.cli.context import (
    examples,
    lake_of,
    read_settings,
    require_feeds,
)


@click.group(
    epilog=examples(
        "podlake voices list my-show",
        'podlake voices name my-show-v1a2b3c4d "Ada Lovelace"',
        "podlake voices split my-show-20260102-1a2b3c4d S2",
    )
)
def voices() -> None:
    """Show who speaks in which episodes, give voices names, and correct them. Decisions survive reprocessing."""


@voices.command("list", epilog=examples("podlake voices list", "podlake voices list my-show --limit 10"))
@click.argument("feed", required=False)
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="Voices to show, longest first.")
def list_voices(feed: str | None, limit: int) -> None:
    """List the voices of a feed, or of all feeds."""
    from dagster_project.commands.terminal import render
    from dagster_project.commands.voices import listing
    from resources.lake.home import Home

    settings = read_settings()
    require_feeds(settings, [feed] if feed else [], with_removed=True)
    names, rows = listing(Home.at(settings.home), feed_id=feed, limit=limit)
    click.echo(render(names, rows) if rows else "No voices yet: podlake run links the speakers of episodes.")


@voices.command("name", epilog=examples('podlake voices name my-show-v1a2b3c4d "Ada Lovelace"'))
@click.argument("voice")
@click.argument("name")
def name_voice(voice: str, name: str) -> None:
    """Give a voice a name, which the views show. An empty name removes it."""
    from dagster_project.commands import voices as commands

    _land_voices(commands.name(lake_of(read_settings()), voice, name))


@voices.command("merge", epilog=examples("podlake voices merge my-show-v1a2b3c4d my-show-v5e6f7a8b"))
@click.argument("voice")
@click.argument("other")
def merge_voices(voice: str, other: str) -> None:
    """Make OTHER a part of VOICE. Of two feeds, each keeps its voice, and both are the same person."""
    from dagster_project.commands import voices as commands

    _land_voices(commands.merge(lake_of(read_settings()), voice, other))


@voices.command("split", epilog=examples("podlake voices split my-show-20260102-1a2b3c4d S2"))
@click.argument("episode")
@click.argument("speaker")
@click.option("--to", "target", metavar="VOICE", help="An existing voice. Default: a new one.")
def split_voice(episode: str, speaker: str, target: str | None) -> None:
    """Take the speaker of an episode out of its voice."""
    from dagster_project.commands import voices as commands

    voice, feeds = commands.split(lake_of(read_settings()), episode, speaker, target)
    _land_voices(feeds)
    click.echo(f"{speaker} of {episode} is {voice} now.")


@voices.command("link", epilog=examples("podlake voices link --across"))
@click.option("--across", is_flag=True, help="Link voices of different feeds that are the same person.")
def link_voices(across: bool) -> None:
    """Link the speakers of new episodes now; with --across, also the voices of different feeds."""
    from dagster_project.gathering import gather
    from dagster_project.instance import open_instance
    from dagster_project.link_voices import land_voices, link_feeds
    from speech.voices import feed_of_voice

    settings, lake = read_settings(), lake_of(read_settings())
    with open_instance(settings) as instance:
        gather(instance, lake, settings)
        if across:
            found = link_feeds(lake.home)
            land_voices(instance, map(feed_of_voice, found))
            click.echo(f"{len(found)} voices are linked to voices of other feeds.")


def _land_voices(feeds: Sequence[str]) -> None:
    """Land the voices of the feeds, so that the tables show what was decided."""
    from dagster_project.instance import open_instance
    from dagster_project.link_voices import land_voices

    with open_instance(read_settings()) as instance:
        land_voices(instance, feeds)


COMMANDS = (voices,)
