"""Chunks hold all speech exactly once, within the limit, and end where nobody speaks."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from speech.chunks import LONGEST_PAUSE_MS, silence_bounded
from speech.types import Span

NO_SAMPLES = np.zeros(0, np.int16)
NOISE = np.random.default_rng(3).integers(-9_000, 9_000, 16 * 90_000, np.int16)
"""Shorter than some of the speech below: where there are no samples, the middle is as good as any point."""


@st.composite
def speech(draw: st.DrawFn) -> list[Span]:
    """Spans of up to a minute with pauses of up to ten seconds."""
    spans, now_ms = [], 0
    for pause_ms, speech_ms in draw(st.lists(st.tuples(st.integers(1, 10_000), st.integers(1, 60_000)), max_size=40)):
        spans.append(Span(now_ms + pause_ms, now_ms + pause_ms + speech_ms))
        now_ms = spans[-1].end_ms
    return spans


@given(speech(), st.integers(1_000, 60_000))
def test_all_speech_is_covered_once_in_order_and_within_the_limit(spans: list[Span], max_ms: int) -> None:
    chunks = silence_bounded(spans, max_ms, NOISE)

    assert all(0 < chunk.duration_ms <= max_ms for chunk in chunks)
    assert all(left.end_ms <= right.start_ms for left, right in pairwise(chunks))
    covered = sum(
        max(0, min(span.end_ms, chunk.end_ms) - max(span.start_ms, chunk.start_ms))
        for span in spans
        for chunk in chunks
    )
    assert covered == sum(span.duration_ms for span in spans)
    edges = {edge for span in spans for edge in (span.start_ms, span.end_ms)}
    assert all(
        edge in edges or any(span.start_ms < edge < span.end_ms and span.duration_ms > max_ms for span in spans)
        for chunk in chunks
        for edge in (chunk.start_ms, chunk.end_ms)
    )


def test_no_speech_no_chunks() -> None:
    assert silence_bounded([], 15_000, NO_SAMPLES) == []


def test_spans_that_fit_are_one_chunk_with_its_pauses() -> None:
    assert silence_bounded([Span(500, 4_000), Span(5_000, 9_000)], 15_000, NO_SAMPLES) == [Span(500, 9_000)]


def test_a_full_chunk_ends_at_the_longest_pause_of_its_second_half() -> None:
    spans = [Span(0, 3_000), Span(4_900, 6_000), Span(7_500, 8_000), Span(8_200, 9_000), Span(9_100, 12_000)]
    assert silence_bounded(spans, 10_000, NO_SAMPLES) == [Span(0, 6_000), Span(7_500, 12_000)]


def test_a_long_pause_always_ends_a_chunk() -> None:
    spans = [Span(0, 1_000), Span(1_001 + LONGEST_PAUSE_MS, 6_000)]
    assert silence_bounded(spans, 30_000, NO_SAMPLES) == spans


def test_a_span_over_the_limit_is_cut_where_it_is_quietest() -> None:
    samples = np.full(16 * 20_000, 8_000, np.int16)
    samples[16 * 7_000 : 16 * 7_200] = 10
    assert silence_bounded([Span(0, 12_000)], 10_000, samples) == [Span(0, 7_050), Span(7_050, 12_000)]
