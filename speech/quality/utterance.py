"""All measures of the utterances of a recording."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

import numpy as np

from speech.facts import integrated_loudness
from speech.overlaps import Stretch, stretches
from speech.quality import mos
from speech.quality.levels import FRAME_MS, Background, levels_of
from speech.quality.spectrum import background_flatness, bandwidth_hz
from speech.quality.words import word_measures
from speech.types import SAMPLE_RATE_HZ, Segment, Span, Word
from speech.utterances import Utterance

VERSION = "1"
"""Raised when a measure changes: part of the fingerprint."""
WINDOWS_PER_HOUR = 60
"""DNSMOS windows; one takes about 0.5 CPU-s."""
_FRAME = SAMPLE_RATE_HZ * FRAME_MS // 1000


@dataclass(frozen=True, slots=True)
class UtteranceQuality:
    """The columns of `utterances` that measure quality."""

    dnsmos_signal: float | None
    dnsmos_background: float | None
    dnsmos_overall: float | None
    dnsmos_windows: int
    snr_db: float | None
    bandwidth_hz: float | None
    loudness_lufs: float | None
    peak_dbfs: float | None
    clip_rate: float
    dc_offset: float
    speech_share: float
    overlap_share: float
    background_flatness: float | None
    words_per_second: float
    mean_confidence: float | None
    p10_confidence: float | None
    repetition: float | None
    language_agrees: bool | None
    edge_db: float | None
    absent: tuple[str, ...]


def measure(
    samples: np.ndarray,
    utterances: Sequence[Utterance],
    words: Sequence[Word],
    segments: Sequence[Segment],
    *,
    language: str,
) -> Iterator[UtteranceQuality]:
    """The quality of each utterance. `samples`: the recording, 16 kHz int16."""
    background = Background(samples, words)
    parts = list(stretches(segments))
    ends_ms = [part.end_ms for part in parts]
    spans = [Span(one.start_ms, one.end_ms) for one in utterances]
    hours = len(samples) / SAMPLE_RATE_HZ / 3600
    sampled = mos.sampled(spans, max(1, round(WINDOWS_PER_HOUR * hours))) if mos.is_installed() else frozenset()
    for index, (one, span) in enumerate(zip(utterances, spans, strict=True)):
        cut = samples[span.start_ms * _FRAME // FRAME_MS : span.end_ms * _FRAME // FRAME_MS]
        spoken = words[one.first_word_idx : one.first_word_idx + one.n_words]
        shares = _shares(one.speaker, span, islice(parts, bisect_right(ends_ms, span.start_ms), None))
        yield _quality(cut, samples, span, background, spoken, shares, language, has_mos=index in sampled)


def _quality(
    cut: np.ndarray, samples: np.ndarray, span: Span, background: Background, words: Sequence[Word],
    shares: Sequence[float], language: str, *, has_mos: bool,
) -> UtteranceQuality:  # fmt: skip
    levels = levels_of(cut)
    text = word_measures(words, duration_ms=span.duration_ms, language=language)
    snr_db, no_snr = background.snr_db(span)
    loudness_lufs, no_loudness = integrated_loudness(cut)
    has_librosa = mos.is_installed()
    scores = mos.mos_of(cut) if has_mos else None
    used_hz = bandwidth_hz(cut) if has_librosa else None
    flatness = _flatness(samples, background, span) if has_librosa else None
    reasons = {
        "dnsmos": None if scores else "not sampled" if has_librosa else mos.ABSENT,
        "snr_db": no_snr,
        "loudness_lufs": no_loudness,
        "bandwidth_hz": None if used_hz is not None else "digital silence" if has_librosa else mos.ABSENT,
        "background_flatness": None if flatness is not None else "no pause" if has_librosa else mos.ABSENT,
        "peak_dbfs": "digital silence" if levels.peak_dbfs is None else None,
        "edge_db": "digital silence" if levels.edge_db is None else None,
        "confidence": "the transcriber gives none" if text.mean_confidence is None else None,
        "repetition": "fewer than four words" if text.repetition is None else None,
        "language_agrees": "too little text" if text.language_agrees is None else None,
    }
    return UtteranceQuality(
        dnsmos_signal=scores.signal if scores else None,
        dnsmos_background=scores.background if scores else None,
        dnsmos_overall=scores.overall if scores else None,
        dnsmos_windows=scores.windows if scores else 0,
        snr_db=snr_db,
        bandwidth_hz=used_hz,
        loudness_lufs=loudness_lufs,
        peak_dbfs=levels.peak_dbfs,
        clip_rate=levels.clip_rate,
        dc_offset=levels.dc_offset,
        speech_share=shares[0],
        overlap_share=shares[1],
        background_flatness=flatness,
        words_per_second=text.words_per_second,
        mean_confidence=text.mean_confidence,
        p10_confidence=text.p10_confidence,
        repetition=text.repetition,
        language_agrees=text.language_agrees,
        edge_db=levels.edge_db,
        absent=tuple(f"{name}: {reason}" for name, reason in reasons.items() if reason),
    )


def _shares(speaker: str, span: Span, parts: Iterable[Stretch]) -> tuple[float, float]:
    """Shares of the span in which the speaker speaks, and in which another one does."""
    own_ms = others_ms = 0
    for part in takewhile(lambda part: part.start_ms < span.end_ms, parts):
        inside_ms = min(part.end_ms, span.end_ms) - max(part.start_ms, span.start_ms)
        own_ms += inside_ms * (speaker in part.speakers)
        others_ms += inside_ms * any(name != speaker for name in part.speakers)
    return own_ms / span.duration_ms, others_ms / span.duration_ms


def _flatness(samples: np.ndarray, background: Background, span: Span) -> float | None:
    pauses = [samples[start : start + _FRAME] for start in background.pauses(span)]
    return background_flatness(np.stack(pauses)) if pauses else None
