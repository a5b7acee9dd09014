"""`quality`: one row per episode: what came out, and what to be careful about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from assets.speech.turns import rows_of
from pipeline.stage import Batch, Cost, Landing, Outcome, each, stage
from resources.lake.catalogue import Catalogue, Entry
from resources.lake.lake import Lake
from resources.lake.tables import HASHES, QUALITY, SEGMENTS, SPEAKERS, TURNS, WORD_SPEAKERS, WORDS
from speech.overlaps import overlap_ms, union_ms
from speech.text_language import detect_language
from speech.types import Segment

MANY_CLIPPED = 0.001
"""Share of samples at full scale above which speech sounds distorted."""
LOW_CONFIDENCE = 0.5
MANY_UNASSIGNED = 0.05
DURATION_TOLERANCE = 0.02
DURATION_TOLERANCE_MS = 5_000
"""Declared and decoded durations differ by inserted ads: flagged above both tolerances."""

Row = Mapping[str, Any]


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    row = tables["quality"].to_pylist()[0]
    numbers = ("n_speakers", "n_words", "words_unassigned", "overlap_ratio", "mean_confidence", "words_per_minute")
    return {
        **{name: row[name] for name in numbers if row[name] is not None},
        "duration_seconds": row["duration_ms"] / 1000,
        "speech_seconds": row["speech_ms"] / 1000,
        "usable_seconds": row["usable_ms"] / 1000,
        "language": f"declared {row['language_declared'] or '–'}, detected {row['language_detected'] or '–'}",
        "flags": ", ".join(row["flags"]) or "none",
    }


@stage(
    tables=[QUALITY], ui_metadata=_ui_metadata, group="speech", batch_size=128, version="1", inputs=("hashes", "turns"),
)  # fmt: skip
def quality(batch: Batch, catalogue: Catalogue, lake: Lake) -> Iterator[Outcome]:
    """Sums an episode up: durations, speakers, words, languages, and flags for whatever asks for care."""
    entries = catalogue.entries(batch.keys)
    return each(batch.keys, lambda key: _quality(key, batch, entries[key], lake))


@dataclass(frozen=True)
class EpisodeResults:
    """What the earlier stages found in an episode."""

    hashes: Row
    segments: list[Segment]
    n_speakers: int
    speaker_capacity: int | None
    words: list[dict[str, Any]]
    word_speakers: list[dict[str, Any]]
    turns: list[dict[str, Any]]


def _quality(key: str, batch: Batch, entry: Entry, lake: Lake) -> Landing:
    audio_sha256 = batch.audio_sha256(key)
    results = EpisodeResults(
        hashes=rows_of(lake, HASHES, key)[0],
        segments=[
            Segment(r["speaker"], r["start_ms"], r["end_ms"], r["confidence"]) for r in rows_of(lake, SEGMENTS, key)
        ],
        n_speakers=len(rows_of(lake, SPEAKERS, key)),
        speaker_capacity=lake.runs("diarization", [key])[key]["speaker_capacity"][0].as_py(),
        words=rows_of(lake, WORDS, key),
        word_speakers=rows_of(lake, WORD_SPEAKERS, key),
        turns=rows_of(lake, TURNS, key),
    )
    row = _summary(results, entry)
    fingerprint = str(batch.upstream["turns"][key].engine_fingerprint)
    return Landing(key, {"quality": [{**row, "flags": _flags(row, results, entry)}]}, Cost(audio_sha256, fingerprint))


def _summary(results: EpisodeResults, entry: Entry) -> dict[str, Any]:
    speech_ms = union_ms(results.segments)
    capacity = results.speaker_capacity
    detected = detect_language([word["word"] for word in results.words])
    agrees = entry.language == detected if entry.language and detected else None
    confidences = [word["confidence"] for word in results.words if word["confidence"] is not None]
    return {
        "duration_ms": results.hashes["duration_ms"],
        "speech_ms": speech_ms,
        "overlap_ratio": overlap_ms(results.segments) / speech_ms if speech_ms else None,
        "n_speakers": results.n_speakers,
        "speaker_capacity": capacity,
        "speakers_saturated": results.n_speakers >= capacity if capacity else None,
        "n_words": len(results.words),
        "words_unassigned": sum(word["speaker"] is None for word in results.word_speakers),
        "language_declared": entry.language,
        "language_detected": detected,
        "language_agrees": agrees,
        "mean_confidence": sum(confidences) / len(confidences) if confidences else None,
        "words_per_minute": len(results.words) / (speech_ms / 60_000) if speech_ms else None,
        "usable_ms": sum(t["end_ms"] - t["start_ms"] for t in results.turns if t["speaker"] and not t["has_overlap"]),
    }


def _flags(row: Row, results: EpisodeResults, entry: Entry) -> list[str]:
    """Every flag that is up, in the order of this table."""
    declared_ms = entry.duration_declared_ms
    differs_ms = abs(declared_ms - row["duration_ms"]) if declared_ms else 0
    flags = {
        "no_speech": row["speech_ms"] == 0,
        "no_words": row["speech_ms"] > 0 and row["n_words"] == 0,
        "truncated": results.hashes["truncated"],
        "decode_errors": results.hashes["decode_errors"] > 0,
        "clipped": results.hashes["clip_rate"] > MANY_CLIPPED,
        "duration_differs": differs_ms > max(DURATION_TOLERANCE_MS, DURATION_TOLERANCE * row["duration_ms"]),
        "speakers_saturated": bool(row["speakers_saturated"]),
        "language_unknown": row["language_declared"] is None,
        "language_disagrees": row["language_agrees"] is False,
        "low_confidence": row["mean_confidence"] is not None and row["mean_confidence"] < LOW_CONFIDENCE,
        "unassigned_words": row["words_unassigned"] > MANY_UNASSIGNED * row["n_words"],
    }
    return [name for name, is_up in flags.items() if is_up]
