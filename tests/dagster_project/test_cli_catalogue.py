"""`podlake refresh`, `remove`, `list` with a choice, and `search-feeds`, against a server of this machine."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from click.testing import CliRunner, Result

from assets.stages import EPISODE_GRAPH
from dagster_project.cli import main
from dagster_project.commands import listing
from dagster_project.commands.remove import remove, undo
from dagster_project.instance import open_instance
from dagster_project.settings import Settings
from partitions.definitions import EPISODES, FEEDS, add_keys
from partitions.window import Window
from pipeline.live_window import admit
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES as EPISODE_ROWS
from resources.lake.tables import FAILURES, QUALITY
from speech.errors import UpstreamMissing
from tests.landings import land

KEYS = [f"show-2026010{n}-0000000{n}" for n in (1, 2, 3)]
ITUNES = {"resultCount": 2, "results": [
    {"collectionName": "Night Train", "artistName": "Ann", "trackCount": 12, "feedUrl": "https://a.test/feed"},
    {"collectionName": "No Feed", "artistName": "Bob", "trackCount": 1},
]}  # fmt: skip
INDEX = {"status": "true", "feeds": [
    {"title": "Night Train", "author": "Ann", "episodeCount": 12, "url": "https://a.test/feed"},
    {"title": "Trains", "author": "Cy", "episodeCount": 3, "url": "https://c.test/feed"},
]}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return Home.at(str(tmp_path / "home"))


@pytest.fixture
def catalogue(home: Home) -> Catalogue:
    """A feed of three episodes: one is complete, one has failed."""
    catalogue = Catalogue(Lake(home))
    catalogue.subscribe([("https://a.test/feed", "Show")])
    rows = [{"episode_id": key, "feed_id": "show", "title": key, "language": ("en", "de", "en")[n],
             "published_at": datetime(2026, 1, n + 1, tzinfo=UTC)} for n, key in enumerate(KEYS)]  # fmt: skip
    land(catalogue.lake, EPISODE_ROWS, "show", rows)
    for stage in EPISODE_GRAPH:
        for table in stage.tables:
            land(catalogue.lake, table, KEYS[0], [{}])
    land(catalogue.lake, FAILURES, f"{KEYS[1]}.audio", [{}])
    return catalogue


def podlake(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def test_a_removed_episode_or_feed_is_not_admitted_until_that_is_undone(catalogue: Catalogue) -> None:
    catalogue.lake.remove(FAILURES, f"{KEYS[1]}.audio")
    with open_instance(Settings()) as instance:
        add_keys(instance, FEEDS, ["show"])
        add_keys(instance, EPISODES, KEYS[1:2])
        assert remove(instance, catalogue, KEYS[1:2]) == 1
        assert admit(instance, catalogue, Window(), EPISODE_GRAPH) == [KEYS[2]]
        assert remove(instance, catalogue, ["show"]) == 1
        assert instance.get_dynamic_partitions("feeds") == []
        assert catalogue.subscriptions() == []
        assert admit(instance, catalogue, Window(), EPISODE_GRAPH) == []
        assert len(catalogue.lake.rows(EPISODE_ROWS, "show")) == 3
        assert len(catalogue.lake.rows(QUALITY, KEYS[0])) == 1
        undo(instance, catalogue, ["show"])
        assert instance.get_dynamic_partitions("feeds") == ["show"]
        undo(instance, catalogue, KEYS[1:2])
        assert admit(instance, catalogue, Window(), EPISODE_GRAPH) == [KEYS[2], KEYS[1]]
        with pytest.raises(UpstreamMissing, match="no such feed or episode: other"):
            remove(instance, catalogue, ["other"])


def test_the_rows_of_a_removed_feed_are_still_read(catalogue: Catalogue) -> None:
    catalogue.remove_feed("show")
    for command in (
        "status show",
        "list --feed show",
        "voices list show",
        "duplicates --feed show",
        "export srt --feed show",
    ):
        assert podlake(*command.split()).exit_code == 0, command
    assert "removed" in podlake("status", "show").output
    answer = podlake("run", "--feed", "show")
    assert (answer.exit_code, "There is no feed show" in answer.output) == (2, True)


def test_adding_a_removed_feed_takes_it_back_and_no_other_feed_gets_its_name(catalogue: Catalogue) -> None:
    catalogue.remove_feed("show")
    (other,) = catalogue.subscribe([("https://b.test/feed", "Show")])
    assert other.feed_id != "show"
    (again,) = catalogue.subscribe([("https://a.test/feed", None)])
    assert again.feed_id == "show"
    assert {feed.feed_id for feed in catalogue.subscriptions()} == {"show", other.feed_id}


def test_episodes_are_listed_by_state_language_and_date(catalogue: Catalogue) -> None:
    catalogue.remove_episode(KEYS[2])

    def listed(**chosen: object) -> list[object]:
        return [row[0] for row in listing.episodes(catalogue.home, listing.Filter(**chosen), limit=2)[1]]  # type: ignore[arg-type]

    assert listed() == [KEYS[2], KEYS[1]]
    assert listed(status="done") == [KEYS[0]]
    assert listed(status="failed") == [KEYS[1]]
    assert listed(status="removed") == [KEYS[2]]
    assert listed(status="waiting") == []
    assert listed(language="en-US") == [KEYS[2], KEYS[0]]
    assert listed(since=datetime(2026, 1, 3, tzinfo=UTC)) == [KEYS[2]]
    assert KEYS[0] in podlake("list", "--status", "done").stdout
    assert podlake("list", "--language", "fr").stdout == "No episode matches.\n"


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Both directories. The list gets the paths of requests. PodcastIndex checks the signature as the real one does."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            signed = f"KEYSECRET{self.headers.get('X-Auth-Date')}".encode()
            is_index = self.path.startswith("/api/1.0/search/byterm?")
            refused = is_index and self.headers.get("Authorization") != hashlib.sha1(signed).hexdigest()
            body = json.dumps(INDEX if is_index else ITUNES).encode()
            self.send_response(401 if refused else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("PODLAKE_ITUNES_URL", url)
        monkeypatch.setenv("PODLAKE_PODCASTINDEX_URL", f"{url}/api/1.0")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield asked
        server.shutdown()
        thread.join()


def test_feeds_are_found_in_both_directories(home: Home, directory: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = podlake("search-feeds", "night", "train").stdout.splitlines()
    assert [line.split()[-1] for line in lines[2:3]] == ["https://a.test/feed"]
    assert directory == ["/search?media=podcast&term=night+train&limit=20"]
    monkeypatch.setenv("PODLAKE_PODCASTINDEX_KEY", "KEY")
    monkeypatch.setenv("PODLAKE_PODCASTINDEX_SECRET", "SECRET")
    lines = podlake("search-feeds", "night").stdout.splitlines()
    assert [line.split()[-1] for line in lines[2:4]] == ["https://a.test/feed", "https://c.test/feed"]
    monkeypatch.setenv("PODLAKE_PODCASTINDEX_SECRET", "WRONG")
    result = podlake("search-feeds", "night")
    assert "https://a.test/feed" in result.stdout
    assert "answered 401" in result.stderr


def test_refresh_polls_now_and_says_what_is_new(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    # Another test of this process may have loaded the definitions for its own home.
    monkeypatch.delitem(sys.modules, "dagster_project.definitions", raising=False)
    item = '<item><title>{0}</title><guid>{0}</guid><enclosure url="https://a.test/{0}.mp3" type="audio/mpeg"/></item>'
    rss = '<rss version="2.0"><channel><title>Show</title>{0}</channel></rss>'
    Path("feed.xml").write_text(rss.format(item.format(1)))
    podlake("add", "feed.xml")
    assert podlake("refresh", "show").stdout.splitlines()[2].split() == ["show", "1", "1"]
    Path("feed.xml").unlink()
    result = podlake("refresh")
    assert result.exit_code == 1
    assert "cannot be read" in result.stdout
    assert Home.at(home.uri).names("lake", "failures", "open")[-1] == "show.episodes.parquet"
