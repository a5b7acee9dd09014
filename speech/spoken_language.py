"""Whether the language that is spoken, by its sound, differs from the one that a feed declares."""

from __future__ import annotations

from collections.abc import Sequence

from speech.types import SpokenLanguage

MARGIN = 0.5
"""Less difference in probability is no disagreement."""


def disagreeing(found: Sequence[SpokenLanguage], declared: str | None) -> str | None:
    """The likeliest language, if it is another one than `declared` and likelier by `MARGIN`; None otherwise."""
    if not found or declared is None or found[0].language == declared:
        return None
    of_declared = next((one.probability for one in found if one.language == declared), 0.0)
    return found[0].language if found[0].probability - of_declared >= MARGIN else None
