"""The API through its typed client: submit, list, read, search, count, retry, forget."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from podlake.api import NewEpisode, NewFeed, RetryRequest
from podlake.client import ApiError, Client
from resources.lake.catalogue import Catalogue
from tests.gateway.serving import ADMIN, OPERATOR, VIEWER, Served
from tests.talks import BREAD, RAIN


@pytest.fixture(scope="module")
def viewer(talks: Served) -> Iterator[Client]:
    with talks.api(VIEWER) as client:
        yield client


@pytest.fixture(scope="module")
def operator(empty: Served) -> Iterator[Client]:
    with empty.api(OPERATOR) as client:
        yield client


def test_an_episode_with_all_its_stages(viewer: Client) -> None:
    found = viewer.episode(RAIN)
    assert (found.episode_id, found.feed_id, found.language) == (RAIN, "show", "en")
    states = {one.stage: one.state for one in found.stages}
    assert states["turns"] == "landed"
    assert states["hashes"] == "waiting"
    assert found == viewer.episode(RAIN)


def test_an_unknown_episode_is_a_problem(viewer: Client) -> None:
    with pytest.raises(ApiError, match="There is no episode show-20200101-00000000") as caught:
        viewer.episode("show-20200101-00000000")
    assert caught.value.status == 404
    assert caught.value.problem["title"] == "Not Found"


def test_lists_and_pages(viewer: Client, talks: Served) -> None:
    everything = [one.episode_id for one in viewer.episodes()]
    assert len(everything) == 3
    assert [one.episode_id for one in viewer.episodes(page=1)] == everything
    assert [one.episode_id for one in viewer.episodes(feed="radio")] == [everything[0]] or len(everything) == 3
    assert {one.feed_id for one in viewer.episodes(feed="show")} == {"show"}
    assert list(viewer.episodes(language="zh")) == []
    assert list(viewer.episodes(state="done")) == []
    assert len(list(viewer.episodes(state="waiting"))) == 3
    assert list(viewer.episodes(until=datetime(2000, 1, 1, tzinfo=UTC))) == []
    with talks.client(VIEWER) as client:
        lines = client.get("/api/v1/episodes.jsonl").text.splitlines()
        assert [json.loads(line)["episode_id"] for line in lines] == everything
        assert client.get("/api/v1/episodes", params={"cursor": "nonsense"}).status_code == 400
        assert client.get("/api/v1/episodes", params={"limit": 0}).status_code == 422


def test_transcripts(viewer: Client) -> None:
    assert json.loads(viewer.transcript(BREAD))["episode_id"] == BREAD
    assert viewer.transcript(BREAD, "vtt").startswith("WEBVTT\n")
    assert "-->" in viewer.transcript(BREAD, "srt")
    assert "Bread takes its time." in viewer.transcript(BREAD, "txt")
    with pytest.raises(ApiError, match="404"):
        viewer.transcript("show-20200101-00000000")


def test_audio_in_ranges(viewer: Client) -> None:
    whole = viewer.audio(RAIN)
    assert viewer.audio(RAIN, first=100, last=199) == whole[100:200]
    assert viewer.audio(RAIN, first=len(whole) - 10) == whole[-10:]
    with pytest.raises(ApiError, match="404"):
        viewer.audio("show-20200101-00000000")


def test_search(viewer: Client) -> None:
    found = viewer.search("rain")
    assert found.total == len(found.hits) > 1
    assert {hit.episode_id for hit in viewer.search("bread").hits} == {BREAD}
    with pytest.raises(ApiError, match="400"):
        viewer.search('"')


def test_statistics(viewer: Client) -> None:
    found = viewer.statistics()
    assert (found.episodes, found.done, found.queue) == (3, 0, 3)
    assert {one.stage: one.landed for one in found.stages}["turns"] == 3


def test_submitting_episodes_once(operator: Client, empty: Served) -> None:
    new = [NewEpisode("https://audio.example/one.mp3", language="en", title="One"), NewEpisode("ftp://x/y.mp3")]
    first = operator.submit_episodes(new, idempotency_key="first")
    assert [one.outcome for one in first] == ["added", "refused"]
    assert operator.submit_episodes(new, idempotency_key="first") == first
    assert [one.outcome for one in operator.submit_episodes(new)] == ["present", "refused"]
    with pytest.raises(ApiError, match="422"):
        operator.submit_episodes(new[:1], idempotency_key="first")
    assert first[0].id
    assert operator.episode(first[0].id).title == "One"


def test_submitting_feeds(operator: Client, empty: Served) -> None:
    (one,) = operator.submit_feeds([NewFeed("https://feeds.example/rss", title="A feed")])
    assert (one.outcome, one.id) == ("added", "a-feed")
    assert operator.submit_feeds([NewFeed("https://feeds.example/rss")])[0].outcome == "present"
    assert "a-feed" in [feed.feed_id for feed in operator.feeds()]
    assert [feed.feed_id for feed in Catalogue(empty.service.lake).subscriptions()] == ["a-feed"]


def test_a_bulk_list(operator: Client) -> None:
    lines: list[dict[str, object]] = [{"url": f"https://bulk.example/{n}.mp3", "guid": f"b{n}"} for n in range(100)]
    found = operator.submit_bulk([*lines, {"url": "nothing"}])
    assert (found.audio, found.duplicates, found.bad) == (100, 0, 1)
    assert "line 101" in found.problems[0]
    assert operator.submit_bulk(lines).duplicates == 100


def test_forgetting_and_retrying(operator: Client, empty: Served) -> None:
    (one,) = operator.submit_episodes([NewEpisode("https://audio.example/forget.mp3")])
    assert one.id
    with pytest.raises(ApiError, match="403"):
        operator.forget_episode(one.id)
    with empty.api(ADMIN) as admin:
        assert admin.forget_episode(one.id).episodes == 1
        with pytest.raises(ApiError, match="404"):
            admin.forget_episode("nothing-20200101-00000000")
    assert operator.submit_episodes([NewEpisode("https://audio.example/forget.mp3")])[0].outcome == "forgotten"
    assert operator.retry().failed == {}
    with pytest.raises(ApiError, match="no stage lunch"):
        operator.retry(RetryRequest(stages=("lunch",)))


def test_a_viewer_changes_nothing(talks: Served) -> None:
    with talks.api(VIEWER) as client:
        for change in (
            lambda: client.submit_episodes([NewEpisode("https://audio.example/no.mp3")]),
            lambda: client.submit_feeds([NewFeed("https://feeds.example/no")]),
            lambda: client.submit_bulk([{"url": "https://audio.example/no.mp3"}]),
            client.retry,
            lambda: client.forget_episode(RAIN),
            lambda: client.forget_feed("show"),
            client.webhooks,
        ):
            with pytest.raises(ApiError, match="403"):
                change()
        assert len(list(client.episodes())) == 3


def test_the_documentation_loads_nothing_from_elsewhere(talks: Served) -> None:
    with talks.client(VIEWER) as client:
        page = client.get("/docs")
        assert "http" not in page.text
        assert client.get("/docs/swagger-ui-bundle.js").headers["content-type"].startswith("text/javascript")
        paths = client.get("/openapi.json").json()["paths"]
        assert "/api/v1/episodes/{episode_id}/transcript" in paths
