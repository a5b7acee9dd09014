"""Subtitles of a lesson in its language, in another, or in both: cues that are in order, never overlap, and can be read.

A cue has two lines of at most 42 characters, of which wide ones count 1.75. Cues less than a second apart touch. Where
there is time before the next one, a cue stays as long as it takes to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import accumulate
from unicodedata import east_asian_width

from speech.formats.document import clock
from speech.turns import join_words
from speech.types import Word

WIDE = 1.75
_TOKEN = re.compile(r"\S+")
_UNSPACED = r"\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
_PIECE = re.compile(
    rf"[(\[{{“‘«「『（【《]*(?:[{_UNSPACED}][\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u102b-\u103e\u17b4-\u17d3]*|[^\s{_UNSPACED}]+?(?=[{_UNSPACED}（「『【《]|$))"
    r"[)\]}”’»」』）】》、。，！？：；.,!?:;…ー]*|.",
    re.DOTALL,
)
_BAD_CUT = 0.2
"""A cut that is not after punctuation is as bad as a cue that is a little more than half full."""
_GOOD_BREAK = re.compile(r"[.!?…。！？,;:，；：、)»”]$")


@dataclass(frozen=True, slots=True)
class SubtitleRule:
    """How much text is shown for how long."""

    line_width: float = 42.0
    """Of one line; a wide character counts 1.75."""
    max_lines: int = 2
    characters_per_second: float = 17.0
    """What people read without haste; a wide character counts 1.75."""
    min_ms: int = 1_000
    max_ms: int = 7_000
    close_gap_ms: int = 1_000
    """A shorter gap between two cues is closed: text that vanishes and comes back is noticed."""

    def __post_init__(self) -> None:
        if self.line_width < 2 or self.max_lines < 1 or not 0 < self.min_ms <= self.max_ms:
            raise ValueError(f"{self}: a line holds a wide character, and 0 < min_ms <= max_ms.")


@dataclass(frozen=True, slots=True)
class SubtitleText:
    """A sentence with its time and its translation."""

    start_ms: int
    end_ms: int
    source: str
    target: str | None = None
    """None: it was not translated; nothing is shown in the other language."""
    words: tuple[Word, ...] = ()
    """The words of `source`, where their times are known: long sentences are cut at these."""
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown from one time to another."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    speaker: str | None = None

    @property
    def characters_per_second(self) -> float:
        return 1000 * sum(map(width, self.lines)) / (self.end_ms - self.start_ms)


@dataclass(frozen=True, slots=True)
class _Token:
    """A word, or a character of a script without spaces: text is cut between tokens."""

    text: str
    is_glued: bool = False
    """Whether no space separates it from the one before."""
    word_idx: int | None = None


def width(text: str) -> float:
    """Of a line: 1 for each character, 1.75 for each wide one."""
    return sum(WIDE if east_asian_width(one) in "WF" else 1.0 for one in text)


def source_cues(texts: Sequence[SubtitleText], rule: SubtitleRule = SubtitleRule()) -> list[Cue]:
    """The sentences as they were said."""
    parts = [part for text in texts for part in _parts(text, _tokens_of_source(text, rule), rule, rule.max_lines)]
    return _timed(parts, rule)


def target_cues(texts: Sequence[SubtitleText], rule: SubtitleRule = SubtitleRule()) -> list[Cue]:
    """Their translations."""
    parts = [
        part for text in texts if text.target for part in _parts(text, _tokens(text.target, rule), rule, rule.max_lines)
    ]
    return _timed(parts, rule)


def bilingual_cues(texts: Sequence[SubtitleText], rule: SubtitleRule = SubtitleRule()) -> list[Cue]:
    """The translation above the source, in one line each. A part of one stays while the other needs more parts."""
    return _timed([part for text in texts for part in _bilingual_parts(text, rule)], rule)


def too_fast(cues: Sequence[Cue], rule: SubtitleRule = SubtitleRule(), tolerance: float = 1.25) -> list[Cue]:
    """The cues that nobody can read in their time."""
    return [cue for cue in cues if cue.characters_per_second > tolerance * rule.characters_per_second]


def srt(cues: Sequence[Cue]) -> str:
    """A SubRip file."""
    parts = []
    for number, cue in enumerate(cues, start=1):
        text = "\n".join(cue.lines).replace("-->", "→")
        parts.append(f"{number}\n{clock(cue.start_ms, ',')} --> {clock(cue.end_ms, ',')}\n{text}\n")
    return "\n".join(parts)


def vtt(cues: Sequence[Cue]) -> str:
    """A WebVTT file, with the speaker in a voice tag."""
    parts = ["WEBVTT\n"]
    for cue in cues:
        text = escape("\n".join(cue.lines), quote=False)
        voice = escape(" ".join((cue.speaker or "").split()), quote=False)
        text = f"<v {voice}>{text}</v>" if voice else text
        parts.append(f"{clock(cue.start_ms, '.')} --> {clock(cue.end_ms, '.')}\n{text}\n")
    return "\n".join(parts)


def _parts(text: SubtitleText, tokens: Sequence[_Token], rule: SubtitleRule, max_lines: int) -> list[Cue]:
    """One cue for as much of the sentence as fits, each with the share of its time."""
    spans = _divided(tokens, rule.line_width, max_lines)
    times = _times(text, tokens, spans)
    return [
        Cue(start_ms, end_ms, _lines(tokens[start:stop], rule.line_width, max_lines), text.speaker)
        for (start, stop), (start_ms, end_ms) in zip(spans, times, strict=True)
    ]


def _bilingual_parts(text: SubtitleText, rule: SubtitleRule) -> list[Cue]:
    source, target = _tokens_of_source(text, rule), _tokens(text.target or "", rule)
    spans = _divided(source, rule.line_width, 1), _divided(target, rule.line_width, 1)
    if not spans[1]:
        return _parts(text, source, rule, 1)
    n_parts = max(map(len, spans))
    longer, tokens = (spans[0], source) if len(spans[0]) == n_parts else (spans[1], target)
    times = _times(text, tokens, longer)
    cues = []
    for part, (start_ms, end_ms) in enumerate(times):
        shown = []
        for own, own_spans in ((target, spans[1]), (source, spans[0])):
            if own_spans:
                start, stop = own_spans[part * len(own_spans) // n_parts]
                shown.append(_joined(own[start:stop]))
        cues.append(Cue(start_ms, end_ms, tuple(shown), text.speaker))
    return cues


def _tokens_of_source(text: SubtitleText, rule: SubtitleRule) -> list[_Token]:
    """Of the words, if there are any, so that a cut has the time of its word."""
    if not text.words:
        return _tokens(text.source, rule)
    found: list[_Token] = []
    for index, word in enumerate(text.words):
        before = found[-1].text[-1] if found else ""
        own = _tokens(word.text, rule)
        for number, token in enumerate(own):
            is_glued = token.is_glued if number else bool(before) and " " not in join_words([before, token.text[0]])
            found.append(_Token(token.text, is_glued, index))
    return found


def _tokens(text: str, rule: SubtitleRule) -> list[_Token]:
    """The pieces between which a text may be cut. A word that is wider than a line is cut inside."""
    found: list[_Token] = []
    for match in _TOKEN.finditer(text):
        pieces = _PIECE.findall(match[0])
        narrow = [part for piece in pieces for part in _narrow(piece, rule.line_width)]
        found += [_Token(piece, number > 0) for number, piece in enumerate(narrow)]
    return found


def _narrow(piece: str, most: float) -> Iterator[str]:
    part = ""
    for character in piece:
        if part and width(part) + width(character) > most:
            yield part
            part = ""
        part += character
    yield part


def _joined(tokens: Sequence[_Token]) -> str:
    return "".join(
        token.text if token.is_glued or not number else f" {token.text}" for number, token in enumerate(tokens)
    )


def _divided(tokens: Sequence[_Token], line_width: float, max_lines: int) -> list[tuple[int, int]]:
    """Spans of tokens that fit a cue each: as few as possible, of similar width, cut after punctuation where possible."""
    best: list[tuple[int, float, int]] = [(0, 0.0, 0)]
    """For the tokens before each place: cues, how bad the cuts are, and where the last cue begins."""
    for stop in range(1, len(tokens) + 1):
        options = []
        for start in range(stop - 1, -1, -1):
            used = _filled_lines(tokens[start:stop], line_width)
            if len(used) > max_lines:
                break
            full = _width(tokens[start:stop]) / (line_width * max_lines)
            is_good = stop == len(tokens) or bool(_GOOD_BREAK.search(tokens[stop - 1].text))
            n_cues, badness, _ = best[start]
            options.append((n_cues + 1, badness + (1 - full) ** 2 + (0.0 if is_good else _BAD_CUT), start))
        best.append(min(options))
    spans = []
    stop = len(tokens)
    while stop:
        spans.append((best[stop][2], stop))
        stop = best[stop][2]
    return spans[::-1]


def _filled_lines(tokens: Sequence[_Token], line_width: float) -> list[float]:
    """The widths of the lines when each takes as much as it can."""
    lines: list[float] = []
    for token in tokens:
        own = width(token.text)
        space = 0.0 if token.is_glued else 1.0
        if lines and lines[-1] + space + own <= line_width:
            lines[-1] += space + own
        else:
            lines.append(own)
    return lines


def _width(tokens: Sequence[_Token]) -> float:
    return width(_joined(tokens))


def _lines(tokens: Sequence[_Token], line_width: float, max_lines: int) -> tuple[str, ...]:
    """The text of a cue in lines: one if it fits, otherwise two of similar width; more lines are filled in turn."""
    if _width(tokens) <= line_width:
        return (_joined(tokens),)
    options = []
    for cut in range(1, len(tokens)):
        above, below = _width(tokens[:cut]), _width(tokens[cut:])
        if max(above, below) <= line_width:
            bonus = line_width / 4 if _GOOD_BREAK.search(tokens[cut - 1].text) else 0.0
            options.append((abs(above - below) - bonus, cut))
    if options and max_lines >= 2:
        cut = min(options)[1]
        return _joined(tokens[:cut]), _joined(tokens[cut:])
    lines: list[list[_Token]] = []
    for token in tokens:
        if lines and _width([*lines[-1], token]) <= line_width:
            lines[-1].append(token)
        else:
            lines.append([token])
    return tuple(map(_joined, lines))


def _times(text: SubtitleText, tokens: Sequence[_Token], spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The time of each span: by its words, else by its share of the width."""
    if not spans:
        return []
    if tokens[0].word_idx is not None:
        starts = [text.words[tokens[start].word_idx or 0].start_ms for start, _ in spans]
    else:
        widths = [_width(tokens[start:stop]) for start, stop in spans]
        duration_ms = text.end_ms - text.start_ms
        before = [0.0, *accumulate(widths)]
        starts = [text.start_ms + int(duration_ms * at / before[-1]) for at in before[:-1]]
    return list(zip(starts, [*starts[1:], text.end_ms], strict=True))


def _timed(cues: Sequence[Cue], rule: SubtitleRule) -> list[Cue]:
    """In order and without overlap; each as long as it takes to read, if the next one leaves the time."""
    ordered = sorted((cue for cue in cues if any(cue.lines)), key=lambda cue: cue.start_ms)
    starts: list[int] = []
    for cue in ordered:
        starts.append(max(cue.start_ms, 0, starts[-1] + 1 if starts else 0))
    timed = []
    for number, cue in enumerate(ordered):
        start_ms = starts[number]
        next_ms = starts[number + 1] if number + 1 < len(starts) else None
        reading_ms = int(1000 * sum(map(width, cue.lines)) / rule.characters_per_second)
        end_ms = max(cue.end_ms, start_ms + min(max(rule.min_ms, reading_ms), rule.max_ms))
        if next_ms is not None:
            end_ms = next_ms if next_ms - end_ms < rule.close_gap_ms else end_ms
        timed.append(replace(cue, start_ms=start_ms, end_ms=end_ms))
    return timed
