"""`turns`: every word gets a speaker, or the reason why not; a speaker's consecutive words are a turn."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg
import pyarrow as pa

from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.lake.lake import Lake
from resources.lake.tables import SEGMENTS, TURNS, WORD_SPEAKERS, WORDS
from resources.lake.tables.speech import TurnRow, WordSpeakerRow
from speech.assignment import assign_speakers
from speech.turns import build_turns, turn_idx_of_words
from speech.types import Segment, Word

EXCERPT_TURNS = 12
RULES_VERSION = "1"
"""Raised when assignment or turns change: part of the rows' fingerprint."""


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    turns, words = tables["turns"], tables["word_speakers"]
    lines = [
        f"**{row['speaker'] or '?'}** `{_clock(row['start_ms'])}` {row['text']}"
        for row in turns.slice(0, EXCERPT_TURNS).to_pylist()
    ]
    return {
        "excerpt": dg.MetadataValue.md("\n\n".join(lines) or "*No turns: there is no speech.*"),
        "turns": turns.num_rows,
        "words": words.num_rows,
        "words_unassigned": words["speaker"].null_count,
        "dagster/row_count": turns.num_rows,
    }


@Stage(
    tables=(WORD_SPEAKERS, TURNS), ui_metadata=_ui_metadata, group="speech", batch_size=96, version=RULES_VERSION,
    inputs=("diarization", "transcript"),
)  # fmt: skip
def turns(batch: Batch, lake: Lake, site_url: str) -> Iterator[Outcome]:
    """Gives every word a speaker, with the rule that chose it, and joins a speaker's consecutive words to turns."""
    return each(batch.keys, lambda key: _turns(key, batch, lake, site_url))


def _turns(key: str, batch: Batch, lake: Lake, site_url: str) -> Landing:
    audio_sha256 = batch.audio_sha256(key)
    words = [
        Word(row.word, row.start_ms, row.end_ms, row.confidence, row.chunk_idx, row.times_estimated)
        for row in batch.rows(lake, WORDS, key)
    ]
    segments = [
        Segment(row.speaker, row.start_ms, row.end_ms, row.confidence) for row in batch.rows(lake, SEGMENTS, key)
    ]
    assigned = assign_speakers(words, segments)
    built = build_turns(words, assigned)
    of_word = turn_idx_of_words(built)
    transcript_version = batch.upstream["transcript"][key].data_version
    diarization_version = batch.upstream["diarization"][key].data_version
    rows = [
        WordSpeakerRow(
            **asdict(one),
            turn_idx=of_word[one.word_idx],
            transcript_version=transcript_version,
            diarization_version=diarization_version,
        )
        for one in assigned
    ]
    made_by = [str(batch.upstream[name][key].engine_fingerprint) for name in ("diarization", "transcript")]
    fingerprint = hashlib.sha256("\n".join([*made_by, RULES_VERSION]).encode()).hexdigest()[:16]
    turn_rows = [TurnRow(**asdict(turn), diarization_version=diarization_version) for turn in built]
    links = {"reading page": f"{site_url}/episodes/{key}.html"}
    return Landing(key, {"word_speakers": rows, "turns": turn_rows}, Cost(audio_sha256, fingerprint), links)


def _clock(at_ms: int) -> str:
    minutes, seconds = divmod(at_ms // 1000, 60)
    return f"{minutes:02d}:{seconds:02d}"
