"""When the spoken language disagrees with the declared one."""

from __future__ import annotations

import pytest

from speech.spoken_language import disagreeing
from speech.types import SpokenLanguage

FRENCH, ENGLISH = SpokenLanguage("fr", 0.7, 0.8), SpokenLanguage("en", 0.25, 0.2)


@pytest.mark.parametrize(
    ("found", "declared", "other"),
    [
        ((FRENCH,), "en", "fr"),
        ((FRENCH, ENGLISH), "de", "fr"),
        ((FRENCH, ENGLISH), "en", None),  # by less than the margin
        ((FRENCH,), "fr", None),
        ((FRENCH,), None, None),
        ((), "en", None),
    ],
)
def test_only_a_clear_difference_is_a_disagreement(found, declared, other) -> None:
    assert disagreeing(found, declared) == other
