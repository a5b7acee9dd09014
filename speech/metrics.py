"""How good an engine is: word error rate, diarization error rate, and both at once (cpWER).

Counts come back beside rates, so that episodes are pooled by adding counts, not by averaging rates.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from speech.types import Segment, Span


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Substitutions, deletions and insertions together, and what they are measured against."""

    errors: int
    reference_words: int

    @property
    def rate(self) -> float:
        """In 0–∞; 0 where there was nothing to say and nothing was said."""
        return _ratio(self.errors, self.reference_words)

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(self.errors + other.errors, self.reference_words + other.reference_words)


@dataclass(frozen=True, slots=True)
class DiarizationErrors:
    """Speaker time that is wrong, by kind, and the reference's speaker time, in milliseconds."""

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
    """Words as they are compared: Unicode NFKC, lower case, no punctuation but apostrophes inside words.

    Hyphens and dashes part words; `’` is `'`. Numbers are left as they are written, contractions are
    not expanded, and no spelling is changed: a reference written in words stays a reference in words.
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return re.findall(r"\w+(?:'\w+)*", text.replace("_", " "))


def wer(reference: str, hypothesis: str) -> WordErrors:
    """Word error rate after `normalise`: Levenshtein distance in words over the reference's words."""
    words = normalise(reference)
    return WordErrors(_distance(words, normalise(hypothesis)), len(words))


def cpwer(reference: Mapping[str, str], hypothesis: Mapping[str, str]) -> WordErrors:
    """Concatenated minimum-permutation word error rate (Watanabe et al., CHiME-6, 2020).

    Both map a speaker to everything that speaker says, in order. Speakers are paired so that the
    errors are fewest; one without a partner costs all of their words.
    """
    references = [normalise(text) for text in reference.values()]
    hypotheses = [normalise(text) for text in hypothesis.values()]
    speakers = max(len(references), len(hypotheses))
    references += [[]] * (speakers - len(references))
    hypotheses += [[]] * (speakers - len(hypotheses))
    errors = np.array([[_distance(r, h) for h in hypotheses] for r in references]).reshape(speakers, speakers)
    return WordErrors(int(errors[_cheapest_pairs(errors)].sum()), sum(map(len, references)))


def der(reference: Iterable[Segment], hypothesis: Iterable[Segment], collar_ms: int = 0) -> DiarizationErrors:
    """Diarization error rate, exact to the millisecond, overlapped speech scored.

    `collar_ms` on *each side* of every boundary in the reference is not scored (0.25 s is the field's
    custom). Speakers are paired so that the time they share in what is scored is longest.
    """
    spoken, heard = _by_speaker(reference), _by_speaker(hypothesis)
    collars = [
        Span(edge - collar_ms, edge + collar_ms)
        for spans in spoken.values()
        for span in spans
        for edge in (span.start_ms, span.end_ms)
    ]
    every_span = [*collars, *(span for spans in (*spoken.values(), *heard.values()) for span in spans)]
    edges = np.unique([edge for span in every_span for edge in (span.start_ms, span.end_ms)])
    lengths = np.diff(edges) * ~_covered(collars, edges)

    truth = np.array([_covered(spans, edges) for spans in spoken.values()]).reshape(len(spoken), len(lengths))
    guess = np.array([_covered(spans, edges) for spans in heard.values()]).reshape(len(heard), len(lengths))
    shared = (truth * lengths) @ guess.T
    n_truth, n_guess = truth.sum(axis=0), guess.sum(axis=0)
    return DiarizationErrors(
        missed_ms=int(lengths @ np.maximum(n_truth - n_guess, 0)),
        false_alarm_ms=int(lengths @ np.maximum(n_guess - n_truth, 0)),
        confused_ms=int(lengths @ np.minimum(n_truth, n_guess) - shared[_cheapest_pairs(-shared)].sum()),
        reference_ms=int(lengths @ n_truth),
    )


def _distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Levenshtein distance, a row at a time; insertions run along a row as a running minimum."""
    ids = {word: i for i, word in enumerate({*reference, *hypothesis})}
    across = np.array([ids[word] for word in hypothesis], dtype=np.int64)
    steps = np.arange(len(hypothesis) + 1)
    row = steps
    for word in reference:
        best = row + 1
        best[1:] = np.minimum(best[1:], row[:-1] + (across != ids[word]))
        row = np.minimum.accumulate(best - steps) + steps
    return int(row[-1])


def _cheapest_pairs(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(costs)


def _by_speaker(segments: Iterable[Segment]) -> dict[str, list[Span]]:
    spans: dict[str, list[Span]] = {}
    for segment in segments:
        spans.setdefault(segment.speaker, []).append(Span(segment.start_ms, segment.end_ms))
    return spans


def _covered(spans: Iterable[Span], edges: np.ndarray) -> np.ndarray:
    """Whether a span covers the stretch between each two neighbouring edges; bool, shape (len(edges) - 1,)."""
    starts = np.zeros(max(len(edges), 1), dtype=np.int64)
    for span in spans:
        starts[np.searchsorted(edges, span.start_ms)] += 1
        starts[np.searchsorted(edges, span.end_ms)] -= 1
    return np.cumsum(starts)[:-1] > 0


def _ratio(part: int, whole: int) -> float:
    if whole:
        return part / whole
    return float("inf") if part else 0.0
