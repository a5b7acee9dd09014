"""`utterances`: stretches of one speaker, cut in pauses: what data sets are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from pipeline.audio_inputs import acquisition
from pipeline.stage import Batch, Cost, Landing, Outcome, Stage, each
from resources.fetch.audio_store import AudioStore
from resources.lake.lake import Lake
from resources.lake.tables import SEGMENTS, UTTERANCES, WORD_SPEAKERS, WORDS
from resources.lake.tables.dataset import UtteranceRow
from speech.assignment import AssignedWord
from speech.quality.mos import is_installed
from speech.quality.utterance import VERSION, UtteranceQuality, measure
from speech.types import Segment, Word, mapped_samples
from speech.utterances import Utterance, UtteranceRule, build_utterances
from speech.waveforms import WaveformCache


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    rows = UTTERANCES.rows_of(tables["utterances"])
    return {
        "utterances": len(rows),
        "seconds": sum(row.end_ms - row.start_ms for row in rows) / 1000,
        "speakers": len({row.speaker for row in rows}),
        "dagster/row_count": len(rows),
    }


@Stage(
    tables=(UTTERANCES,), ui_metadata=_ui_metadata, group="dataset", batch_size=80, version="1",
    inputs=("turns", "transcript", "diarization", "audio"), pool="cpu",
)  # fmt: skip
def utterances(
    batch: Batch, lake: Lake, audio_store: AudioStore, waveforms: WaveformCache, utterance_rule: UtteranceRule
) -> Iterator[Outcome]:
    """Cuts turns at pauses between words into utterances of one speaker, 1–30 s long, and measures their quality.

    Quality never removes an utterance: profiles choose among them.
    """
    return each(batch.keys, lambda key: _utterances(key, batch, lake, audio_store, waveforms, utterance_rule))


def _utterances(
    key: str, batch: Batch, lake: Lake, store: AudioStore, waveforms: WaveformCache, rule: UtteranceRule
) -> Landing:
    audio_sha256 = batch.audio_sha256(key)
    words = batch.rows(lake, WORDS, key)
    who = batch.rows(lake, WORD_SPEAKERS, key)
    spoken = [Word(row.word, row.start_ms, row.end_ms, row.confidence) for row in words]
    segments = [
        Segment(row.speaker, row.start_ms, row.end_ms, row.confidence) for row in batch.rows(lake, SEGMENTS, key)
    ]
    language = words[0].language if words else ""
    with waveforms.using(audio_sha256, store.local(acquisition(lake, key).storage_uri)) as (waveform, report):
        found = build_utterances(
            spoken,
            [AssignedWord(row.word_idx, row.speaker, row.rule, row.in_overlap) for row in who],  # type: ignore[arg-type]
            [row.turn_idx for row in who],
            duration_ms=report.duration_ms,
            rule=rule,
        )
        measured = list(measure(mapped_samples(waveform), found, spoken, segments, language=language))
    version = batch.upstream["diarization"][key].data_version
    rows = [_row(one, quality, language, version) for one, quality in zip(found, measured, strict=True)]
    fingerprint = rule_fingerprint(rule, has_mos=is_installed())
    return Landing(key, {"utterances": rows}, Cost(audio_sha256, fingerprint, audio_ms=report.duration_ms))


def rule_fingerprint(rule: UtteranceRule, *, has_mos: bool) -> str:
    """Changes with the rule and with the measures; `has_mos`: DNSMOS is among them."""
    return hashlib.sha256(f"{rule.fingerprint}.{VERSION}.{has_mos}".encode()).hexdigest()[:16]


def _row(one: Utterance, quality: UtteranceQuality, language: str, diarization_version: str) -> UtteranceRow:
    return UtteranceRow(**asdict(one), **asdict(quality), language=language, diarization_version=diarization_version)
