"""Which part of a lesson a voice is cloned from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speech.engines.line_synthesizer import read_wav
from speech.errors import BadLesson
from speech.types import Span
from speech.voice_references import best_references, write_reference
from tests.videos import tone, write_video

SPANS = {
    0: ("S1", Span(0, 4_000)),
    1: ("S2", Span(5_000, 9_000)),
    2: ("S1", Span(10_000, 30_000)),
    3: ("S1", Span(31_000, 32_000)),
}


def test_a_line_is_cloned_from_itself_or_from_the_longest_of_its_speaker() -> None:
    assert best_references(SPANS, dict.fromkeys(SPANS, "segment")) == {
        0: Span(0, 4_000), 1: Span(5_000, 9_000), 2: Span(10_000, 25_000), 3: Span(10_000, 25_000),
    }  # fmt: skip
    assert best_references(SPANS, {0: "one", 1: "one"}) == {0: Span(10_000, 25_000), 1: Span(5_000, 9_000)}


def test_a_speaker_who_says_too_little_is_named() -> None:
    with pytest.raises(BadLesson, match="S2 says no sentence of 3 s"):
        best_references({0: ("S2", Span(0, 2_000))}, {0: "one"})


def test_recordings_are_cut_at_their_times(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", np.concatenate([tone(2, 0.0), tone(2, 0.3)]))
    spans = {Span(500, 1_500), Span(2_500, 3_500)}
    found = write_reference(source, spans, tmp_path)
    assert set(found) == spans
    levels = [np.abs(read_wav(found[span]).samples).max() for span in sorted(spans, key=lambda one: one.start_ms)]
    assert levels[0] < 100
    assert levels[1] > 8_000
    assert len(read_wav(found[Span(500, 1_500)]).samples) == 24_000
