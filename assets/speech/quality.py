"""`quality`: one summary row per episode, with flags for what a user should check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa

from partitions.languages import normalise_language
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.lake.catalogue import Catalogue
from resources.lake.lake import Lake
from resources.lake.tables import (
    HASHES,
    PUBLISHER_SEGMENTS,
    QUALITY,
    SEGMENTS,
    SPEAKERS,
    TURNS,
    UTTERANCES,
    WORD_SPEAKERS,
    WORDS,
)
from resources.lake.tables.audio import HashesRow
from resources.lake.tables.catalogue import EpisodeRow
from resources.lake.tables.dataset import QualityRow
from resources.lake.tables.pipeline import StageRunRow
from resources.lake.tables.publisher import PublisherSegmentRow
from resources.lake.tables.speech import TurnRow, WordRow, WordSpeakerRow
from resources.tiers import Tiers
from speech.overlaps import overlap_ms, union_ms
from speech.spoken_language import disagreeing
from speech.text_language import detect_language
from speech.types import Segment
from speech.word_errors import normalised_words, word_error_rate

MANY_CLIPPED = 0.001
"""Share of samples at full scale above which speech sounds distorted."""
LOW_CONFIDENCE = 0.5
MANY_UNASSIGNED = 0.05
DURATION_TOLERANCE = 0.02
DURATION_TOLERANCE_MS = 5_000
"""Inserted ads make declared and decoded durations differ: flagged above both tolerances."""


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = QUALITY.rows_of(tables["quality"])
    numbers = ("n_speakers", "n_words", "words_unassigned", "overlap_ratio", "mean_confidence", "words_per_minute")
    return {
        **{name: value for name in numbers if (value := getattr(row, name)) is not None},
        "duration_seconds": row.duration_ms / 1000,
        "speech_seconds": row.speech_ms / 1000,
        "usable_seconds": row.usable_ms / 1000,
        "language": f"declared {row.language_declared or '–'}, detected {row.language_detected or '–'}",
        "flags": ", ".join(row.flags) or "none",
        "tier": row.tier or "–",
        "not in the tier above because of": "; ".join(row.tier_reasons or ()) or "–",
    }


@Stage(
    tables=(QUALITY,), ui_metadata=_ui_metadata, group="speech", batch_size=128, version="1",
    inputs=("hashes", "turns"), optional_inputs=("publisher_transcript", "utterances"), ordered=("utterances",),
)  # fmt: skip
def quality(batch: Batch, catalogue: Catalogue, lake: Lake, tiers: Tiers) -> Iterator[Outcome]:
    """Summarises an episode: durations, speakers, words, languages, sound, a tier, and flags for what to check.

    It does without the publisher's transcript and utterances where they have failed, and is made again if they land.
    """
    entries = catalogue.entries(batch.keys)
    return each(batch.keys, lambda key: _quality(key, batch, entries[key], lake, tiers))


@dataclass(frozen=True)
class EpisodeResults:
    """What the earlier stages found in an episode."""

    hashes: HashesRow
    segments: list[Segment]
    n_speakers: int
    speaker_capacity: int | None
    words: list[WordRow]
    word_speakers: list[WordSpeakerRow]
    turns: list[TurnRow]
    transcribed: StageRunRow
    """The transcription's record."""
    published: list[PublisherSegmentRow] | None
    """None: `publisher_transcript` has not landed."""


def _quality(key: str, batch: Batch, entry: EpisodeRow, lake: Lake, tiers: Tiers) -> Landing:
    audio_sha256 = batch.audio_sha256(key)
    (facts,) = batch.rows(lake, HASHES, key)
    results = EpisodeResults(
        hashes=facts,
        segments=[Segment(row.speaker, row.start_ms, row.end_ms, row.confidence) for row in lake.rows(SEGMENTS, key)],
        n_speakers=len(lake.rows(SPEAKERS, key)),
        speaker_capacity=lake.runs("diarization", [key])[key].speaker_capacity,
        words=lake.rows(WORDS, key),
        word_speakers=batch.rows(lake, WORD_SPEAKERS, key),
        turns=batch.rows(lake, TURNS, key),
        transcribed=lake.runs("transcript", [key])[key],
        published=batch.optional_rows(lake, PUBLISHER_SEGMENTS, key),
    )
    row = replace(_summary(results, entry), **_of_utterances(key, batch, lake))
    row = replace(row, flags=_flags(row, results, entry))
    if row.utterances_absent_reason is None:
        tier, reasons = tiers.of(row)
        row = replace(row, tier=tier, tier_reasons=reasons)
    return Landing(key, {"quality": [row]}, Cost(audio_sha256, tiers.fingerprint))


