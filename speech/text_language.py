"""The language of a text."""

from __future__ import annotations

from collections.abc import Sequence

ENOUGH_CHARACTERS = 40
"""Shorter texts are not classified."""
SAMPLE_WORDS = 2000


def detect_language(words: Sequence[str]) -> str | None:
    """Two-letter code by character n-grams (langid); None where there is too little text."""
    text = " ".join(words[:SAMPLE_WORDS])
    if len(text) < ENOUGH_CHARACTERS:
        return None
    import py3langid

    language, _score = py3langid.classify(text)
    return str(language)
