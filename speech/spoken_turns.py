"""Turns whose times are known because their audio was made from them: words for captions, and chapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from speech.formats.chapters import Chapter
from speech.formats.document import Passage
from speech.script import without_sound_tags
from speech.types import Word

MOST_CHAPTERS = 20
TITLE_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class SpokenTurn:
    """A turn of a podcast that was made here."""

    speaker: str
    start_ms: int
    end_ms: int
    text: str


def passage(turn: SpokenTurn) -> Passage:
    """The turn with its words; their times are spread over the turn by their length."""
    words = without_sound_tags(turn.text).split()
    lengths = [len(word) + 1 for word in words]
    ms_each = (turn.end_ms - turn.start_ms) / sum(lengths)
    edges = [turn.start_ms + round(sum(lengths[:index]) * ms_each) for index in range(len(words) + 1)]
    timed = [Word(text, edges[index], edges[index + 1], times_estimated=True) for index, text in enumerate(words)]
    return Passage(turn.speaker, tuple(timed))


def chapters_of(turns: Sequence[SpokenTurn], duration_ms: int) -> list[Chapter]:
    """A chapter for each turn; in a long podcast, turns share chapters, of which there are at most about twenty."""
    starts: list[SpokenTurn] = []
    for turn in turns:
        if not starts or turn.start_ms - starts[-1].start_ms >= duration_ms / MOST_CHAPTERS:
            starts.append(turn)
    ends = [turn.start_ms for turn in starts[1:]] + [duration_ms]
    begins = [0, *ends[:-1]]
    return [
        Chapter(begin, end, _title(turn), None, None) for begin, end, turn in zip(begins, ends, starts, strict=True)
    ]


def _title(turn: SpokenTurn) -> str:
    text = without_sound_tags(turn.text)
    if len(text) > TITLE_CHARACTERS:
        text = text[:TITLE_CHARACTERS].rpartition(" ")[0] + " …"
    return f"{turn.speaker}: {text}"
