"""Captions: turns cut into cues that a reader can follow, as SRT and WebVTT, and back.

A cue has at most two lines of 42 columns and stays for at most 7 s, as broadcasters do it (BBC Subtitle
Guidelines; Netflix Timed Text Style Guide).
"""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from unicodedata import combining, east_asian_width

from speech.turns import Turn, join_words
from speech.types import Word

MAX_COLUMNS = 42
"""Of one line; a full-width (Chinese, Japanese, Korean) character takes two."""
MAX_LINES = 2
MAX_CUE_MS = 7_000
MAX_PAUSE_MS = 1_500
"""A cue does not stay on through a longer pause."""


@dataclass(frozen=True, slots=True)
class Cue:
    """What stands on the screen from `start_ms` to `end_ms`."""

    start_ms: int
    end_ms: int
    text: str
    """One or more lines, none of them blank."""
    speaker: str | None = None


def cut_cues(words: Sequence[Word], turns: Iterable[Turn]) -> list[Cue]:
    """Cues in time order that hold every word once; no two on the screen at the same time.

    Cut at word boundaries only, where the limits force it, at pauses, and at the end of a sentence that
    filled a line. A single word beyond the limits keeps a line to itself, and leaves after `MAX_CUE_MS`.
    Where people talk at once, a cue goes when the next one comes.
    """
    cues = [
        Cue(run[0].start_ms, max(word.end_ms for word in run), "\n".join(lines), turn.speaker)
        for turn in turns
        for run, lines in _runs(words[turn.first_word_idx : turn.first_word_idx + turn.n_words])
    ]
    return list(_one_at_a_time(cues))


def write_srt(cues: Iterable[Cue]) -> str:
    """SubRip: a number, `HH:MM:SS,mmm --> HH:MM:SS,mmm`, the lines, a blank line.

    SRT knows no speakers: where the speaker changes, his name stands on a line of its own, in brackets.
    """
    blocks = []
    before: str | None = None
    for number, cue in enumerate(cues, start=1):
        name = f"[{cue.speaker}]\n" if cue.speaker and cue.speaker != before else ""
        blocks.append(
            f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{name}{_solid(cue.text)}\n"
        )
        before = cue.speaker
    return "\n".join(blocks)


def read_srt(text: str) -> list[Cue]:
    """The cues of an SRT file; numbers may be missing, and a point may stand for the comma.

    A name in brackets before the words is text like any other. Raises ValueError, with the block, where
    a block has no times.
    """
    return [Cue(start_ms, end_ms, "\n".join(lines)) for _, start_ms, end_ms, lines in _timed_blocks(text)]


def write_vtt(cues: Iterable[Cue]) -> str:
    """WebVTT (W3C), the speaker as a voice tag: `<v speaker>`."""
    blocks = ["WEBVTT\n"]
    for cue in cues:
        voice = f"<v {_escaped(cue.speaker)}>" if cue.speaker else ""
        times = f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}"
        blocks.append(f"{times}\n{voice}{_escaped(_solid(cue.text))}\n")
    return "\n".join(blocks)


def read_vtt(text: str) -> list[Cue]:
    """The cues of a WebVTT file; one with several voices becomes a cue per voice.

    Notes, styles, regions, identifiers and settings are skipped; other tags are taken off their words.
    Raises ValueError where the file does not begin with WEBVTT or a cue has no times.
    """
    if not text.lstrip("\ufeff").startswith("WEBVTT"):
        raise ValueError("not WebVTT: the first line must begin with WEBVTT")
    cues = []
    for head, start_ms, end_ms, lines in _timed_blocks(text):
        if not head.startswith(_NO_CUE):
            cues += [Cue(start_ms, end_ms, words, voice) for voice, words in _voices("\n".join(lines))]
    return cues


_SENTENCE_END = re.compile(r"[.!?。！？…][\"'”’)」』]*$")


def _runs(words: Iterable[Word]) -> Iterator[tuple[list[Word], list[str]]]:
    """A turn's words in runs that make a cue each, with the cue's lines."""
    run: list[Word] = []
    lines: list[str] = []
    for word in words:
        longer = _added(lines, word.text)
        if run and (
            len(longer) > MAX_LINES
            or word.end_ms - run[0].start_ms > MAX_CUE_MS
            or word.start_ms - run[-1].end_ms > MAX_PAUSE_MS
            or (len(lines) == MAX_LINES and _SENTENCE_END.search(lines[-1]))
        ):
            yield run, lines
            run, longer = [], _added([], word.text)
        run.append(word)
        lines = longer
    if run:
        yield run, lines


def _added(lines: list[str], text: str) -> list[str]:
    """The lines with a word more, on a new line where the last is full."""
    longer = join_words([*lines[-1:], text])
    if lines and _columns(longer) > MAX_COLUMNS:
        return [*lines, text.strip()]
    return [*lines[:-1], longer]


def _columns(line: str) -> int:
    return sum(0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1 for char in line)


def _one_at_a_time(cues: Sequence[Cue]) -> Iterator[Cue]:
    """The same cues; each begins after the one before it began, and ends before the next begins."""
    starts_ms = list(
        accumulate((cue.start_ms for cue in cues), lambda before_ms, start_ms: max(before_ms + 1, start_ms))
    )
    for cue, start_ms, next_ms in zip(cues, starts_ms, (*starts_ms, sys.maxsize)[1:], strict=True):
        end_ms = max(cue.end_ms, start_ms + 1)
        yield replace(cue, start_ms=start_ms, end_ms=min(end_ms, start_ms + MAX_CUE_MS, next_ms))


def _clock(at_ms: int, point: str) -> str:
    seconds, ms = divmod(at_ms, 1_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"


def _solid(text: str) -> str:
    """Without blank lines: one would end the cue."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


_CLOCK = r"(?:(\d+):)?(\d{1,2}):(\d{2})[,.](\d{3})"
_TIMES = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?")
_NO_CUE = ("WEBVTT", "NOTE", "STYLE", "REGION")


def _timed_blocks(text: str) -> Iterator[tuple[str, int, int, list[str]]]:
    """Of each block: its first line, start and end in ms, and the lines after the times."""
    text = text.lstrip("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for block in re.split(r"\n[ \t]*(?:\n[ \t]*)+", text.strip("\n")):
        lines = block.split("\n")
        times = next(((i, match) for i, line in enumerate(lines[:2]) if (match := _TIMES.fullmatch(line))), None)
        if times:
            i, match = times
            yield lines[0], _milliseconds(*match.groups()[:4]), _milliseconds(*match.groups()[4:]), lines[i + 1 :]
        elif block.strip() and not block.startswith(_NO_CUE):
            raise ValueError(f"a cue without times: {block[:80]!r}")


def _milliseconds(hours: str | None, minutes: str, seconds: str, ms: str) -> int:
    return ((int(hours or 0) * 60 + int(minutes)) * 60 + int(seconds)) * 1_000 + int(ms)


_VOICE = re.compile(r"<v(?:\.[^\s>]*)?[ \t]+([^>]*)>")
_TAG = re.compile(r"<[^>]*>")


def _voices(payload: str) -> Iterator[tuple[str | None, str]]:
    """(speaker, words) of each voice in a cue's text."""
    before, *voiced = _VOICE.split(payload)
    for voice, words in [(None, before), *zip(voiced[::2], voiced[1::2], strict=True)]:
        if spoken := html.unescape(_TAG.sub("", words)).strip():
            yield (html.unescape(voice).strip() if voice else None), spoken


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)
