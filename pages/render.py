"""Renders pages from the templates. Everything that comes from feeds and audio is escaped."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pages.corpus import Corpus, EpisodeEntry
from pages.episode import EpisodePage, PageSpeaker
from pages.report import Report

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent


@cache
def environment() -> Environment:
    """Jinja with autoescape, and the style sheet and scripts as functions of the templates."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    made.filters |= {"clock": clock, "hours": hours, "lane": lane}
    made.globals["asset"] = lambda name: Markup((_FOLDER / "static" / name).read_text())  # noqa: S704 - our own files
    return made


def episode_html(
    page: EpisodePage,
    *,
    audio_src: str,
    links: dict[str, str],
    home_href: str | None = None,
    listen_href: str | None = None,
) -> str:
    """The reading page, complete in one file. `links` are texts and addresses; `home_href` is the corpus site.

    `listen_href` is the page that plays the episode live, `?from=` a time in ms.
    """
    template = environment().get_template("episode.html.j2")
    return template.render(page=page, audio_src=audio_src, links=links, home_href=home_href, listen_href=listen_href)


def corpus_html(corpus: Corpus) -> str:
    """The first page of the site."""
    return environment().get_template("corpus.html.j2").render(corpus=corpus)


def feed_html(title: str, episodes: Sequence[EpisodeEntry]) -> str:
    """The list of a feed's episodes."""
    return environment().get_template("feed.html.j2").render(title=title, episodes=episodes)


def search_html(*, api: str) -> str:
    """The search page. `api` is the address of the search; empty: the files of a static export."""
    return environment().get_template("search.html.j2").render(api=api)


def report_html(report: Report, *, made_at: str) -> str:
    """The report as a page."""
    return environment().get_template("report.html.j2").render(report=report, made_at=made_at)


def data_uri(data: bytes, media_type: str) -> str:
    """Bytes as an address that needs no server."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def clock(ms: int) -> str:
    """A time on the audio: 1:05 or 2:03:04."""
    minutes, seconds = divmod(ms // 1000, 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}" if minutes >= 60 else f"{minutes}:{seconds:02d}"


def hours(ms: int) -> str:
    """A length in hours, or minutes if it is short."""
    return f"{ms / 3.6e6:,.1f} h" if ms >= 3_600_000 else f"{ms / 60_000:.0f} min"


def lane(speaker: PageSpeaker) -> str:
    """The SVG path of a speaker's turns, in seconds of audio, 1 high."""
    return "".join(
        f"M{start / 1000:.1f} 0h{(end - start) / 1000:.1f}v1H{start / 1000:.1f}z" for start, end in speaker.spans_ms
    )
