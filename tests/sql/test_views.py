"""Every view of sql/views, with exact answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import SEGMENTS, SPEAKER_LINKS, TURNS, UTTERANCES, WORD_SPEAKERS, WORDS
from resources.lake.warehouse import ask, connect
from tests.landings import land

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
        ("[01:15] (no speaker): hm",),
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


def test_speakers_of_an_older_transcript_are_not_joined_to_its_words(tmp_path: Path) -> None:
    lake, key = Lake(Home.at(str(tmp_path / "home"))), "show-20260101-00000001"
    words = [{"word": word, "word_idx": index, "data_version": "first"} for index, word in enumerate(("yes", "no"))]
    land(lake, WORDS, key, words)
    speakers = [{"word_idx": index, "speaker": f"S{index}", "transcript_version": "first"} for index in (0, 1)]
    land(lake, WORD_SPEAKERS, key, speakers)
    land(lake, SEGMENTS, key, [{"speaker": "S0", "start_ms": 0, "end_ms": 1000, "data_version": "first"}])
    land(lake, TURNS, key, [{"speaker": "S0", "n_words": 2, "diarization_version": "first"}])
    assert ask_views(lake) == ([("yes", "S0"), ("no", "S1")], [("S0", 2)])
    land(lake, WORDS, key, [{"word": "well", "word_idx": 0, "data_version": "second"}, *words[1:]])
    land(lake, SEGMENTS, key, [{"speaker": "S0", "start_ms": 0, "end_ms": 9000, "data_version": "second"}])
    assert ask_views(lake) == ([("well", None), ("no", "S1")], [("S0", 0)])


def test_an_utterance_has_the_voice_of_its_speaker(tmp_path: Path) -> None:
    lake, key = Lake(Home.at(str(tmp_path / "home"))), "show-20260101-00000001"
    rows = [{"speaker": one, "utterance_idx": i, "diarization_version": "first"} for i, one in enumerate("AB")]
    land(lake, UTTERANCES, key, rows)

    def voices() -> list[tuple[str | None, str | None]]:
        with connect(lake.home) as connection:
            return ask(connection, "select voice_id, voice_name from utterances order by utterance_idx")

    assert voices() == [(None, None), (None, None)]
    link = {"episode_id": key, "audio_sha256": "", "speaker": "A", "voice_id": "v1", "diarization_version": "first"}
    land(lake, SPEAKER_LINKS, "show", [link])
    assert voices() == [("v1", None), (None, None)]
    land(lake, SPEAKER_LINKS, "show", [{**link, "name": "Ada", "voice_id": "v2"}])
    assert voices() == [("v2", "Ada"), (None, None)], "the user has merged the voice into another and named it"
    land(lake, SPEAKER_LINKS, "show", [{**link, "diarization_version": "second"}])
    assert voices() == [(None, None), (None, None)]


def ask_views(lake: Lake) -> tuple[list[tuple[str, str | None]], list[tuple[str, int]]]:
    with connect(lake.home) as connection:
        spoken = ask(connection, "select word, speaker from spoken_words order by word_idx")
        return spoken, ask(connection, "select speaker, n_words from talk_time")
