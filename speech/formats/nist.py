"""The scoring formats of NIST: RTTM (who speaks when), CTM (timed words), STM (reference turns).

Fields stand apart by white space, times are seconds, `;;` begins a comment. Field rules: RTTM in appendix
A of the RT-09 evaluation plan, CTM and STM in the format pages of SCTK (`doc/infmts.htm`). Several
recordings may share a file: all functions map a recording's name to its rows. The channel is written as 1
and not read: we have mono only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from speech.turns import Turn
from speech.types import Segment, Word

ABSENT = "<NA>"
"""What stands in a field that has no value."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """A line of an STM file."""

    speaker: str | None
    start_ms: int
    end_ms: int
    text: str
    label: str | None = None
    """Subset names without their angle brackets, such as `o,f0,female`."""


def write_rttm(recordings: Mapping[str, Iterable[Segment]]) -> str:
    """`SPEAKER name 1 start duration <NA> <NA> speaker confidence <NA>`.

    Raises ValueError where a name holds white space: the format cannot say it.
    """
    return _written(
        f"SPEAKER {_field(name)} 1 {_seconds(segment.start_ms)} {_seconds(segment.end_ms - segment.start_ms)} "
        f"{ABSENT} {ABSENT} {_field(segment.speaker)} {_confidence(segment.confidence)} {ABSENT}"
        for name, segments in recordings.items()
        for segment in segments
    )


def read_rttm(text: str) -> dict[str, list[Segment]]:
    """The SPEAKER lines of each recording, in the file's order; other types of line are skipped.

    Raises ValueError, with the line, where one cannot be read.
    """
    return _read(text, _segment)


def write_ctm(recordings: Mapping[str, Iterable[Word]]) -> str:
    """`name 1 start duration word [confidence]`. Raises ValueError where a word holds white space or nothing."""
    return _written(
        f"{_field(name)} 1 {_seconds(word.start_ms)} {_seconds(word.end_ms - word.start_ms)} {_field(word.text)}"
        + ("" if word.confidence is None else f" {_confidence(word.confidence)}")
        for name, words in recordings.items()
        for word in words
    )


def read_ctm(text: str) -> dict[str, list[Word]]:
    """The words of each recording, in the file's order. Raises ValueError, with the line, where one cannot be read."""
    return _read(text, _word)


def write_stm(recordings: Mapping[str, Iterable[Turn | Utterance]]) -> str:
    """`name 1 speaker start end [<label>] text`; words that nobody was found for have the speaker `<NA>`.

    Raises ValueError where a name holds white space.
    """
    return _written(
        f"{_field(name)} 1 {_field(row.speaker or ABSENT)} {_seconds(row.start_ms)} {_seconds(row.end_ms)} {_labelled(row)}"
        for name, rows in recordings.items()
        for row in rows
    )


def read_stm(text: str) -> dict[str, list[Utterance]]:
    """The utterances of each recording, in the file's order. Raises ValueError, with the line, where one cannot be read."""
    return _read(text, _utterance)


def _written(lines: Iterable[str]) -> str:
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _field(value: str) -> str:
    if value.split() != [value]:
        raise ValueError(f"a field must be one word without white space, not {value!r}")
    return value


def _seconds(ms: int) -> str:
    return f"{ms / 1_000:.3f}"


def _confidence(confidence: float | None) -> str:
    return ABSENT if confidence is None else f"{confidence:.4f}"


def _labelled(row: Turn | Utterance) -> str:
    """The text with its label before it; an empty label guards a text that would be read as one."""
    label = row.label if isinstance(row, Utterance) else None
    text = " ".join(row.text.split())
    if label is None and not text.startswith("<"):
        return text
    return f"{ABSENT if label is None else f'<{_field(label)}>'} {text}"


Row = TypeVar("Row")


def _read(text: str, row_of: Callable[..., tuple[str, Row] | None]) -> dict[str, list[Row]]:
    """`row_of(*fields)` of every line that is no comment, by recording; None leaves the line out."""
    recordings: dict[str, list[Row]] = {}
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";;"):
            continue
        try:
            named = row_of(*fields)
        except (TypeError, ValueError, OverflowError) as error:  # too few fields, no numbers
            raise ValueError(f"line {number} cannot be read: {line!r}") from error
        if named:
            name, row = named
            recordings.setdefault(name, []).append(row)
    return recordings


def _segment(kind: str, name: str, *fields: str) -> tuple[str, Segment] | None:
    if kind != "SPEAKER":
        return None
    _, start_s, duration_s, _, _, speaker, *optional = fields
    start_ms, end_ms = _span_ms(start_s, duration_s)
    return name, Segment(speaker, start_ms, end_ms, _probability(*optional[:1]))


def _word(
    name: str, _channel: str, start_s: str, duration_s: str, text: str, confidence: str = ABSENT
) -> tuple[str, Word]:
    start_ms, end_ms = _span_ms(start_s, duration_s)
    return name, Word(text, start_ms, end_ms, _probability(confidence))


def _utterance(name: str, _channel: str, speaker: str, start_s: str, end_s: str, *words: str) -> tuple[str, Utterance]:
    label = None
    if words and words[0].startswith("<") and words[0].endswith(">"):
        label, words = (None if words[0] == ABSENT else words[0][1:-1]), words[1:]
    nobody = speaker == ABSENT
    return name, Utterance(None if nobody else speaker, _ms(float(start_s)), _ms(float(end_s)), " ".join(words), label)


def _span_ms(start_s: str, duration_s: str) -> tuple[int, int]:
    return _ms(float(start_s)), _ms(float(start_s) + float(duration_s))


def _ms(seconds: float) -> int:
    return round(seconds * 1_000)


def _probability(text: str = ABSENT) -> float | None:
    return None if text in (ABSENT, "NA") else float(text)
