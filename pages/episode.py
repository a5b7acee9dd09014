"""What a reading page shows of one episode, from the lake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

from resources.lake.warehouse import ask
from speech.errors import PodlakeError
from speech.turns import join_words

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LOW_CONFIDENCE = 0.5
"""Words below this posterior are marked, as `quality` flags them."""
PALETTE_SIZE = 10
"""Colours in the style sheet; further speakers repeat them."""


@dataclass(frozen=True, slots=True)
class PageWord:
    """A word with its times."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float | None

    @property
    def is_uncertain(self) -> bool:
        return self.confidence is not None and self.confidence < LOW_CONFIDENCE


@dataclass(frozen=True, slots=True)
class PageTurn:
    """Consecutive words of one speaker."""

    turn_idx: int
    speaker: str | None
    words: tuple[PageWord, ...]

    @property
    def start_ms(self) -> int:
        return self.words[0].start_ms

    @property
    def end_ms(self) -> int:
        return max(word.end_ms for word in self.words)

    @property
    def text(self) -> str:
        return join_words(word.text for word in self.words)

    @property
    def word_times(self) -> str:
        """A word as `wait,duration,length`: ms since the start of the word before, ms, and characters.

        The length is negative for an uncertain word. This is a quarter of the size of an element per word, which the
        page makes only for turns that the reader reaches.
        """
        before_ms = 0
        parts = []
        for word in self.words:
            # JavaScript counts UTF-16 units, of which a character outside the basic plane has two.
            length = len(word.text.strip().encode("utf-16-le")) // 2
            signed = -length if word.is_uncertain else length
            parts.append(f"{word.start_ms - before_ms},{word.end_ms - word.start_ms},{signed}")
            before_ms = word.start_ms
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class PageSpeaker:
    """A speaker's lane in the timeline."""

    label: str
    name: str
    colour: int
    speech_ms: int
    share: float
    spans_ms: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class PageChapter:
    """A chapter of the publisher."""

    start_ms: int
    title: str


@dataclass(frozen=True, slots=True)
class EpisodePage:
    """Everything that the reading page of an episode shows."""

    episode_id: str
    feed_id: str
    feed_title: str
    title: str
    published_at: datetime | None
    language: str | None
    duration_ms: int
    audio_uri: str | None
    """Where the bytes, or an Opus copy, are in the home; None: they are not fetched or no longer kept."""
    audio_url: str
    """Where the publisher offers the audio."""
    flags: tuple[str, ...]
    n_words: int
    speakers: tuple[PageSpeaker, ...]
    turns: tuple[PageTurn, ...]
    show_notes: str | None = None
    chapters: tuple[PageChapter, ...] = ()

    def colour_of(self, speaker: str | None) -> int | None:
        """The number of the speaker's colour; None for words without a speaker."""
        return next((one.colour for one in self.speakers if one.label == speaker), None)

    def name_of(self, speaker: str | None) -> str:
        return next((one.name for one in self.speakers if one.label == speaker), "Unknown speaker")


def load_episode(connection: DuckDBPyConnection, episode_id: str) -> EpisodePage:
    """Read an episode. Raises PodlakeError if it is not in the catalogue or has no turns yet."""
    found = ask(connection, _HEADER, [episode_id])
    if not found:
        raise PodlakeError(f"There is no episode {episode_id}. `podlake list --episodes` shows the episodes.")
    *header, flags, audio_sha256, show_notes = found[0]
    turns = tuple(_turns(ask(connection, _WORDS, [episode_id, audio_sha256])))
    if not turns and not ask(connection, "select 1 from quality where episode_id = ?", [episode_id]):
        raise PodlakeError(f"{episode_id} has no transcript yet. `podlake status {episode_id}` shows its stages.")
    rows = ask(connection, _SPEAKERS, [episode_id, audio_sha256])
    speakers = tuple(_speaker(index, row, turns) for index, row in enumerate(rows))
    n_words = sum(len(turn.words) for turn in turns)
    chapters = tuple(PageChapter(*row) for row in ask(connection, _CHAPTERS, [episode_id]))
    fields = [*header, tuple(flags or ()), n_words, speakers, turns, show_notes, chapters]
    return EpisodePage(*fields)


_HEADER = """
select
    overview.episode_id, overview.feed_id, coalesce(overview.feed_title, overview.feed_id),
    coalesce(overview.title, overview.episode_id), overview.published_at, overview.language,
    coalesce(overview.duration_ms, 0),
    if(removed.landed_at > audio.fetched_at, removed.copy_uri, audio.storage_uri), episode.enclosure_url, overview.flags, audio.audio_sha256,
    episode.description_text
from episode_overview as overview
join episodes as episode using (episode_id)
left join acquisitions as audio using (episode_id)
left join removed_audio as removed using (audio_sha256)
where overview.episode_id = ?
order by audio.fetched_at desc limit 1
"""
_WORDS = """
select turn_idx, speaker, word, start_ms, end_ms, confidence
from spoken_words where episode_id = ? and audio_sha256 = ? and turn_idx is not null order by turn_idx, word_idx
"""
_SPEAKERS = """
select talk.speaker, coalesce(any_value(link.name), talk.speaker), talk.speech_ms, coalesce(talk.share, 0)
from talk_time as talk
left join speaker_links as link
    on link.episode_id = talk.episode_id and link.audio_sha256 = talk.audio_sha256 and link.speaker = talk.speaker
where talk.episode_id = ? and talk.audio_sha256 = ?
group by talk.speaker, talk.speech_ms, talk.share
order by talk.speech_ms desc, talk.speaker
"""

_CHAPTERS = "select start_ms, title from chapters where episode_id = ? order by idx"


def _turns(rows: Sequence[tuple[Any, ...]]) -> Iterator[PageTurn]:
    for (turn_idx, speaker), words in groupby(rows, key=lambda row: row[:2]):
        yield PageTurn(turn_idx, speaker, tuple(PageWord(*row[2:]) for row in words))


def _speaker(index: int, row: tuple[Any, ...], turns: Sequence[PageTurn]) -> PageSpeaker:
    label, name, speech_ms, share = row
    spans = tuple((turn.start_ms, turn.end_ms) for turn in turns if turn.speaker == label)
    return PageSpeaker(label, name, index % PALETTE_SIZE, speech_ms, share, spans)
