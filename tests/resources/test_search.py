"""The search index: follows the landings, filters, and finds times."""

from __future__ import annotations

from datetime import date

import pytest

from resources.lake.compaction import remove
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES
from resources.lake.warehouse import connect
from resources.search import QueryRefused, SearchIndex, SearchQuery
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
    with pytest.raises(QueryRefused, match="Give words"):
        found(lake, index, " ")


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
