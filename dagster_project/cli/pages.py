"""Commands to read, hear and search: page, audiogram, site, search. Each imports what it needs when it runs, so that `--help` is fast."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dagster_project.cli.context import (
    audio_store,
    examples,
    meaning_index,
    read_settings,
    search_index,
    ui_url_option,
)

if TYPE_CHECKING:
    from speech.audiogram.card import Shape


@click.command(
    epilog=examples("podlake page my-show-20260102-1a2b3c4d", "podlake page EPISODE --audio link --out page.html")
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
@ui_url_option
def page(episode: str, out: Path | None, audio: str, ui_url: str) -> None:
    """Write one HTML file to read and hear an episode."""
    from dagster_project.commands.page import write_page

    path = out or Path(f"{episode}.html")
    written = write_page(audio_store(), episode, path, audio=audio, ui_url=ui_url)
    click.echo(f"{path}: {written.n_words} words, {path.stat().st_size / 1e6:.1f} MB. Open it in a browser.")


class _Time(click.ParamType):
    """A place in an episode: `75`, `12:00` or `1:02:03.5`, as milliseconds."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not re.fullmatch(r"(?:\d+:){0,2}\d+(?:\.\d+)?", str(value)):
            self.fail(f"{value!r} is no time: write 75, 12:00 or 1:02:03.5", param, ctx)
        seconds = 0.0
        for part in str(value).split(":"):
            seconds = seconds * 60 + float(part)
        return round(1000 * seconds)


@click.command(
    epilog=examples(
        "podlake audiogram my-show-20260102-1a2b3c4d --from 12:00 --to 13:00",
        "podlake audiogram EPISODE --from 1:02:03 --to 1:02:45 --shape vertical --out clip.mp4",
    )
)
@click.argument("episode", metavar="EPISODE")
@click.option("--from", "start_ms", type=_Time(), required=True, help="Start: 75, 12:00 or 1:02:03.5.")
@click.option("--to", "end_ms", type=_Time(), required=True, help="End.")
@click.option(
    "--shape",
    type=click.Choice(["square", "vertical", "wide"]),
    default="square",
    show_default=True,
    help="1080 × 1080, 1080 × 1920 or 1920 × 1080 pixels.",
)
@click.option("--cover", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="Image to show. Default: the picture in the tags of the audio, or else a drawn one.")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Default: EPISODE-SECONDS.mp4.")
def audiogram(
    episode: str, start_ms: int, end_ms: int, shape: Shape, cover: Path | None, out: Path | None
) -> None:  # fmt: skip
    """Write a stretch of an episode as a video with its waveform, speakers and captions, to publish elsewhere."""
    from dagster_project.commands.audiogram import audiogram as write
    from speech.audiogram.drawing import read_cover

    path = out or Path(f"{episode}-{start_ms // 1000}.mp4")
    picture = cover.read_bytes() if cover else None
    if picture is not None and read_cover(picture, 1) is None:
        raise click.BadParameter(
            f"{cover} is no picture that podlake reads: JPEG, PNG, WebP or GIF, of at most 50 megapixels.",
            param_hint="--cover",
        )
    written = write(audio_store(), episode, start_ms, end_ms, shape=shape, cover=picture, out=path)
    video = written.video
    size = f"{video.width} × {video.height}, {video.duration_ms / 1000:.1f} s, {path.stat().st_size / 1e6:.1f} MB"
    click.echo(f"{path}: {video.codec}, {size}, {written.n_words} words.")
    if video.codec != "h264":
        click.echo("This FFmpeg has no encoder of H.264, so browsers may not play the file.", err=True)
    if written.missing:
        click.echo(f"No font of this system has {written.missing[:40]}: install one, such as fonts-noto-cjk.", err=True)


@click.command(epilog=examples("podlake site", "podlake site --out corpus --audio copy", "podlake site --port 3010"))
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
@ui_url_option
def site(out: Path | None, audio: str, port: int, parent: int | None, ui_url: str) -> None:
    """Serve the corpus site of feeds, episodes, reading pages and search, or write it as files."""
    from dagster_project.commands.site import export_site, serve_site

    if out:
        count = export_site(audio_store(), out, audio=audio)
        click.echo(f"{out / 'index.html'}: {count} episodes. Open it in a browser, or copy the folder to a web server.")
    else:
        serve_site(audio_store(), search_index(), port=port, ui_url=ui_url, parent=parent)


@click.command(
    epilog=examples(
        "podlake search train",
        """podlake search '"night train"' --speaker S1""",
        "podlake search climate --since 2026-01-01",
        'podlake search --meaning "how a child learns to read" --language en',
    )
)
@click.argument("query", metavar="QUERY")
@click.option("--feed", help="Only this feed.")
@click.option("--speaker", help="Only turns of this speaker, by label, or by the name or id of the voice.")
@click.option("--language", help="Only this language, such as en.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="Published on this day or later.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Published on this day or before.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Turns to show, best first.")
@click.option("--meaning", is_flag=True, help="Find what is near in meaning (needs PODLAKE_EMBEDDINGS).")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def search(
    query: str, feed: str | None, speaker: str | None, language: str | None,
    since: datetime | None, until: datetime | None, limit: int, meaning: bool, as_json: bool,
) -> None:  # fmt: skip
    """Find turns that contain all words of QUERY; a phrase stands in double quotes."""
    from dagster_project.commands.search import find, to_text
    from resources.lake.home import Home
    from resources.search import SearchQuery

    asked = SearchQuery(query, feed, speaker, language, since and since.date(), until and until.date())
    index = meaning_index() if meaning else search_index()
    result = find(Home.at(read_settings().home), index, asked, limit=limit)
    if as_json:
        click.echo(json.dumps(asdict(result), indent=1, ensure_ascii=False))
    else:
        click.echo(to_text(result))


COMMANDS = (
    page,
    audiogram,
    site,
    search,
)
