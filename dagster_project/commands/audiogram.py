"""`podlake audiogram`: a stretch of an episode as a video with cover, waveform, speakers and captions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pages.episode import EpisodePage, PageTurn, load_episode
from resources.fetch.audio_store import AudioStore
from resources.lake.warehouse import connect
from speech.audiogram.card import PALETTE, Card, Shape, ShownTurn, ShownWord, layout_of
from speech.audiogram.fonts import missing_characters
from speech.audiogram.video import Encoded, write_audiogram
from speech.errors import PodlakeError
from speech.stretches import attached_picture, stretch


@dataclass(frozen=True)
class Written:
    video: Encoded
    n_words: int
    missing: str
    """Characters that no font of this system has."""


def audiogram(
    store: AudioStore, episode_id: str, start_ms: int, end_ms: int, *, shape: Shape, cover: bytes | None, out: Path
) -> Written:
    """Write the MP4 file of `[start_ms, end_ms)`; it appears complete or not at all.

    Raises PodlakeError if the episode has no transcript or audio, or the range is not within it.
    """
    with connect(store.home) as connection:
        page = load_episode(connection, episode_id)
    if not 0 <= start_ms < end_ms <= max(page.duration_ms, 0):
        raise PodlakeError(
            f"{episode_id} is {page.duration_ms / 1000:.1f} s long: the range {start_ms / 1000:.1f}–{end_ms / 1000:.1f} s is not in it."
        )
    if page.audio_uri is None or not store.has(page.audio_uri):
        raise PodlakeError(f"The audio of {episode_id} is not kept. Fetch it again: podlake retry {episode_id}")
    if not out.absolute().parent.is_dir():
        raise PodlakeError(f"There is no folder {out.absolute().parent}.")
    source = store.local(page.audio_uri)
    samples = stretch(source, start_ms, end_ms, out.absolute().parent)
    card = card_of(page, start_ms, end_ms, cover or attached_picture(source))
    part = out.with_name(f".{out.name}.part")
    try:
        video = write_audiogram(part, card, layout_of(shape), samples)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return Written(video, sum(len(turn.words) for turn in card.turns), missing_characters(card.texts))


def card_of(page: EpisodePage, start_ms: int, end_ms: int, cover: bytes | None) -> Card:
    """The words that begin within the range, with their speakers' names."""
    turns = tuple(turn for turn in (_shown(page, one, start_ms, end_ms) for one in page.turns) if turn.words)
    return Card(page.title, page.feed_title, end_ms - start_ms, turns, cover)


def _shown(page: EpisodePage, turn: PageTurn, start_ms: int, end_ms: int) -> ShownTurn:
    words = tuple(
        ShownWord(word.text, word.start_ms - start_ms, min(word.end_ms, end_ms) - start_ms)
        for word in turn.words
        if start_ms <= word.start_ms < end_ms
    )
    name = page.name_of(turn.speaker) if turn.speaker else ""
    return ShownTurn(name, PALETTE[(page.colour_of(turn.speaker) or 0) % len(PALETTE)], words)
