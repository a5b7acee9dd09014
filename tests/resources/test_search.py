"""The search index: follows the landings, filters, and finds times."""

from __future__ import annotations

from datetime import date

import pytest

from resources.lake.compaction import remove
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES, SPEAKER_LINKS, TURNS
from resources.lake.warehouse import connect
from resources.search import QueryRefused, SearchIndex, SearchQuery
from resources.search_passages import word_at
from tests.landings import NOON, land
from tests.talks import land_talk

ONE, TWO = "show-1", "show-2"


@pytest.fixture
def lake(tmp_path) -> Lake:
    lake = Lake(Home.at(str(tmp_path / "home")))
    rows = [
        {"episode_id": one, "title": f"Title of {one}", "language": "en", "published_at": NOON} for one in (ONE, TWO)
    ]
    land(lake, EPISODES, "show", rows)
    land_talk(lake, ONE, [("S1", "The night train leaves"), ("S2", "A train at night and a Café")], "a1")
    return lake


def found(lake: Lake, index: SearchIndex, text: str, **filters: object) -> list[tuple[str, int]]:
    with connect(lake.home) as connection:
        index.update(connection)
        hits = index.search(connection, SearchQuery(text, **filters), limit=10).hits
    return sorted((hit.episode_id, hit.start_ms) for hit in hits)


def test_words_phrases_and_accents(lake, tmp_path) -> None:
    index = SearchIndex(tmp_path / "index")
    # A word lasts 400 ms; the time is that of the first searched word.
    assert found(lake, index, "train night") == [(ONE, 400), (ONE, 2_000)]
    assert found(lake, index, '"night train"') == [(ONE, 400)]
    assert found(lake, index, "cafe") == [(ONE, 4_000)]
    assert found(lake, index, "bus") == []
    with pytest.raises(QueryRefused, match="is not understood"):
        found(lake, index, "train AND (")
    for without_words in (" ", "*", '""', "'"):
        with pytest.raises(QueryRefused, match="Give words"):
            found(lake, index, without_words)


@pytest.mark.parametrize(
    "text", ["don't", "DON’T know", '"don\'t know"', "7:30", "at:7:30", "'tis NOT train", "it: -train"]
)
def test_apostrophes_and_colons_stand_in_words(lake, tmp_path, text) -> None:
    land_talk(lake, TWO, [("S1", "'Tis true that they don't know it: at 7:30")], "a2")
    assert [episode for episode, _ in found(lake, SearchIndex(tmp_path / "index"), text)] == [TWO]


def test_words_are_found_in_scripts_without_spaces(lake, tmp_path) -> None:
    index = SearchIndex(tmp_path / "index")
    land_talk(
        lake, TWO, [("S1", "今天 我们 来谈 天气 吧"), ("S2", "東京 の カフェー は OK"), ("S1", "สวัสดี ชาวโลก")], "a2"
    )
    assert found(lake, index, "天气") == found(lake, index, '"天气"') == [(TWO, 3 * 400)]
    assert found(lake, index, "气天") == []
    assert found(lake, index, "天气 我们") == [(TWO, 400)]
    assert found(lake, index, "カフェー ok") == [(TWO, 5 * 400 + 2 * 400)]
    assert [episode for episode, _ in found(lake, index, "ชาวโลก")] == [TWO]
    with connect(lake.home) as connection:
        for text in ("谈天", '"谈天"', '"来谈天气" 今天'):
            (hit,) = index.search(connection, SearchQuery(text), limit=10).hits
            assert hit.snippet == "今天我们来谈天气吧"
            assert "".join(hit.snippet[start:stop] for start, stop in hit.marks) in ("谈天", "今天来谈天气")


