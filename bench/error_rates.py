"""Error rates of engines for tests and benchmarks: WER, cpWER and DER. Counts are added to pool episodes."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jiwer import process_words
from pyannote.core import Annotation, Timeline
from pyannote.core import Segment as TimeSpan
from pyannote.metrics.diarization import DiarizationErrorRate
from scipy.optimize import linear_sum_assignment

from speech.types import Segment


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Substitutions, deletions and insertions together, and the length of the reference."""

    errors: int
    reference_words: int

    @property
    def rate(self) -> float:
        """In 0–∞; 0 if the reference and the hypothesis are empty."""
        return _ratio(self.errors, self.reference_words)

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(self.errors + other.errors, self.reference_words + other.reference_words)


@dataclass(frozen=True, slots=True)
class DiarizationErrors:
    """Wrong speaker time by kind, and the speaker time of the reference, in milliseconds."""

    missed_ms: int
    false_alarm_ms: int
    confused_ms: int
    reference_ms: int

    @property
    def rate(self) -> float:
        """Diarization error rate, in 0–∞."""
        return _ratio(self.missed_ms + self.false_alarm_ms + self.confused_ms, self.reference_ms)

    def __add__(self, other: DiarizationErrors) -> DiarizationErrors:
        return DiarizationErrors(
            self.missed_ms + other.missed_ms,
            self.false_alarm_ms + other.false_alarm_ms,
            self.confused_ms + other.confused_ms,
            self.reference_ms + other.reference_ms,
        )


def normalise(text: str) -> list[str]:
    """Words for comparison: Unicode NFKC, lower case, no punctuation except apostrophes inside words.

    Hyphens and dashes separate words; `’` becomes `'`. Numbers, contractions and spelling do not change.
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return re.findall(r"\w+(?:'\w+)*", text.replace("_", " "))


def wer(reference: str, hypothesis: str) -> WordErrors:
    """Word error rate after `normalise`."""
    words, found = normalise(reference), normalise(hypothesis)
    if not words:  # jiwer refuses an empty reference
        return WordErrors(len(found), 0)
    counts = process_words(" ".join(words), " ".join(found))
    return WordErrors(counts.substitutions + counts.deletions + counts.insertions, len(words))


def cpwer(reference: Mapping[str, str], hypothesis: Mapping[str, str]) -> WordErrors:
    """Concatenated minimum-permutation word error rate (Watanabe et al., CHiME-6, 2020).

    Both map a speaker to all words of that speaker, in order. Own code: meeteval has no wheel and compiles Cython.
    """
    n_speakers = max(len(reference), len(hypothesis))
    said, found = ([*texts.values(), *[""] * (n_speakers - len(texts))] for texts in (reference, hypothesis))
    errors = np.array([[wer(s, f).errors for f in found] for s in said]).reshape(n_speakers, n_speakers)
    return WordErrors(int(errors[linear_sum_assignment(errors)].sum()), sum(len(normalise(text)) for text in said))


def der(
    reference: Iterable[Segment], hypothesis: Iterable[Segment], collar_ms: int = 0, *, skip_overlap: bool = False
) -> DiarizationErrors:
    """Diarization error rate. `collar_ms` on each side of a reference boundary is not scored."""
    said, found = _annotation(reference), _annotation(hypothesis)
    if not said and not found:
        return DiarizationErrors(0, 0, 0, 0)
    extent = said.get_timeline().union(found.get_timeline()).extent()
    scored = Timeline([TimeSpan(extent.start - 1, extent.end + 1)])
    parts = DiarizationErrorRate(collar=2 * collar_ms / 1000, skip_overlap=skip_overlap)(
        said, found, uem=scored, detailed=True
    )
    names = ("missed detection", "false alarm", "confusion", "total")
    return DiarizationErrors(*(round(1000 * parts[name]) for name in names))


def _annotation(segments: Iterable[Segment]) -> Annotation:
    annotation = Annotation()
    for track, segment in enumerate(segments):
        annotation[TimeSpan(segment.start_ms / 1000, segment.end_ms / 1000), track] = segment.speaker
    return annotation


def _ratio(part: int, whole: int) -> float:
    if whole:
        return part / whole
    return float("inf") if part else 0.0
