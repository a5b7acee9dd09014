"""The measures of the transcription benchmark, on cases small enough to work out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("whisper_normalizer", reason="needs the extra `dev`")

from bench.transcription import Measured, Reading, add, expected_calibration_error, late_ms
from speech.types import Transcript, Word


def test_a_published_word_error_rate_ignores_spelling_and_titles() -> None:
    measured = Measured()
    reading = Reading("g", "r", Path("r.wav"), "mister brown chose twenty colours")
    words = [("Mr.", 0.9), ("Brown", 0.8), ("chose", 0.7), ("red", 0.2), ("colors.", 0.6)]
    heard = tuple(Word(text, 0, 1, confidence) for text, confidence in words)
    add(measured, reading, Transcript(heard, 1_000, dropped_words=3))
    assert (measured.errors, measured.reference_words, measured.dropped_words) == (1, 5, 3)
    assert measured.confidences == [(0.9, True), (0.8, True), (0.7, True), (0.2, False), (0.6, True)]


def test_starts_are_compared_where_the_word_is_right() -> None:
    spoken = [("one", 100), ("two", 500), ("three", 900)]
    heard = [Word("One,", 150, 300), Word("too", 600, 700), Word("three.", 880, 990)]
    assert late_ms(spoken, heard) == [50, -20]
    assert late_ms([], heard) == []


def test_calibration_is_the_distance_of_confidence_and_accuracy() -> None:
    assert expected_calibration_error([(0.95, True), (0.95, True)]) == pytest.approx(0.05)
    assert expected_calibration_error([(0.95, True), (0.95, False), (0.05, False), (1.0, True)]) == pytest.approx(
        (3 * abs(2.9 / 3 - 2 / 3) + 0.05) / 4
    )
    assert math.isnan(expected_calibration_error([]))
