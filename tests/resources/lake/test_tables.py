"""A row class defines its table: schema, documentation, and rows that are read back as they were written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated

import pyarrow as pa
import pytest

from pipeline.asset_definition import column_schema
from resources.lake.tables import TABLES, WORDS
from resources.lake.tables.speech import SPEAKERS, SpeakerRow, WordRow
from resources.lake.tables.table import DerivedRow, Float32, Int16, Table

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
FILLED = {
    "episode_id": "show-1", "audio_sha256": "a" * 64, "engine_fingerprint": "f" * 16, "run_id": "run", "landed_at": NOON,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Hop:
    """A redirect."""

    url: str
    status: Int16


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyRow(DerivedRow):
    """Toys of an episode."""

    name: Annotated[str, "Name."]
    at: Annotated[datetime | None, "Time."] = None
    hops: Annotated[tuple[Hop, ...], "Redirects."] = ()
    scores: Annotated[tuple[Float32, ...] | None, "Scores."] = None


TOYS = Table("toys", "toys", ("episode_id", "name"), ToyRow)
UTC_TIME = pa.timestamp("us", tz="UTC")


def test_the_row_class_defines_names_types_nullability_and_documentation() -> None:
    assert [(field.name, field.type, field.nullable) for field in TOYS.schema] == [
        ("episode_id", pa.string(), False),
        ("audio_sha256", pa.string(), False),
        ("engine_fingerprint", pa.string(), False),
        ("run_id", pa.string(), False),
        ("landed_at", UTC_TIME, False),
        ("name", pa.string(), False),
        ("at", UTC_TIME, True),
        ("hops", pa.list_(pa.struct([("url", pa.string()), ("status", pa.int16())])), False),
        ("scores", pa.list_(pa.float32()), True),
    ]
    assert TOYS.description == "Toys of an episode."
    assert [column.description for column in column_schema(TOYS).columns][-4:] == [
        "Name.",
        "Time.",
        "Redirects.",
        "Scores.",
    ]


def test_rows_are_read_back_as_they_were_written() -> None:
    rows = [
        ToyRow(name="full", at=NOON, hops=(Hop("http://a", 301), Hop("http://b", 200)), scores=(0.5, 1.0), **FILLED),
        ToyRow(name="empty", **FILLED),
    ]
    assert TOYS.rows_of(TOYS.of(rows)) == rows
    assert TOYS.rows_of(TOYS.schema.empty_table()) == []


def test_constants_fill_what_the_stage_leaves_to_the_contract() -> None:
    (row,) = TOYS.rows_of(TOYS.of([ToyRow(name="a")], **FILLED))
    assert row == ToyRow(name="a", **FILLED)


def test_mappings_and_other_objects_are_rows_too() -> None:
    columns = {"speaker": "S1", "speech_ms": 1, "n_segments": 1, "first_ms": 0}
    assert SPEAKERS.rows_of(SPEAKERS.of([columns], **FILLED)) == [SpeakerRow(**columns, **FILLED)]
    with pytest.raises(KeyError, match="first_ms"):
        SPEAKERS.of([{"speaker": "S1", "speech_ms": 1, "n_segments": 1}], **FILLED)


def test_a_column_costs_one_line_and_is_null_in_older_rows() -> None:
    @dataclass(frozen=True, slots=True, kw_only=True)
    class WiderRow(WordRow):
        loudness_db: Annotated[Float32 | None, "Loudness."] = None

    wider = replace(WORDS, row=WiderRow)
    word = {
        "word_idx": 0, "word": "hi", "start_ms": 0, "end_ms": 9, "times_estimated": False, "chunk_idx": 0, "language": "en",
    }  # fmt: skip
    old = WORDS.of([WordRow(**word)], **FILLED)
    assert wider.rows_of(wider.conform(old)) == [WiderRow(**word, **FILLED)]
    assert WORDS.conform(wider.of([WiderRow(**word, loudness_db=-20.0)], **FILLED)) == old


def test_every_table_has_a_description_and_rows_that_only_the_contract_completes() -> None:
    for table in TABLES.values():
        assert table.description, table.name
        assert table.rows_of(table.schema.empty_table()) == []
