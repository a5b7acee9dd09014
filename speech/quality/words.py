"""Measures of an utterance's words: rate, confidence, repetition, language."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from speech.text_language import detect_language
from speech.types import Word


@dataclass(frozen=True, slots=True)
class WordMeasures:
    words_per_second: float
    mean_confidence: float | None
    p10_confidence: float | None
    repetition: float | None
    language_agrees: bool | None


def word_measures(words: Sequence[Word], *, duration_ms: int, language: str) -> WordMeasures:
    confidences = [word.confidence for word in words if word.confidence is not None]
    detected = detect_language([word.text for word in words])
    return WordMeasures(
        words_per_second=len(words) / (duration_ms / 1000),
        mean_confidence=fmean(confidences) if confidences else None,
        p10_confidence=float(np.percentile(confidences, 10)) if confidences else None,
        repetition=_repetition([word.text.lower() for word in words]),
        language_agrees=detected == language if detected else None,
    )


def _repetition(words: Sequence[str]) -> float | None:
    """Share of the word triples that have occurred before in the utterance; None below four words."""
    triples = list(zip(words, words[1:], words[2:], strict=False))
    return 1 - len(set(triples)) / len(triples) if len(triples) > 1 else None