def _summary(results: EpisodeResults, entry: EpisodeRow) -> QualityRow:
    """The row, still without flags."""
    speech_ms = union_ms(results.segments)
    capacity = results.speaker_capacity
    detected = detect_language([word.word for word in results.words])
    spoken = results.transcribed.spoken_languages or ()
    confidences = [word.confidence for word in results.words if word.confidence is not None]
    return QualityRow(
        duration_ms=results.hashes.duration_ms,
        speech_ms=speech_ms,
        overlap_ratio=overlap_ms(results.segments) / speech_ms if speech_ms else None,
        n_speakers=results.n_speakers,
        speaker_capacity=capacity,
        speakers_saturated=results.n_speakers >= capacity if capacity else None,
        n_words=len(results.words),
        words_unassigned=sum(word.speaker is None for word in results.word_speakers),
        language_declared=entry.language,
        language_detected=detected,
        language_agrees=entry.language == detected if entry.language and detected else None,
        mean_confidence=sum(confidences) / len(confidences) if confidences else None,
        words_per_minute=len(results.words) / (speech_ms / 60_000) if speech_ms else None,
        usable_ms=sum(turn.end_ms - turn.start_ms for turn in results.turns if turn.speaker and not turn.has_overlap),
        flags=(),
        spoken_language=spoken[0].language if spoken else None,
        spoken_language_probability=spoken[0].probability if spoken else None,
        spoken_languages=spoken or None,
        spoken_language_absent_reason=results.transcribed.spoken_language_absent_reason,
        **_publisher_wer(results, entry),
    )


def _of_utterances(key: str, batch: Batch, lake: Lake) -> dict[str, Any]:
    """The columns that sum up utterances, or why there are none."""
    rows = batch.optional_rows(lake, UTTERANCES, key)
    if rows is None:
        return {"utterances_absent_reason": "not_landed"}
    if batch.optional["utterances"][key].audio_sha256 != batch.audio_sha256(key):
        return {"utterances_absent_reason": "other_audio"}

    def known(measure: str) -> list[float]:
        return [value for row in rows if (value := getattr(row, measure)) is not None]

    def middle(measure: str) -> float | None:
        return median(values) if (values := known(measure)) else None

    snr_db = known("snr_db")
    return {
        "n_utterances": len(rows),
        "utterance_ms": sum(row.end_ms - row.start_ms for row in rows),
        "snr_db_median": middle("snr_db"),
        "snr_db_p10": float(np.percentile(snr_db, 10)) if snr_db else None,
        "dnsmos_overall_median": middle("dnsmos_overall"),
        "dnsmos_windows": sum(row.dnsmos_windows or 0 for row in rows),
        "bandwidth_hz_median": middle("bandwidth_hz"),
        "loudness_lufs_median": middle("loudness_lufs"),
        "clip_rate_max": max(known("clip_rate"), default=None),
    }


def _publisher_wer(results: EpisodeResults, entry: EpisodeRow) -> dict[str, Any]:
    """The error rate of our words against the publisher's, or why there is none."""
    language = results.words[0].language if results.words else entry.language
    declared = {link.url: link.language for link in entry.transcript_urls}
    reference = normalised_words((row.text for row in results.published or ()), language)
    reason = None
    if not entry.transcript_urls:
        reason = "no_transcript"
    elif not results.published:
        reason = "not_fetched"
    elif language and (normalise_language(declared.get(results.published[0].url)) or language) != language:
        reason = "other_language"
    elif not reference:
        reason = "no_words"
    if reason:
        return {"publisher_wer_absent_reason": reason}
    words = normalised_words((row.word for row in results.words), language)
    return {"publisher_wer": word_error_rate(words, reference)}


def _flags(row: QualityRow, results: EpisodeResults, entry: EpisodeRow) -> tuple[str, ...]:
    """The names of the conditions that hold, in this order."""
    declared_ms = entry.duration_declared_ms
    differs_ms = abs(declared_ms - row.duration_ms) if declared_ms else 0
    flags = {
        "no_speech": row.speech_ms == 0,
        "no_words": row.speech_ms > 0 and row.n_words == 0,
        "truncated": results.hashes.truncated,
        "decode_errors": results.hashes.decode_errors > 0,
        "clipped": results.hashes.clip_rate > MANY_CLIPPED,
        "duration_differs": differs_ms > max(DURATION_TOLERANCE_MS, DURATION_TOLERANCE * row.duration_ms),
        "speakers_saturated": bool(row.speakers_saturated),
        "language_unknown": row.language_declared is None,
        "language_disagrees": row.language_agrees is False,
        "spoken_language_disagrees": disagreeing(row.spoken_languages or (), row.language_declared) is not None,
        "low_confidence": row.mean_confidence is not None and row.mean_confidence < LOW_CONFIDENCE,
        "unassigned_words": row.words_unassigned > MANY_UNASSIGNED * row.n_words,
    }
    return tuple(name for name, holds in flags.items() if holds)
