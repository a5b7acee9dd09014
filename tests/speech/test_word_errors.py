"""Our words against a publisher's."""

import pytest

from speech.word_errors import normalised_words, word_error_rate


def test_case_punctuation_and_remarks_do_not_count() -> None:
    reference = normalised_words(["[music] “Don’t, well-known Émile!” (laughs)"], "en")
    assert reference == ["dont", "well", "known", "émile"]
    assert word_error_rate(normalised_words(["don't", "well", "known", "emile", "so"], "en"), reference) == 0.5


def test_characters_are_compared_where_no_spaces_separate_words() -> None:
    assert normalised_words(["今天,", "天气"], "zh") == ["今", "天", "天", "气"]


@pytest.mark.parametrize("opening", ["[", "("])
def test_brackets_that_never_close_are_no_remark(opening: str) -> None:
    assert normalised_words([opening * 200_000, "word"], "en") == ["word"]


def test_fifty_thousand_words_are_compared() -> None:
    reference = [f"w{n % 5_000}" for n in range(50_000)]
    words = ["x" if n % 10 == 0 else word for n, word in enumerate(reference)]
    assert word_error_rate(words, reference) == 0.1
