"""Every query of sql/analysis, with exact answers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

ANALYSIS = Path(__file__).parents[2] / "sql" / "analysis"

ANSWERS = {
    "assignment_rules": [
        ("e1", "inside", 5, 62.5, 0),
        ("e1", "most_overlap", 2, 25.0, 2),
        ("e1", "none", 1, 12.5, 0),
    ],
    "duplicate_audio": [
        ("same fingerprint", 3, ["e2", "e4", "e5"]),
        ("same bytes", 2, ["e1", "e3"]),
        ("same samples", 2, ["e2", "e4"]),
    ],
    "engine_speed_and_cost": [
        ("diarization", "campplus", None, None, 3, 2.0, 0.02, 100.0, 10.0),
        ("transcript", "whisper", None, None, 1, 1.0, 0.2, 5.0, 200.0),
    ],
    "engines_in_use": [
        ("diarization", "campplus", None, "fp-new", 1, datetime(2026, 1, 2, 14, tzinfo=UTC)),
        ("diarization", "campplus", None, "fp-old", 1, datetime(2026, 1, 2, 13, tzinfo=UTC)),
        ("transcript", "whisper", None, "fp-t", 1, datetime(2026, 1, 2, 13, tzinfo=UTC)),
    ],
    "failures_by_class": [
        ("audio", "http_5xx", True, 2, 1, 3, datetime(2026, 1, 2, 12, tzinfo=UTC),
         datetime(2026, 1, 2, 18, tzinfo=UTC), "e4: 503"),
        ("transcript", "lang_unsupported", False, 1, 1, 1, datetime(2026, 1, 2, 12, tzinfo=UTC), None, "no engine for xx"),
    ],
    "frequent_words": [
        ("e1", "A", "happened", 1),
        ("e1", "A", "right", 1),
        ("e1", "B", "nothing", 2),
        ("e1", "B", "really", 1),
    ],
    "hours_by_feed_and_language": [("show", "en", 1, 1.0, 0.5, 0.25), ("show", None, 1, 0.5, 0.0, 0.0)],
    "interruptions": [("e1", "B", "A", 2, 1, 4_000)],
    "longest_monologues": [
        ("e1", "One", "A", "00:46", 14.0, 1, "Right."),
        ("e1", "One", "B", "00:29", 1.9, 3, "Nothing, nothing really."),
        ("e1", "One", "A", "00:00", 1.5, 3, "What happened next?"),
    ],
    "longest_silences": [("e1", "00:40", 6.0)],
    "questions_and_answers": [("e1", "A", "B", 1, 3.0)],
    "repeated_audio": [("show", "show-r0001", 2, 2, 1.5, 4.0, "What happened next?")],
    "talk_time_share": [("e1", "One", "A", 0.83, 78.1, 2), ("e1", "One", "B", 0.23, 21.9, 1)],
    "words_per_minute": [("e1", "B", 3, 12.9), ("e1", "A", 4, 4.8)],
}  # fmt: skip


def test_every_query_has_an_answer_here():
    assert sorted(path.stem for path in ANALYSIS.glob("*.sql")) == sorted(ANSWERS)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_query_asks_in_plain_words_and_answers(name, warehouse, empty_warehouse):
    query = (ANALYSIS / f"{name}.sql").read_text()
    assert query.startswith("-- ")
    assert "?" in query.splitlines()[0] + query.splitlines()[1]
    assert warehouse.execute(query).fetchall() == ANSWERS[name]
    assert empty_warehouse.execute(query).fetchall() == []