def test_a_phrase_is_found_where_it_begins(lake, tmp_path) -> None:
    index = SearchIndex(tmp_path / "index")
    text = "train is late, night falls: and so the (night-train) left; the train of night"
    land_talk(lake, TWO, [("S1", text)], "a2")
    # Words that stand before the phrase do not count. "(night-train)" is the ninth word.
    assert found(lake, index, '"night train"') == [(ONE, 400), (TWO, 8 * 400)]
    with connect(lake.home) as connection:
        hits = index.search(connection, SearchQuery('"NIGHT train" AND late'), limit=10).hits
    (hit,) = hits
    assert [hit.snippet[start:stop] for start, stop in hit.marks] == ["late", "night-train"]
    assert found(lake, index, '"the night" "train left"') == [(TWO, 7 * 400)]


def test_words_without_spaces_have_their_times(lake, tmp_path) -> None:
    texts = ["今天", "我们", "来谈", "天气"]
    land_talk(lake, TWO, [("S1", " ".join(texts))], "a2")
    rows = [{**row, "text": "".join(texts)} for row in lake.read(TURNS, TWO).to_pylist()]
    land(lake, TURNS, TWO, rows)
    assert word_at("".join(texts), texts, 4) == 2
    assert word_at("".join(texts), texts, 8) is None


def test_speakers_are_found_by_the_names_of_their_voices(lake, tmp_path) -> None:
    index = SearchIndex(tmp_path / "index")
    assert found(lake, index, "train", speaker="ada") == []
    of = {"audio_sha256": "a1", "voice_id": "v-1", "method": "new", "diarization_version": "d1"}
    links = [
        {**of, "episode_id": ONE, "speaker": "S2", "name": "Ada"},
        {**of, "episode_id": TWO, "speaker": "S1", "name": "Ada"},
    ]
    land(lake, SPEAKER_LINKS, "show", links)
    assert found(lake, index, "train", speaker="ADA") == found(lake, index, "train", speaker="v-1") == [(ONE, 2_000)]
    with connect(lake.home) as connection:
        hits = index.search(connection, SearchQuery("train"), limit=10).hits
    assert {(hit.speaker, hit.name, hit.who) for hit in hits} == {("S1", None, "S1"), ("S2", "Ada", "Ada")}
    # Another diarization's S2 may be somebody else.
    land(lake, TURNS, ONE, [{**row, "diarization_version": "d2"} for row in lake.read(TURNS, ONE).to_pylist()])
    assert found(lake, index, "train", speaker="Ada") == []
    land(lake, SPEAKER_LINKS, "show", [{**one, "diarization_version": "d2"} for one in links])
    assert found(lake, index, "train", speaker="Ada") == [(ONE, 2_000)]


def test_filters(lake, tmp_path) -> None:
    index = SearchIndex(tmp_path / "index")
    assert found(lake, index, "train", speaker="s2") == [(ONE, 2_000)]
    assert found(lake, index, "train", feed="show", language="en") == [(ONE, 800), (ONE, 2_000)]
    assert found(lake, index, "train", language="de") == []
    assert found(lake, index, "train", since=date(2026, 1, 2), until=date(2026, 1, 2), speaker="S1") == [(ONE, 800)]
    assert found(lake, index, "train", until=date(2026, 1, 1)) == []


def test_the_index_follows_landings_and_removals(lake, tmp_path) -> None:
    index = SearchIndex(tmp_path / "index")
    assert len(found(lake, index, "train")) == 2
    land_talk(lake, TWO, [("S1", "Another train")], "a2")
    land_talk(lake, ONE, [("S1", "No longer here")], "a1")
    assert found(lake, index, "train") == [(TWO, 400)]
    assert found(lake, index, "longer") == [(ONE, 400)]
    remove(lake, [TWO])
    assert found(lake, index, "train") == []
    index.remove()
    assert found(lake, index, "longer") == [(ONE, 400)]


def test_nothing_is_indexed_twice_and_a_killed_update_is_continued(lake, tmp_path) -> None:
    index = SearchIndex(tmp_path / "index")
    land_talk(lake, TWO, [("S1", "Another train")], "a2")
    with connect(lake.home) as connection:
        assert (index.update(connection), index.update(connection)) == (2, 0)
        # A process that is killed after its commit has not remembered what it indexed.
        next(index.folder.glob("*.parquet")).unlink()
        assert index.update(connection) == 2
    assert found(lake, index, "another") == [(TWO, 0)]
