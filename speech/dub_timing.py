"""When each translated line is spoken, and how fast: in time with the picture, and never further off as time goes on.

Lines between two pauses of the source are a chunk. A chunk begins at its source's start, whatever happened before, and
has one speed factor for all its lines, of the real durations of the spoken lines. Its time ends where the next chunk
begins. What does not fit at the highest speed may overlap the next chunk by 0.6 s; more has to be shortened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

HIGHEST_SPEED = 1.4
OVERFLOW_MS = 600
"""A chunk may last so much longer than its time, over the beginning of the next one."""
END_OVERFLOW_MS = 400
"""The same for the last chunk, at the end of the file: the dub may be 0.5 s longer than the source."""
CHUNK_GAP_MS = 1_000
"""A pause of the source that divides chunks."""
CHUNK_LINES = 5
PAUSE_MS = 120
"""Between the lines of a chunk at least."""
BREATH_MS = 80
"""Between the end of a chunk that is stretched and the next one."""
MARGIN = 0.97
"""A line that is shortened is given a little less than what fits, because voices do not speak evenly."""


@dataclass(frozen=True, slots=True)
class DubLine:
    """A line: when its source is spoken, and how long the voice needs for it."""

    start_ms: int
    end_ms: int
    spoken_ms: int


@dataclass(frozen=True, slots=True)
class PlacedLine:
    """When a line is heard."""

    start_ms: int
    end_ms: int
    speed: float
    """1.0: not stretched."""
    chunk_idx: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Lines `[first_line, end_line)`, which share a speed."""

    first_line: int
    end_line: int
    start_ms: int
    limit_ms: int
    """Where its time ends."""
    speed: float
    overflow_ms: int
    """How much later than its time it ends."""


@dataclass(frozen=True, slots=True)
class Excess:
    """A line that has to be shortened, because its chunk does not fit."""

    line_idx: int
    keep: float
    """The share of it that fits, below 1."""


@dataclass(frozen=True)
class DubPlan:
    """The times of all lines, and what does not fit."""

    lines: tuple[PlacedLine, ...]
    chunks: tuple[Chunk, ...]
    too_long: tuple[Excess, ...]

    @property
    def unstretched_share(self) -> float:
        """Of the lines; 1.0 without lines."""
        return sum(line.speed == 1.0 for line in self.lines) / len(self.lines) if self.lines else 1.0


def plan(lines: Sequence[DubLine], total_ms: int) -> DubPlan:
    """Place the lines, which are ordered by their starts, on a timeline of `total_ms`."""
    spans = _chunk_spans(lines)
    chunks, placed, too_long = list[Chunk](), list[PlacedLine](), list[Excess]()
    for index, (first, end) in enumerate(spans):
        own = lines[first:end]
        is_last = end == len(lines)
        limit_ms = total_ms if is_last else lines[end].start_ms
        allowed_ms = END_OVERFLOW_MS if is_last else OVERFLOW_MS
        speed = 1.0
        if _speed(own, limit_ms) > 1.0:
            speed = min(max(1.0, _speed(own, limit_ms if is_last else limit_ms - BREATH_MS)), HIGHEST_SPEED)
        times = _laid_out(own, speed)
        overflow_ms = max(0, times[-1][1] - limit_ms)
        chunks.append(Chunk(first, end, own[0].start_ms, limit_ms, speed, overflow_ms))
        placed += [PlacedLine(start_ms, stop_ms, speed, index) for start_ms, stop_ms in times]
        if overflow_ms > allowed_ms:
            too_long += _excess(own, first, limit_ms + allowed_ms)
    return DubPlan(tuple(placed), tuple(chunks), tuple(too_long))


def _chunk_spans(lines: Sequence[DubLine]) -> list[tuple[int, int]]:
    spans, first = list[tuple[int, int]](), 0
    for end in range(1, len(lines) + 1):
        if end == len(lines) or _divides(lines, first, end):
            spans.append((first, end))
            first = end
    return spans


def _divides(lines: Sequence[DubLine], first: int, end: int) -> bool:
    spoken_until_ms = max(line.end_ms for line in lines[first:end])
    return lines[end].start_ms - spoken_until_ms >= CHUNK_GAP_MS or end - first >= CHUNK_LINES


def _laid_out(lines: Sequence[DubLine], speed: float) -> list[tuple[int, int]]:
    """Each line begins with its source, or after the line before."""
    times, free_ms = list[tuple[int, int]](), -PAUSE_MS
    for line in lines:
        start_ms = max(line.start_ms, free_ms + PAUSE_MS)
        free_ms = start_ms + math.ceil(line.spoken_ms / speed)
        times.append((start_ms, free_ms))
    return times


def _speed(lines: Sequence[DubLine], limit_ms: int) -> float:
    """The lowest speed at which the lines end in time: each line and all after it have the time from its source on."""
    needed, spoken_ms = 0.0, 0
    for index in range(len(lines) - 1, -1, -1):
        spoken_ms += lines[index].spoken_ms
        n_after = len(lines) - 1 - index
        # Each duration is rounded up to a whole millisecond.
        time_ms = limit_ms - lines[index].start_ms - (PAUSE_MS + 1) * n_after - 1
        if time_ms <= 0:
            return math.inf
        needed = max(needed, spoken_ms / time_ms)
    return needed


def _excess(lines: Sequence[DubLine], first: int, end_ms: int) -> list[Excess]:
    """The lines of a chunk that ends too late, with the share of each that fits.

    Where the time from a line on is too short, the lines from there on that exceed their own time share the loss.
    """
    ends_ms = [after.start_ms - PAUSE_MS - 1 for after in lines[1:]] + [end_ms - 1]
    own_ms = [(end - line.start_ms) * HIGHEST_SPEED for line, end in zip(lines, ends_ms, strict=True)]
    kept_ms = [float(line.spoken_ms) for line in lines]
    for begin in range(len(lines) - 1, -1, -1):
        missing_ms = sum(kept_ms[begin:]) - sum(own_ms[begin:])
        over_ms = [max(0.0, kept - own) for kept, own in zip(kept_ms[begin:], own_ms[begin:], strict=True)]
        if missing_ms > 0:
            loss = missing_ms / sum(over_ms)
            for index, over in enumerate(over_ms, start=begin):
                kept_ms[index] = max(0.0, kept_ms[index] - loss * over) * (MARGIN if over else 1.0)
    shares = [kept / line.spoken_ms for kept, line in zip(kept_ms, lines, strict=True)]
    return [Excess(first + index, share) for index, share in enumerate(shares) if share < 1.0]
