"""Polling a feed: conditional, keys made once, nothing lost that the feed stops listing."""

from __future__ import annotations

from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import pytest

from assets.catalogue.episodes import episodes
from assets.catalogue.feeds import feeds
from assets.stages import EPISODE_GRAPH
from dagster_project.commands import listing
from demo.serve import serving
from partitions.definitions import FEEDS, add_keys
from partitions.window import Window
from pipeline.asset_definition import as_asset
from pipeline.run_keys import key_tags
from resources.lake.catalogue import Catalogue
from resources.lake.commits import open_commits
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES, FAILURES, POLLS, UNCHANGED_POLLS
from resources.lake.unchanged_polls import unchanged_at
from tests.fetch import loopback
from tests.landings import seal_settled

FEED = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0" xmlns:itunes="http://www.itunes.com/dtds/podcast-1.0.dtd"><channel>
<title>Night Train</title><language>en-GB</language>
{items}
</channel></rss>"""
ITEM = """<item><title>{title}</title><guid>{guid}</guid><pubDate>{date}</pubDate>
<itunes:duration>1:02</itunes:duration><enclosure url="{url}" length="123" type="audio/mpeg"/></item>"""
ONE = ITEM.format(title="One", guid="g1", date="Thu, 01 Jan 2026 08:00:00 +0200", url="https://example.org/1.mp3")
TWO = ITEM.format(title="Two", guid="g2", date="Fri, 02 Jan 2026 08:00:00 GMT", url="https://example.org/2.mp3")
RENAMED = ITEM.format(
    title="One, again", guid="g1", date="Sat, 03 Jan 2026 08:00:00 GMT", url="https://example.org/1b.mp3"
)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(Home.at(str(tmp_path / "home")))


def resources(lake: Lake) -> dict[str, Any]:
    return {
        "lake": lake,
        "catalogue": Catalogue(lake),
        "window": Window(),
        "fetch_policy": loopback(),
        "episode_graph": EPISODE_GRAPH,
    }


def poll(instance: dg.DagsterInstance, lake: Lake, feed_id: str) -> dg.ExecuteInProcessResult:
    assets = [feeds, as_asset(episodes, batch_size=5, code_version="1")]
    given = resources(lake)
    dg.materialize(assets, selection=["feeds"], instance=instance, resources=given)
    return dg.materialize(
        assets, selection=["episodes"], partition_key=feed_id, instance=instance, resources=given, raise_on_error=False
    )


def poll_together(instance: dg.DagsterInstance, lake: Lake, keys: list[str]) -> dg.ExecuteInProcessResult:
    """As the schedule polls them."""
    asset = as_asset(episodes, batch_size=5, code_version="1")
    tags = key_tags(keys, with_range=False)
    return dg.materialize([asset], instance=instance, resources=resources(lake), tags=tags, raise_on_error=False)


def rows(lake: Lake, feed_id: str) -> list[dict[str, Any]]:
    table = lake.read(EPISODES, feed_id)
    assert table is not None
    return sorted(table.to_pylist(), key=lambda row: row["guid"])


def test_a_poll_lands_the_episodes_and_a_later_one_changes_no_key(
    instance: dg.DagsterInstance, lake: Lake, tmp_path: Path
) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "feed.xml").write_text(FEED.format(items=ONE + TWO))
    with serving(folder) as base:
        (feed,) = Catalogue(lake).subscribe([(f"{base}/feed.xml", "Night Train")])
        assert feed.feed_id == "night-train"
        assert poll(instance, lake, feed.feed_id).success
        first = rows(lake, feed.feed_id)
        assert [row["title"] for row in first] == ["One", "Two"]
        assert first[0]["episode_id"].startswith("night-train-20260101-")
        assert (first[0]["language"], first[0]["language_declared"], first[0]["duration_declared_ms"]) == (
            "en",
            "en-GB",
            62_000,
        )
        assert instance.get_dynamic_partitions("episodes") == [first[1]["episode_id"], first[0]["episode_id"]]

        assert poll(instance, lake, feed.feed_id).success
        unchanged = lake.read_file(UNCHANGED_POLLS, "all")
        assert unchanged is not None
        assert (unchanged["feed_id"].to_pylist(), unchanged["http_status"].to_pylist()) == ([feed.feed_id], [304])
        assert len(lake.history("episodes", feed.feed_id)) == 1, "an unchanged feed lands nothing"
        assert [row["episode_id"] for row in rows(lake, feed.feed_id)] == [row["episode_id"] for row in first]

        Catalogue(lake).subscribe([(f"{base}/feed.xml", None)], language="de")
        assert poll(instance, lake, feed.feed_id).success
        assert {row["language"] for row in rows(lake, feed.feed_id)} == {"de"}, "also when the feed has not changed"

        (folder / "feed.xml").write_text(FEED.format(items=RENAMED))
        assert poll(instance, lake, feed.feed_id).success
        second = rows(lake, feed.feed_id)
        assert [row["episode_id"] for row in second] == [row["episode_id"] for row in first]
        assert [(row["title"], row["listed"]) for row in second] == [("One, again", True), ("Two", False)]
        assert second[0]["first_seen_at"] == first[0]["first_seen_at"]
        assert second[0]["last_changed_at"] > first[0]["last_changed_at"]
        assert len(instance.get_dynamic_partitions("episodes")) == 2


class _SealsAfterListing(Home):
    """A home in which a compaction moves the polls after they were listed."""

    def duckdb_path(self, path: str) -> str:
        if "/polls/open/" in path:
            seal_settled(Lake(Home.at(self.uri)))
        return super().duckdb_path(path)


def test_a_feed_is_unchanged_wherever_its_last_poll_lies(
    instance: dg.DagsterInstance, lake: Lake, tmp_path: Path
) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.xml").write_text(FEED.format(items=ONE))
    with serving(folder) as base:
        feeds = Catalogue(lake).subscribe([(f"{base}/{name}.xml", name) for name in "ab"])
        keys = [feed.feed_id for feed in feeds]
        sealing = Lake(_SealsAfterListing.at(lake.home.uri))
        for home in (lake, sealing, lake):  # open, moved while it is read, sealed
            assert poll_together(instance, home, keys).success
    assert [len(lake.history("episodes", key)) for key in keys] == [1, 1]
    assert open_commits(lake.home, "episodes") == {}
    assert set(unchanged_at(lake)) == set(keys)


def test_a_feed_that_is_gone_is_a_failure_with_its_name(
    instance: dg.DagsterInstance, lake: Lake, tmp_path: Path
) -> None:
    with serving(tmp_path) as base:
        (feed,) = Catalogue(lake).subscribe([(f"{base}/nothing.xml", "Gone")])
        assert not poll(instance, lake, feed.feed_id).success
    failure = lake.read_file(FAILURES, "gone.episodes")
    assert failure is not None
    (row,) = failure.to_pylist()
    assert (row["feed_id"], row["stage"], row["error_class"]) == ("gone", "episodes", "http_not_found")
    assert "nothing.xml" in row["message"]


def test_the_answer_410_ends_the_subscription_and_the_list_says_so(
    instance: dg.DagsterInstance, lake: Lake, tmp_path: Path
) -> None:
    class Ended(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(410)

    with ThreadingHTTPServer(("127.0.0.1", 0), Ended) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/feed.xml"
        catalogue = Catalogue(lake)
        (feed,) = catalogue.subscribe([(url, "Show")])
        assert not poll(instance, lake, feed.feed_id).success
        server.shutdown()
    assert catalogue.ended() == {"show"}
    names, (row,) = listing.feeds(lake.home)
    assert "The subscription has ended" in str(row[names.index("problems")])
    assert catalogue.subscribe([(url, None)]) == []
    assert catalogue.ended() == set(), "adding it again starts it again"


def test_polls_together_log_events_for_changed_and_failed_feeds_only(
    instance: dg.DagsterInstance, lake: Lake, tmp_path: Path
) -> None:
    (tmp_path / "same.xml").write_text(FEED.format(items=ONE))
    with serving(tmp_path) as base:
        found = Catalogue(lake).subscribe([(f"{base}/same.xml", "Same"), (f"{base}/nothing.xml", "Gone")])
        keys = [feed.feed_id for feed in found]
        add_keys(instance, FEEDS, keys)
        for _ in range(2):
            assert not poll_together(instance, lake, keys).success
    assert [len(lake.history("episodes", key)) for key in keys] == [1, 2]
    assert len(instance.fetch_materializations(dg.AssetKey("episodes"), limit=9).records) == 1
    status = instance.get_status_by_partition(dg.AssetKey("episodes"), keys, FEEDS) or {}
    assert [str(status[key]) for key in keys] == ["AssetPartitionStatus.MATERIALIZED", "AssetPartitionStatus.FAILED"]
    assert list(unchanged_at(lake)) == ["same"]


def test_audio_added_by_hand_is_a_feed_of_its_own_with_the_language_given(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    catalogue = Catalogue(lake)
    assert catalogue.add_single("https://example.org/talk.mp3", None, "zh-CN")
    assert not catalogue.add_single("https://example.org/talk.mp3", None, "cn")
    assert poll(instance, lake, "singles").success
    (row,) = rows(lake, "singles")
    assert (row["title"], row["language"], row["enclosure_url"]) == ("talk.mp3", "zh", "https://example.org/talk.mp3")
    assert catalogue.entry(row["episode_id"]).feed_id == "singles"


def test_a_local_rss_file_is_polled_like_any_feed(instance: dg.DagsterInstance, lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_text(FEED.format(items=ONE))
    (feed,) = Catalogue(lake).subscribe([(str(path), None)], language="de")
    assert poll(instance, lake, feed.feed_id).success
    assert [row["language"] for row in rows(lake, feed.feed_id)] == ["de"]
    path.unlink()
    assert not poll(instance, lake, feed.feed_id).success
    assert len(rows(lake, feed.feed_id)) == 1


def test_a_poll_that_lists_nothing_known_takes_effect_when_seen_twice(
    instance: dg.DagsterInstance, lake: Lake, tmp_path: Path
) -> None:
    with serving(tmp_path) as base:
        (tmp_path / "feed.xml").write_text(FEED.format(items=ONE + TWO))
        (feed,) = Catalogue(lake).subscribe([(f"{base}/feed.xml", "Night Train")])
        assert poll(instance, lake, feed.feed_id).success
        (tmp_path / "feed.xml").write_text(FEED.format(items=""))
        assert poll(instance, lake, feed.feed_id).success
        assert [row["listed"] for row in rows(lake, feed.feed_id)] == [True, True]
        (row,) = lake.rows(POLLS, feed.feed_id)
        assert (row.etag, row.n_episodes) == (None, 2)
        assert row.problems == (
            "the document listed none of the 2 known episodes, which takes effect if the next poll agrees",
        )
        assert poll(instance, lake, feed.feed_id).success
        assert [row["listed"] for row in rows(lake, feed.feed_id)] == [False, False]
        assert lake.rows(POLLS, feed.feed_id)[0].problems == ()


def test_an_hourly_bulletin_at_one_url_is_an_episode_each_hour(
    instance: dg.DagsterInstance, lake: Lake, tmp_path: Path
) -> None:
    with serving(tmp_path) as base:
        (feed,) = Catalogue(lake).subscribe([(f"{base}/feed.xml", "News")])
        for hour in range(3):
            date = f"Thu, 01 Jan 2026 0{hour}:00:00 GMT"
            bulletin = ITEM.format(title="News", guid=f"news-{hour}", date=date, url="https://example.org/news.mp3")
            (tmp_path / "feed.xml").write_text(FEED.format(items=bulletin))
            assert poll(instance, lake, feed.feed_id).success
        assert [row["listed"] for row in rows(lake, feed.feed_id)] == [False, False, True]


def test_texts_of_a_feed_are_no_markdown(instance: dg.DagsterInstance, lake: Lake, tmp_path: Path) -> None:
    path = tmp_path / "feed.xml"
    path.write_text(FEED.format(items=ONE.replace("One", "[a](javascript:b) &lt;img src=x&gt; *c*")))
    (feed,) = Catalogue(lake).subscribe([(str(path), None)])
    result = poll(instance, lake, feed.feed_id)
    (event,) = instance.fetch_materializations(dg.AssetKey("episodes"), limit=1).records
    assert result.success
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["newest"].value == (
        r"- 2026-01-01 \[a\]\(javascript:b\) \<img src=x\> \*c\*"
    )


def test_a_removed_feed_and_a_new_one_of_its_title_share_nothing(
    instance: dg.DagsterInstance, lake: Lake, tmp_path: Path
) -> None:
    catalogue = Catalogue(lake)
    (tmp_path / "feed.xml").write_text(FEED.format(items=ONE))
    with serving(tmp_path) as base:
        (old,) = catalogue.subscribe([(f"{base}/feed.xml", "Night Train")])
        assert poll(instance, lake, old.feed_id).success
        lake.home.remove("subscriptions", "night-train.json")
        (new,) = catalogue.subscribe([(f"{base}/feed.xml?2", "Night Train")])
        assert new.feed_id.startswith("night-train-")
        (again,) = catalogue.subscribe([(f"{base}/feed.xml", "Night Train")])
        assert again.feed_id == "night-train", "the same feed finds its episodes"


def test_a_feed_whose_url_is_edited_is_polled_afresh(instance: dg.DagsterInstance, lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "feed.xml").write_text(FEED.format(items=ONE))
    with serving(tmp_path) as base:
        (feed,) = Catalogue(lake).subscribe([(f"{base}/feed.xml", "Night Train")])
        path = Path(lake.home.path("subscriptions", "night-train.json"))
        landings = []
        for url in (f"{base}/feed.xml", f"{base}/feed.xml", f"{base}/feed.xml?edited"):
            path.write_text(path.read_text().replace(feed.url, url))
            assert poll(instance, lake, feed.feed_id).success
            landings.append(len(lake.history("episodes", feed.feed_id)))
    assert landings == [1, 1, 2]
