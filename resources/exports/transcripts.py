"""Transcripts as files, one per episode, in the formats of `speech.formats`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from resources.exports.registry import TRANSCRIPTS
from resources.lake.warehouse import ask
from speech.errors import PodlakeError
from speech.formats.document import Document, Passage
from speech.types import Segment, Word

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_EPISODES = """
select distinct turn.episode_id from turns as turn join episodes using (episode_id)
where (len($feeds) = 0 or list_contains($feeds, feed_id)) and (len($keys) = 0 or list_contains($keys, episode_id))
order by 1
"""
_HEADER = """
select any_value(audio_sha256), any_value(overview.title), any_value(feed_title), any_value(language),
    any_value(duration_ms)
from turns join episode_overview as overview using (episode_id) where episode_id = ?
"""
_WORDS = """
select turn_idx, speaker, word, start_ms, end_ms, confidence from spoken_words
where episode_id = ? and turn_idx is not null order by turn_idx, word_idx
"""
_SEGMENTS = "select speaker, start_ms, end_ms, confidence from segments where episode_id = ? order by segment_idx"


def episodes_with_turns(
    connection: DuckDBPyConnection, *, feeds: Sequence[str] = (), episodes: Sequence[str] = ()
) -> list[str]:
    """The episodes that have a transcript, of these feeds and episodes; without any, all."""
    rows = ask(connection, _EPISODES, {"feeds": list(feeds), "keys": list(episodes)})
    found = [key for (key,) in rows]
    if missing := sorted(set(episodes) - set(found)):
        raise PodlakeError(f"{missing[0]} has no transcript. `podlake status {missing[0]}` says how far it is.")
    return found


def load_document(connection: DuckDBPyConnection, episode_id: str) -> Document:
    """The transcript of an episode that has turns. Raises PodlakeError if they were removed meanwhile."""
    ((audio_sha256, title, feed_title, language, duration_ms),) = ask(connection, _HEADER, [episode_id])
    if audio_sha256 is None:
        raise PodlakeError(f"The transcript of {episode_id} was removed during the export. Export again.")
    words = ask(connection, _WORDS, [episode_id])
    turns = tuple(
        Passage(speaker, tuple(Word(*row[2:]) for row in rows))
        for (_, speaker), rows in groupby(words, key=lambda row: row[:2])
    )
    segments = tuple(Segment(*row) for row in ask(connection, _SEGMENTS, [episode_id]))
    end_ms = max((turn.end_ms for turn in turns), default=0)
    return Document(episode_id, audio_sha256, title, feed_title, language, duration_ms or end_ms, turns, segments)


def write_transcripts(
    connection: DuckDBPyConnection, name: str, episode_ids: Sequence[str], folder: Path
) -> Iterator[Path]:
    """Write a file for each episode, and yield its path. A file appears complete or not at all."""
    form = TRANSCRIPTS[name]
    folder.mkdir(parents=True, exist_ok=True)
    for episode_id in episode_ids:
        path = folder / f"{episode_id}.{form.SUFFIX}"
        hidden = folder / f".{path.name}.{os.getpid()}"
        hidden.write_text(form.write(load_document(connection, episode_id)), encoding="utf-8", newline="\n")
        hidden.replace(path)
        yield path
