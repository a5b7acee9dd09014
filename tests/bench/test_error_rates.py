from __future__ import annotations

import pytest

from bench.error_rates import DiarizationErrors, WordErrors, cpwer, der, normalise, wer
from speech.types import Segment


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don’t stop -- now!", ["don't", "stop", "now"]),
        ("well-known 'quoted' U.S. café", ["well", "known", "quoted", "u", "s", "café"]),
        ("snake_case ①", ["snake", "case", "1"]),
        ("…", []),
    ],
)
def test_words_are_compared_without_case_and_punctuation(text: str, words: list[str]) -> None:
    assert normalise(text) == words


@pytest.mark.parametrize(
    ("reference", "hypothesis", "errors"),
    [
        ("the cat sat", "The cat sat.", WordErrors(0, 3)),
        ("the cat sat", "the bat sat", WordErrors(1, 3)),
        ("the cat sat", "cat sat", WordErrors(1, 3)),
        ("the cat sat", "the the cat sat down", WordErrors(2, 3)),
        ("the cat sat", "", WordErrors(3, 3)),
        ("", "noise", WordErrors(1, 0)),
        ("", "", WordErrors(0, 0)),
    ],
)
def test_wer_counts_substitutions_deletions_and_insertions(reference: str, hypothesis: str, errors: WordErrors) -> None:
    assert wer(reference, hypothesis) == errors


def test_rates_are_pooled_by_adding_counts() -> None:
    assert (WordErrors(1, 2) + WordErrors(0, 8)).rate == 0.1
    assert WordErrors(0, 0).rate == 0.0
    assert WordErrors(1, 0).rate == float("inf")


def test_cpwer_pairs_speakers_so_that_errors_are_fewest() -> None:
    reference = {"ann": "good morning everyone", "bob": "hello"}
    assert cpwer(reference, {"S1": "hello", "S2": "good morning everyone"}) == WordErrors(0, 4)


def test_cpwer_charges_a_speaker_too_many_and_one_too_few() -> None:
    assert cpwer({"ann": "one two three four"}, {"S1": "one two", "S2": "three four"}) == WordErrors(4, 4)
    assert cpwer({"ann": "one two", "bob": "three"}, {"S1": "one two three"}) == WordErrors(2, 3)
    assert cpwer({}, {}) == WordErrors(0, 0)


ANN_THEN_BOB = [Segment("ann", 0, 10_000), Segment("bob", 10_000, 20_000)]


@pytest.mark.parametrize(
    ("hypothesis", "errors"),
    [
        ([Segment("S2", 0, 10_000), Segment("S1", 10_000, 20_000)], DiarizationErrors(0, 0, 0, 20_000)),
        ([Segment("S1", 0, 20_000)], DiarizationErrors(0, 0, 10_000, 20_000)),
        ([Segment("S1", 1_000, 10_000), Segment("S2", 10_000, 20_000)], DiarizationErrors(1_000, 0, 0, 20_000)),
        ([*ANN_THEN_BOB, Segment("S3", 20_000, 22_000)], DiarizationErrors(0, 2_000, 0, 20_000)),
        ([*ANN_THEN_BOB, Segment("S3", 5_000, 6_000)], DiarizationErrors(0, 1_000, 0, 20_000)),
        ([], DiarizationErrors(20_000, 0, 0, 20_000)),
    ],
)
def test_der_is_exact(hypothesis: list[Segment], errors: DiarizationErrors) -> None:
    assert der(ANN_THEN_BOB, hypothesis) == errors


def test_overlapped_speech_is_scored() -> None:
    overlapped = [Segment("ann", 0, 10_000), Segment("bob", 8_000, 12_000)]
    assert der(overlapped, [Segment("S1", 0, 10_000)]) == DiarizationErrors(4_000, 0, 0, 14_000)
    assert der(overlapped, [Segment("S1", 0, 10_000)], skip_overlap=True) == DiarizationErrors(2_000, 0, 0, 10_000)


def test_the_collar_is_taken_out_on_each_side_of_the_references_boundaries() -> None:
    late = [Segment("S1", 0, 10_200), Segment("S2", 10_200, 20_000)]
    assert der(ANN_THEN_BOB, late) == DiarizationErrors(0, 0, 200, 20_000)
    assert der(ANN_THEN_BOB, late, collar_ms=250) == DiarizationErrors(0, 0, 0, 19_000)


def test_a_reference_without_speech() -> None:
    assert der([], []).rate == 0.0
    assert der([], [Segment("S1", 0, 1_000)]) == DiarizationErrors(0, 1_000, 0, 0)
