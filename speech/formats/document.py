"""What the formats write: an episode's turns and words with their times, and who speaks when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from speech.turns import join_words
from speech.types import Segment, Word

UNKNOWN_SPEAKER = "unknown"
MAX_CUE_MS = 7_000
MAX_CUE_CHARACTERS = 84
"""Two lines of 42 characters, the usual limit of captions."""


@dataclass(frozen=True, slots=True)
class Passage:
    """Consecutive words of one speaker: a turn, or a part of one."""

    speaker: str | None
    words: tuple[Word, ...]

    @property
    def start_ms(self) -> int:
        return self.words[0].start_ms

    @property
    def end_ms(self) -> int:
        return max(word.end_ms for word in self.words)

    @property
    def text(self) -> str:
        return join_words(word.text for word in self.words)


@dataclass(frozen=True, slots=True)
class Document:
    """The transcript of an episode."""

    episode_id: str
    audio_sha256: str
    title: str | None
    feed_title: str | None
    language: str | None
    duration_ms: int
    turns: tuple[Passage, ...]
    segments: tuple[Segment, ...]

    def cues(self) -> Iterator[Passage]:
        """The turns cut between words into captions of at most 7 s and 84 characters, where words allow."""
        for turn in self.turns:
            cue: list[Word] = []
            for word in turn.words:
                candidate = Passage(turn.speaker, (*cue, word))
                is_long = candidate.end_ms - candidate.start_ms > MAX_CUE_MS or len(candidate.text) > MAX_CUE_CHARACTERS
                if cue and is_long:
                    yield Passage(turn.speaker, tuple(cue))
                    cue = []
                cue.append(word)
            if cue:
                yield Passage(turn.speaker, tuple(cue))


def clock(at_ms: int, separator: str) -> str:
    """`01:02:03.456`, with this separator before the milliseconds."""
    seconds, ms = divmod(at_ms, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{separator}{ms:03d}"


def token(text: str | None) -> str:
    """A name or word without white space, for formats whose fields spaces separate."""
    return "_".join((text or "").split()) or UNKNOWN_SPEAKER


def seconds(at_ms: int) -> str:
    return f"{at_ms / 1000:.3f}"
