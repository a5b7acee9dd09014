"""The columns that a data set has of each utterance."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pyarrow as pa

from resources.lake.tables import UTTERANCES

MEASURES = (
    "n_words", "words_per_second", "mean_confidence", "p10_confidence", "repetition", "language_agrees", "snr_db",
    "bandwidth_hz", "loudness_lufs", "peak_dbfs", "clip_rate", "dc_offset", "speech_share", "overlap_share",
    "background_flatness", "edge_db", "dnsmos_signal", "dnsmos_background", "dnsmos_overall",
)  # fmt: skip
"""Columns of `utterances` that are copied."""


def _field(name: str, kind: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": description})


ROWS = pa.schema(
    [
        _field("id", pa.string(), "Episode and number of the utterance: unique, and the name of its audio."),
        _field("text", pa.string(), "The words, as the transcriber wrote them."),
        _field("language", pa.string(), "Language of the transcriber that wrote the words."),
        _field("speaker", pa.string(), "The voice across episodes; episode and label where it is not linked to one."),
        _field("speaker_name", pa.string(), "Name of the voice, if a user gave it one."),
        _field("duration_ms", pa.int32(), "Length of the audio."),
        _field("feed_id", pa.string(), "The feed: sources.jsonl describes it."),
        _field("episode_id", pa.string(), "The episode: sources.jsonl describes it."),
        _field("license", pa.string(), "License of the episode; NULL where none is stated."),
        _field("audio_sha256", pa.string(), "SHA-256 of the episode's audio file, from which the audio is cut."),
        _field("start_ms", pa.int32(), "Start in the decoded audio of the episode."),
        _field("end_ms", pa.int32(), "End in the decoded audio of the episode."),
        *[UTTERANCES.schema.field(name).with_nullable(True) for name in MEASURES],
    ]
)
PLACED = pa.schema(
    [pa.field("split", pa.string()), pa.field("shard", pa.int32()), pa.field("storage_uri", pa.string()), *ROWS]
)
"""A row with its place in the data set, and where its audio is."""


def json_line(content: Mapping[str, object]) -> str:
    """One line of JSON. Measures are rounded to what they mean."""
    return json.dumps(_rounded(content), ensure_ascii=False) + "\n"


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value
