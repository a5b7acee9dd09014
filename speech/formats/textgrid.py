"""Praat TextGrid: for each speaker a tier of turns and a tier of words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from speech.formats.document import UNKNOWN_SPEAKER, Document, seconds

SUFFIX = "TextGrid"
Interval = tuple[int, int, str]


def write(document: Document) -> str:
    end_ms = max([document.duration_ms, 1, *(turn.end_ms for turn in document.turns)])
    speakers = list(dict.fromkeys(turn.speaker or UNKNOWN_SPEAKER for turn in document.turns))
    tiers: list[tuple[str, list[Interval]]] = []
    for speaker in speakers:
        own = [turn for turn in document.turns if (turn.speaker or UNKNOWN_SPEAKER) == speaker]
        words = (word for turn in own for word in turn.words)
        tiers.append((speaker, [(turn.start_ms, turn.end_ms, turn.text) for turn in own]))
        tiers.append((f"{speaker} words", [(word.start_ms, word.end_ms, word.text) for word in words]))
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {seconds(end_ms)}"]
    lines += ["tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, intervals) in enumerate(tiers, 1):
        lines += _tier(number, name, list(_filled(intervals, end_ms)), end_ms)
    return "\n".join(lines) + "\n"


def _tier(number: int, name: str, intervals: list[Interval], end_ms: int) -> Iterator[str]:
    yield f"    item [{number}]:"
    yield '        class = "IntervalTier"'
    yield f'        name = "{_quoted(name)}"'
    yield "        xmin = 0"
    yield f"        xmax = {seconds(end_ms)}"
    yield f"        intervals: size = {len(intervals)}"
    for index, (start_ms, stop_ms, text) in enumerate(intervals, 1):
        yield f"        intervals [{index}]:"
        yield f"            xmin = {seconds(start_ms)}"
        yield f"            xmax = {seconds(stop_ms)}"
        yield f'            text = "{_quoted(text)}"'


def _filled(intervals: Iterable[Interval], end_ms: int) -> Iterator[Interval]:
    """The intervals with the gaps between them: a tier covers the whole time. An overlap goes to the earlier one."""
    at_ms = 0
    for start_ms, stop_ms, text in intervals:
        if stop_ms <= at_ms:
            continue
        if start_ms > at_ms:
            yield at_ms, start_ms, ""
        yield max(start_ms, at_ms), stop_ms, text
        at_ms = stop_ms
    if at_ms < end_ms:
        yield at_ms, end_ms, ""


def _quoted(text: str) -> str:
    return text.replace('"', '""')
