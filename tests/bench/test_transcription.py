"""The measures of the transcription benchmark, on cases small enough to work out by hand."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("whisper_normalizer", reason="needs the extra `dev`")

from bench.error_rates import WordErrors
from bench.transcription import ReliabilityBin, TranscriptErrors, expected_calibration_error, late_ms, reliability
from speech.types import Transcript, Word


def test_a_published_word_error_rate_ignores_spelling_and_titles() -> None:
    found = TranscriptErrors()
    words = [("Mr.", 0.9), ("Brown", 0.8), ("chose", 0.7), ("red", 0.2), ("colors.", 0.6)]
    transcript = Transcript(tuple(Word(text, 0, 1, confidence) for text, confidence in words), 1_000, dropped_words=3)
    found.add("mister brown chose twenty colours", (), transcript)
    assert (found.words, found.dropped_words) == (WordErrors(1, 5), 3)
    assert found.confidences == [(0.9, True), (0.8, True), (0.7, True), (0.2, False), (0.6, True)]


def test_starts_are_compared_where_the_word_is_right() -> None:
    spoken = [("one", 100), ("two", 500), ("three", 900)]
    found = [Word("One,", 150, 300), Word("too", 600, 700), Word("three.", 880, 990)]
    assert late_ms(spoken, found) == [50, -20]
    assert late_ms([], found) == []


def test_calibration_is_the_distance_of_confidence_and_accuracy() -> None:
    assert expected_calibration_error([(0.95, True), (0.95, True)]) == pytest.approx(0.05)
    assert expected_calibration_error([(0.95, True), (0.95, False), (0.05, False), (1.0, True)]) == pytest.approx(
        (3 * abs(2.9 / 3 - 2 / 3) + 0.05) / 4
    )
    assert math.isnan(expected_calibration_error([]))
    bins = list(reliability([(0.95, True), (0.95, False), (0.05, False)]))
    assert bins == [ReliabilityBin(1, 0.05, 0.0), ReliabilityBin(2, 0.95, 0.5)]
