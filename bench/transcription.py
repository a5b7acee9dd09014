"""Measures of transcripts: word errors with the field's normalization, word starts, calibration of confidences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import jiwer
import numpy as np
from whisper_normalizer.english import EnglishTextNormalizer

from bench.error_rates import WordErrors
from speech.types import Transcript, Word

normalised = EnglishTextNormalizer()
"""The normalization of published word error rates: spelling, numbers, contractions."""
BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Words of similar confidence."""

    words: int
    mean_confidence: float
    share_right: float


@dataclass
class TranscriptErrors:
    """What is added up over the recordings of a data set."""

    words: WordErrors = field(default_factory=lambda: WordErrors(0, 0))
    late_ms: list[int] = field(default_factory=list)
    confidences: list[tuple[float, bool]] = field(default_factory=list)
    """Confidence of a word, and whether the word is right."""
    dropped_words: int = 0

    def add(self, text: str, starts_ms: Sequence[tuple[str, int]], found: Transcript) -> None:
        """Compare a transcript with the text and, where they are known, the starts of its words."""
        tokens = [(token, word) for word in found.words for token in normalised(word.text).split()]
        compared = jiwer.process_words(normalised(text), " ".join(token for token, _ in tokens))
        errors = compared.substitutions + compared.deletions + compared.insertions
        self.words += WordErrors(errors, compared.hits + compared.substitutions + compared.deletions)
        self.dropped_words += found.dropped_words or 0
        right = {
            idx
            for chunk in compared.alignments[0]
            if chunk.type == "equal"
            for idx in range(chunk.hyp_start_idx, chunk.hyp_end_idx)
        }
        self.confidences += [
            (word.confidence, idx in right) for idx, (_, word) in enumerate(tokens) if word.confidence is not None
        ]
        self.late_ms += late_ms(starts_ms, found.words)


def late_ms(spoken: Sequence[tuple[str, int]], found: Sequence[Word]) -> list[int]:
    """How much later each correct word starts."""
    if not spoken:
        return []
    plain = jiwer.Compose([jiwer.RemovePunctuation(), jiwer.ToLowerCase()])
    reference, hypothesis = (plain([word for word, _ in spoken]), plain([word.text for word in found]))
    compared = jiwer.process_words(" ".join(reference), " ".join(word or "-" for word in hypothesis))
    return [
        found[chunk.hyp_start_idx + i].start_ms - spoken[chunk.ref_start_idx + i][1]
        for chunk in compared.alignments[0]
        if chunk.type == "equal"
        for i in range(chunk.ref_end_idx - chunk.ref_start_idx)
    ]


def reliability(confidences: Iterable[tuple[float, bool]]) -> Iterator[ReliabilityBin]:
    """Bins of equal width (DeGroot and Fienberg 1983), without empty ones."""
    pairs = np.array(list(confidences), dtype=float).reshape(-1, 2)
    which = np.minimum((pairs[:, 0] * BINS).astype(int), BINS - 1)
    for number in np.unique(which):
        confidence, right = pairs[which == number].mean(axis=0)
        yield ReliabilityBin(int((which == number).sum()), float(confidence), float(right))


def expected_calibration_error(confidences: Iterable[tuple[float, bool]]) -> float:
    """Mean distance between confidence and accuracy over the bins (Guo et al. 2017); NaN without any."""
    bins = list(reliability(confidences))
    total = sum(one.words for one in bins)
    return (
        sum(abs(one.mean_confidence - one.share_right) * one.words for one in bins) / total if total else float("nan")
    )
