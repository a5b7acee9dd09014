"""How much text fits a time: characters that are spoken or read in a second, by language."""

from __future__ import annotations

_PER_SECOND = {
    "en": 15.0, "ru": 13.5, "zh": 7.0, "ja": 7.0, "ko": 7.5, "es": 15.0, "fr": 14.5, "de": 14.0, "it": 15.0, "pt": 14.5,
}  # fmt: skip
OTHER_PER_SECOND = 14.0
FASTEST = 1.25
"""Speech that is so much faster is still heard as natural."""


def characters_per_second(language: str) -> float:
    """Of a speaker who is not in a hurry."""
    return _PER_SECOND.get(language, OTHER_PER_SECOND)


def max_characters(duration_ms: int, language: str, ratio: float = FASTEST) -> int:
    """Characters that can be said within the time, at `ratio` of the normal rate. At least 1."""
    return max(1, int(duration_ms * characters_per_second(language) * ratio / 1000))
