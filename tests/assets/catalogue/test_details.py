"""What feeds say about themselves and their items lands in the catalogue."""

from __future__ import annotations

from pathlib import Path

from assets.catalogue.episodes import _Known, _poll, episodes
from pipeline.records import Run
from pipeline.stage import Landing
from resources.fetch.hosts import FetchPolicy
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.warehouse import ask, connect
from tests.landings import NOON, land_outcome
from tests.partitions.feeds.test_details import FEED


def test_details_are_columns_and_what_is_not_said_is_null(tmp_path: Path) -> None:
    catalogue = Catalogue(Lake(Home.at(str(tmp_path / "home"))))
    (tmp_path / "feed.xml").write_text(FEED)
    catalogue.subscribe([(str(tmp_path / "feed.xml"), "Show")])
    landing = _poll("show", _Known.of(catalogue, ["show"]), FetchPolicy())
    assert isinstance(landing, Landing)
    land_outcome(catalogue.lake, episodes, landing, Run("run", "run", NOON, 1))
    with connect(catalogue.home) as connection:
        assert ask(
            connection,
            "select title, description_text, kind, explicit, persons[1].name, license, authors, value from episodes order by title",
        ) == [
            ("One", "Hello there\none\ntwo & three", "bonus", True, "Bob B.", "cc0", ["Ann", "Bob"], None),
            ("Two", None, None, None, None, None, None, None),
        ]
        assert ask(
            connection,
            "select locked, license, license_url, kind, value[1].split, funding[1].url from lake.polls",
        ) == [(True, "cc-by-4.0", "https://cc.test/by", "serial", 90, "https://a.test/pay")]
