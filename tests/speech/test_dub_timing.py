"""When lines are spoken: exact plans for examples, and what holds for all lines."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speech.dub_timing import (
    CHUNK_GAP_MS,
    CHUNK_LINES,
    END_OVERFLOW_MS,
    HIGHEST_SPEED,
    OVERFLOW_MS,
    PAUSE_MS,
    DubLine,
    plan,
)


def test_lines_that_fit_are_not_stretched_and_begin_with_their_source() -> None:
    found = plan([DubLine(0, 2_000, 1_800), DubLine(2_100, 4_000, 1_500), DubLine(6_000, 8_000, 2_000)], 9_000)
    assert [(line.start_ms, line.end_ms, line.speed, line.chunk_idx) for line in found.lines] == [
        (0, 1_800, 1.0, 0), (2_100, 3_600, 1.0, 0), (6_000, 8_000, 1.0, 1),
    ]  # fmt: skip
    assert (found.unstretched_share, found.too_long) == (1.0, ())


def test_a_chunk_may_use_the_pause_after_it() -> None:
    found = plan([DubLine(0, 2_000, 3_500), DubLine(4_000, 5_000, 1_000)], 6_000)
    assert found.lines[0] == replace(found.lines[0], start_ms=0, end_ms=3_500, speed=1.0)


def test_one_speed_for_all_lines_of_a_chunk() -> None:
    found = plan([DubLine(0, 1_000, 1_500), DubLine(1_100, 2_000, 1_500), DubLine(3_080, 4_000, 900)], 4_000)
    first, second, third = found.lines
    assert first.speed == second.speed == pytest.approx(3_000 / (3_000 - PAUSE_MS - 2))
    assert second.end_ms <= 3_000
    assert (third.start_ms, third.speed) == (3_080, 1.0)


def test_an_overflow_of_little_is_allowed_and_more_has_to_be_shortened() -> None:
    next_line = DubLine(5_000, 6_000, 500)
    fits = plan([DubLine(0, 2_000, round((5_000 + OVERFLOW_MS) * HIGHEST_SPEED)), next_line], 9_000)
    assert (fits.chunks[0].overflow_ms, fits.too_long) == (OVERFLOW_MS, ())
    assert fits.lines[1].start_ms == 5_000
    spoken_ms = 10_000
    over = plan([DubLine(0, 2_000, spoken_ms), next_line], 9_000)
    (excess,) = over.too_long
    assert excess.line_idx == 0
    again = plan([DubLine(0, 2_000, round(spoken_ms * excess.keep)), next_line], 9_000)
    assert again.too_long == ()


def test_only_lines_that_exceed_their_own_time_are_shortened() -> None:
    found = plan([DubLine(0, 1_000, 500), DubLine(1_200, 2_000, 9_000), DubLine(2_100, 3_000, 800)], 4_000)
    assert [one.line_idx for one in found.too_long] == [1]


drawn_lines = st.lists(
    st.tuples(st.integers(0, 4_000), st.integers(100, 6_000), st.integers(1, 12_000)), min_size=1, max_size=40
)


def laid(drawn: list[tuple[int, int, int]]) -> tuple[list[DubLine], int]:
    at, lines = 0, []
    for gap_ms, length_ms, spoken_ms in drawn:
        lines.append(DubLine(at + gap_ms, at + gap_ms + length_ms, spoken_ms))
        at += gap_ms + length_ms
    return lines, at


@given(drawn_lines)
def test_errors_never_add_up(drawn: list[tuple[int, int, int]]) -> None:
    lines, total_ms = laid(drawn)
    found = plan(lines, total_ms)
    assert len(found.lines) == len(lines)
    assert [index for chunk in found.chunks for index in range(chunk.first_line, chunk.end_line)] == list(
        range(len(lines))
    )
    long = {one.line_idx for one in found.too_long}
    for chunk in found.chunks:
        own = found.lines[chunk.first_line : chunk.end_line]
        assert own[0].start_ms == lines[chunk.first_line].start_ms == chunk.start_ms
        assert chunk.end_line - chunk.first_line <= CHUNK_LINES
        assert {line.speed for line in own} == {chunk.speed}
        assert 1.0 <= chunk.speed <= HIGHEST_SPEED
        for before, after in pairwise(own):
            assert after.start_ms >= before.end_ms + PAUSE_MS
        for line, source in zip(own, lines[chunk.first_line : chunk.end_line], strict=True):
            assert line.start_ms >= source.start_ms
            assert -1e-6 <= (line.end_ms - line.start_ms) * line.speed - source.spoken_ms < 2
        is_last = chunk.end_line == len(lines)
        allowed_ms = END_OVERFLOW_MS if is_last else OVERFLOW_MS
        is_too_long = own[-1].end_ms > chunk.limit_ms + allowed_ms
        assert bool(long & set(range(chunk.first_line, chunk.end_line))) == is_too_long
        if chunk.overflow_ms:
            assert chunk.speed == HIGHEST_SPEED


@given(drawn_lines)
def test_what_is_shortened_as_asked_fits(drawn: list[tuple[int, int, int]]) -> None:
    lines, total_ms = laid(drawn)
    found = plan(lines, total_ms)
    shorter = list(lines)
    for one in found.too_long:
        shorter[one.line_idx] = replace(lines[one.line_idx], spoken_ms=int(lines[one.line_idx].spoken_ms * one.keep))
    impossible = any(one.keep == 0 for one in found.too_long)  # the pauses alone take longer
    assert plan(shorter, total_ms).too_long == () or impossible


@given(drawn_lines, st.integers(0, 39), st.integers(1, 12_000))
def test_a_line_changes_no_chunk_but_its_own(drawn: list[tuple[int, int, int]], index: int, spoken_ms: int) -> None:
    lines, total_ms = laid(drawn)
    index %= len(lines)
    changed = [replace(line, spoken_ms=spoken_ms) if at == index else line for at, line in enumerate(lines)]
    before, after = plan(lines, total_ms), plan(changed, total_ms)
    own = before.lines[index].chunk_idx
    assert [one for one in before.lines if one.chunk_idx != own] == [one for one in after.lines if one.chunk_idx != own]


def test_a_pause_of_a_second_divides_chunks() -> None:
    lines = [DubLine(0, 1_000, 900), DubLine(1_000 + CHUNK_GAP_MS, 3_000, 900)]
    assert len(plan(lines, 4_000).chunks) == 2
    assert len(plan([lines[0], replace(lines[1], start_ms=999 + CHUNK_GAP_MS)], 4_000).chunks) == 1
