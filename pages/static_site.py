"""Writes the corpus site as files: any web server, or a browser without one, shows them."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from pages.corpus import load_corpus, load_feed
from pages.episode import EpisodePage, load_episode
from pages.render import corpus_html, episode_html, feed_html, search_html
from resources.exports.transcripts import load_document
from speech.formats.registry import FORMATS
from speech.turns import UNSPACED_SCRIPT

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

EXPORTED = ("srt", "vtt", "txt", "json")
"""The formats that a static site has of each episode."""
Places = dict[str, list[tuple[int, int]]]
"""Word → the (number of the episode, position of the turn) in which it stands."""


@dataclass(frozen=True)
class SiteEpisodes:
    """The reading pages of a site that is being written: each is written when the iterator reaches it."""

    total: int
    pages: Iterator[str]


def write_site(connection: DuckDBPyConnection, out: Path, *, audio_src: Callable[[EpisodePage], str]) -> SiteEpisodes:
    """Write the lists of the site into a folder; its reading pages and search index as the result is iterated.

    Memory holds the search index: about 100 bytes for each word of each turn.
    """
    corpus = load_corpus(connection)
    for folder in ("feeds", "episodes", "search", "exports"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    _write(out / "index.html", corpus_html(corpus))
    _write(out / "search.html", search_html(api=""))
    readable = []
    for feed in corpus.feeds:
        title, entries = load_feed(connection, feed.feed_id)
        _write(out / "feeds" / f"{feed.feed_id}.html", feed_html(title, entries))
        readable += [entry.episode_id for entry in entries if entry.is_readable]
    return SiteEpisodes(len(readable), _write_episodes(connection, out, readable, audio_src))


def _write_episodes(
    connection: DuckDBPyConnection, out: Path, episode_ids: list[str], audio_src: Callable[[EpisodePage], str]
) -> Iterator[str]:
    index: dict[str, Places] = defaultdict(lambda: defaultdict(list))
    for number, episode_id in enumerate(episode_ids):
        page = load_episode(connection, episode_id)
        home = "../index.html"
        document = load_document(connection, episode_id)
        links = {}
        for form in (FORMATS[name] for name in EXPORTED):
            _write(out / "exports" / f"{episode_id}.{form.SUFFIX}", form.write(document))
            links[form.SUFFIX.upper()] = f"../exports/{episode_id}.{form.SUFFIX}"
        html = episode_html(page, audio_src=audio_src(page), links=links, home_href=home)
        _write(out / "episodes" / f"{episode_id}.html", html)
        turns = [(turn.start_ms, page.name_of(turn.speaker), turn.text) for turn in page.turns]
        _part(out, f"e{number}", {"episode_id": episode_id, "title": page.title, "turns": turns})
        for position, (_, _, text) in enumerate(turns):
            for word in set(search_words(text)):
                index[_prefix(word)][word].append((number, position))
        yield episode_id
    for prefix, words in index.items():
        _part(out, prefix, words)


_WORD = re.compile(rf"{UNSPACED_SCRIPT.pattern}+|(?:(?!{UNSPACED_SCRIPT.pattern})[^\W_])+")


def search_words(text: str) -> list[str]:
    """Words without case and accents, as the search page's script splits them.

    Scripts without spaces have characters and pairs of them instead: the script looks for the pairs of a longer word.
    """
    bare = "".join(
        char for char in unicodedata.normalize("NFD", text) if not unicodedata.category(char).startswith("M")
    )
    found = []
    for run in _WORD.findall(bare.lower()):
        found += [*run, *map("".join, pairwise(run))] if UNSPACED_SCRIPT.match(run) else [run]
    return found


def _prefix(word: str) -> str:
    """The name of the part of the index that holds a word: its first two characters, as code points."""
    return "-".join(f"{ord(char):x}" for char in word[:2])


def _part(out: Path, name: str, value: object) -> None:
    """A part of the index is a script: browsers do not load data from files."""
    # A line separator is a line end in JavaScript before 2019, not in JSON.
    data = (
        json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )
    _write(out / "search" / f"{name}.js", f'podlakeIndex("{name}",{data})')


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
