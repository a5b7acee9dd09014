"""Tables of the accuracy benchmark on results that are known, and dialogues that are always the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("whisper_normalizer", reason="needs the extra `dev`")

from bench import spliced
from bench.accuracy import diarization_table, speaker_word_table, transcription_tables
from bench.recordings import Case
from speech.types import Diarization, Segment, Transcript, Word

ANN, BOB = Segment("ann", 0, 10_000), Segment("bob", 10_000, 20_000)
CASES = [
    Case("calls", "one", Path("one.wav"), (ANN, BOB), (("ann", "good morning"), ("bob", "hello"))),
    Case("calls", "two", Path("two.wav"), (ANN,)),
]
SPOKEN = {
    "one": Diarization((Segment("S1", 0, 10_500), Segment("S2", 10_500, 20_000))),
    "two": Diarization((Segment("S1", 0, 5_000), Segment("S2", 5_000, 10_000))),
}
WORDS = (Word("Good", 0, 500, 0.9), Word("mourning,", 500, 900, 0.3), Word("hello.", 11_000, 12_000, 0.8))


def test_errors_of_diarizers_are_pooled_by_data_set() -> None:
    *_, one, two, pooled = diarization_table("d", CASES, SPOKEN, each=True)
    assert one == "| · one | 1.3% | 2.5% | 1.3% | 0.0% / 0.0% / 1.3% | 1 of 1 | 0.00 |"
    assert two == "| · two | 50.0% | 50.0% | 50.0% | 0.0% / 0.0% / 50.0% | 0 of 1 | 1.00 |"
    assert pooled == "| calls | 17.5% | 18.3% | 17.5% | 0.0% / 0.0% / 17.5% | 1 of 2 | 0.50 |"


def test_words_their_confidences_and_their_speakers_are_compared() -> None:
    found = {"one": Transcript(WORDS, 10_000, dropped_words=2)}
    table = list(transcription_tables("t", CASES, found, each=False))
    assert table[2] == "| calls | 33.3% | – | 0.200 | 2 |"
    assert list(speaker_word_table(CASES, {"d": SPOKEN}, {"t": found}))[-1] == "| calls | d | t | 33.3% |"


@pytest.mark.skipif(not spliced.REAL.exists(), reason="the shared recordings are not here")
def test_a_dialogue_is_spliced_from_its_plan_alone() -> None:
    plan = spliced.Plan(3, 1, (-500, 100), (800, 3_500))
    one, other = spliced.splice(plan), spliced.splice(plan)
    assert one.segments == other.segments
    assert np.array_equal(one.samples, other.samples)
    assert len(one.samples) == 60 * 16_000
    assert {segment.speaker for segment in one.segments} == {"1688", "2033", "2609"}
    assert all(800 <= segment.end_ms - segment.start_ms < 3_500 for segment in one.segments)
    assert all(a.speaker != b.speaker for a, b in zip(one.segments, one.segments[1:], strict=False))
