"""Every view of sql/views, with exact answers."""

from __future__ import annotations

from pathlib import Path

import pytest

VIEWS = Path(__file__).parents[2] / "sql" / "views"


@pytest.mark.parametrize("path", sorted(VIEWS.glob("*.sql")), ids=lambda path: path.stem)
def test_a_view_says_what_it_answers_and_runs_on_an_empty_lake(path, empty_warehouse):
    assert path.read_text().startswith("-- ")
    assert f"create or replace view {path.stem} as\n" in path.read_text()
    assert empty_warehouse.execute(f"from {path.stem}").fetchall() == []


def test_spoken_words(warehouse):
    found = warehouse.execute(
        "select word, speaker, rule, in_overlap, turn_idx from spoken_words order by word_idx"
    ).fetchall()
    assert found == [
        ("What", "A", "inside", False, 0),
        ("happened", "A", "inside", False, 0),
        ("next?", "A", "inside", False, 0),
        ("Nothing,", "B", "most_overlap", True, 1),
        ("nothing", "B", "inside", False, 1),
        ("really.", "B", "inside", False, 1),
        ("Right.", "A", "most_overlap", True, 2),
        ("hm", None, "none", False, 3),
    ]


def test_transcript(warehouse):
    assert warehouse.execute("select line from transcript order by turn_idx").fetchall() == [
        ("[00:00] A: What happened next?",),
        ("[00:29] B: Nothing, nothing really.",),
        ("[00:46] A: Right.",),
        ("[01:15] (nobody): hm",),
    ]


def test_talk_time(warehouse):
    assert warehouse.execute("from talk_time order by speaker").fetchall() == [
        ("e1", "a1", "A", 50_000, 4, 2, 0.78125),
        ("e1", "a1", "B", 14_000, 3, 1, 0.21875),
    ]


def test_episode_overview(warehouse):
    found = warehouse.execute(
        "select episode_id, feed_title, title, language, duration_ms, list_sort(stages), n_words, n_speakers, flags, failures "
        "from episode_overview order by episode_id"
    ).fetchall()
    stages = ["audio", "diarization", "hashes", "quality", "transcript", "turns"]
    assert found == [
        ("e1", "The Show", "One", "en", 3_600_000, stages, 8, 2, ["unassigned_words"], []),
        (
            "e2",
            "The Show",
            "Two",
            None,
            1_800_000,
            ["audio", "diarization", "hashes", "quality"],
            0,
            0,
            ["no_speech"],
            ["transcript: lang_unsupported"],
        ),
        ("e3", None, None, None, 60_000, ["hashes"], None, None, None, ["audio: http_5xx"]),
        ("e4", None, None, None, None, ["audio", "hashes"], None, None, None, ["audio: http_5xx"]),
        ("e5", None, None, None, None, ["hashes"], None, None, None, []),
    ]
