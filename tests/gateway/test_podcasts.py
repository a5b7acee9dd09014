"""Podcasts through the API: the ledger's answers, who sees what, progress, audio, and the feed for podcast apps."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import av
import dagster as dg
import feedparser
import pytest

from assets.stages import STAGES
from dagster_project.podcasts import PODCAST_TAG
from gateway.notices import note_finished
from podlake.api import NewPodcast, Podcast
from podlake.client import ApiError
from resources.lake.tables import TABLES
from resources.studio.feed import FeedSettings, write_feed
from tests.gateway.serving import ADMIN, OPERATOR, VIEWER, Served, served
from tests.gateway.test_dashboard import values
from tests.landings import land
from tests.podcasts import SCRIPT, fail, finish, say_lines

NEW = NewPodcast(SCRIPT, "A talk")


@pytest.fixture
def studio(tmp_path: Path, _dagster_home: None) -> Iterator[Served]:
    """A service of a lake of its own: users have one podcast at a time."""
    with served(tmp_path / "home") as found:
        yield found


def requested(studio: Served, user: tuple[str, str] = VIEWER, title: str = "A talk") -> Podcast:
    with studio.api(user) as client:
        return client.request_podcast(NewPodcast(SCRIPT, title))


def made(studio: Served, podcast_id: str) -> None:
    finish(studio.service.lake, studio.service.studio.files, podcast_id)


def test_the_answers_of_the_ledger(studio: Served) -> None:
    with studio.api(VIEWER) as client, studio.client(VIEWER) as http:
        first = client.request_podcast(NEW, idempotency_key="click")
        assert (first.state, first.position, first.n_turns, first.lines_made, first.user) == ("pending", 1, 4, 0, "vic")
        assert first.script == SCRIPT
        assert [(turn.speaker, turn.is_said) for turn in first.turns] == [
            ("S1", False), ("S2", False), ("S1", False), ("S2", False),
        ]  # fmt: skip
        assert client.request_podcast(NEW, idempotency_key="click") == first
        for new, key, status, code in (
            (NEW, None, 429, "rate_limit_exceeded"),
            (NewPodcast(SCRIPT, "Another"), "click", 422, "idempotency_key_reused"),
            (NEW, "k" * 201, 400, "bad_idempotency_key"),
            (NewPodcast("Hello", "A talk"), None, 400, "no_speaker"),
            (NewPodcast("[S1] " + "a" * 10_000, "A talk"), None, 400, "script_too_long"),
            (NewPodcast(SCRIPT, "two\nlines"), None, 400, "bad_title"),
            (NewPodcast(SCRIPT, "A talk", "klingon"), None, 400, "bad_language"),
            (NewPodcast(SCRIPT, "A talk", "en", -1), None, 400, "bad_seed"),
            (NewPodcast("[S1] a\0b", "A talk"), None, 400, "not_text"),
        ):
            with pytest.raises(ApiError) as refused:
                client.request_podcast(new, idempotency_key=key)
            assert (refused.value.status, refused.value.problem["code"]) == (status, code)
        answer = http.post("/api/v1/podcasts", json={"script": SCRIPT, "title": "A talk"})
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["detail"] == "Please wait for your current podcast to complete."
        assert answer.headers["Retry-After"] == "15"
        surrogates = '{"title": "a", "script": "[S1] \\ud800", "language": "\\ud800"}'
        assert http.post("/api/v1/podcasts", content=surrogates, headers={"Content-Type": "application/json"}).status_code in (400, 422)  # fmt: skip


def test_clicks_at_once_are_one_podcast(studio: Served) -> None:
    def click(number: int) -> object:
        with studio.api(VIEWER) as client:
            try:
                return client.request_podcast(NEW, idempotency_key="same" if number % 2 else f"own{number}").podcast_id
            except ApiError as error:
                return error.problem["code"]

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(click, range(8)))
    with studio.api(VIEWER) as client:
        (one,) = client.podcasts()
    assert {one.podcast_id} <= answers <= {one.podcast_id, "rate_limit_exceeded", "request_in_progress"}


def test_a_user_sees_and_cancels_only_their_own(studio: Served) -> None:
    own, other = requested(studio), requested(studio, OPERATOR)
    with studio.api(VIEWER) as client:
        assert [one.podcast_id for one in client.podcasts()] == [own.podcast_id]
        for attempt in (client.podcast, client.cancel_podcast, client.podcast_audio):
            with pytest.raises(ApiError) as refused:
                attempt(other.podcast_id)
            assert refused.value.status == 404
        for attempt in (lambda: list(client.podcasts(everyone=True)), lambda: list(client.podcasts(user="olga")), client.podcast_overview):  # fmt: skip
            with pytest.raises(ApiError) as refused:
                attempt()
            assert refused.value.status == 403
    key = studio.service.accounts.add_key("vic", "viewer")
    reader = studio.service.accounts.add_key("reader", "viewer", ["read"])
    with studio.client(key=key) as client, studio.client(key=reader) as reading:
        assert client.get("/api/v1/podcasts").json()["podcasts"] == []
        assert client.get("/api/v1/podcasts/limits").json()["user"] == "key:vic"
        assert reading.get("/api/v1/podcasts").status_code == 200
        assert reading.post("/api/v1/podcasts", json={"script": SCRIPT, "title": "A"}).status_code == 403
    with studio.api(ADMIN) as client:
        assert {one.user: one.position for one in client.podcasts(everyone=True, page=1)} == {"olga": 2, "vic": 1}
        assert [one.user for one in client.podcasts(user="olga")] == ["olga"]
        assert client.podcast_overview().states == {"pending": 2}
        assert client.cancel_podcast(other.podcast_id).state == "cancelled"
        assert client.podcast_overview().users[0].states == {"cancelled": 1}
        assert list(client.podcasts()) == []


def test_limits_say_what_is_left_and_why_a_script_is_refused(studio: Served) -> None:
    requested(studio)
    with studio.api(VIEWER) as client:
        limits = client.podcast_limits()
        assert (limits.user, limits.is_admin, limits.open, limits.today, limits.per_day) == ("vic", False, 1, 1, 5)
        assert {voice.speaker for voice in limits.voices} >= {"S1", "S2"}
        assert client.check_podcast(NEW) == []
        found = client.check_podcast(NewPodcast("[S1] Hello. [S2] …", "", "xx1"))
        assert [(one.field, one.code) for one in found] == [
            ("language", "bad_language"), ("title", "bad_title"), ("script", "empty_turn"),
        ]  # fmt: skip
        assert found[2].message == "Turn 2, by S2, says nothing. Write a text or remove it."


def test_progress_ends_with_audio(studio: Served) -> None:
    podcast = requested(studio).podcast_id
    with studio.api(VIEWER) as client, studio.client(VIEWER) as http:
        say_lines(studio.service.studio.files, podcast, 3)
        found = client.podcast(podcast)
        assert (found.lines_made, [turn.is_said for turn in found.turns]) == (3, [True, True, True, False])
        answer = http.get(f"/api/v1/podcasts/{podcast}/audio")
        assert (answer.status_code, answer.json()["code"]) == (404, "no_audio")
        made(studio, podcast)
        found = client.podcast(podcast)
        assert (found.state, found.lines_made, found.duration_ms) == ("completed", 4, 2000)
        assert (found.turns[3].start_ms, found.turns[3].end_ms) == (1500, 1900)
        with pytest.raises(ApiError) as refused:
            client.cancel_podcast(podcast)
        assert (refused.value.status, refused.value.problem["code"]) == (409, "already_finished")
        whole = client.podcast_audio(podcast)
        assert client.podcast_audio(podcast, first=10, last=19) == whole[10:20]
        with av.open(io.BytesIO(client.podcast_audio(podcast, "opus"))) as file:
            assert file.streams.audio[0].codec_context.name == "opus"
        saved = http.get(f"/api/v1/podcasts/{podcast}/audio", params={"download": True})
        assert saved.headers["content-type"] == "audio/mpeg"
        assert saved.headers["content-disposition"].endswith("A%20talk.mp3")
    assert requested(studio).podcast_id != podcast


def test_a_failed_podcast_says_why_and_another_may_be_requested(studio: Served) -> None:
    podcast = requested(studio).podcast_id
    failed(studio, podcast)
    with studio.api(VIEWER) as client:
        found = client.podcast(podcast)
        assert (found.state, found.stage, found.error) == ("failed", "speech_lines", "No voice is set for S2.")
        assert client.request_podcast(NEW).state == "pending"


@dg.job
def _nothing() -> None: ...


def failed(studio: Served, podcast_id: str) -> None:
    """Its run has failed with a permanent error."""
    instance = studio.service.studio.instance
    run = instance.create_run_for_job(_nothing, tags={PODCAST_TAG: podcast_id})
    fail(studio.service.lake, STAGES["speech_lines"], podcast_id, run.run_id)
    instance.report_run_failed(run, "no voice")


def test_podcast_apps_read_the_feed(studio: Served) -> None:
    podcast, shared = requested(studio).podcast_id, studio.service.studio
    made(studio, podcast)
    with studio.client(VIEWER) as client, studio.client() as nobody:
        assert feedparser.parse(client.get("/podcasts/feed.xml").content).entries == []
        row = {"title": "A talk", "language": "en", "script": SCRIPT}
        land(studio.service.lake, TABLES["scripts"], podcast, [row])
        land(studio.service.lake, TABLES["podcast_transcripts"], podcast, [{"vtt_path": "a", "json_path": "b"}])
        write_feed(studio.service.lake, shared.files, FeedSettings(f"{studio.url}/podcasts", "Ours"))
        answer = client.get("/podcasts/feed.xml")
        assert answer.headers["content-type"].startswith("application/rss+xml")
        (entry,) = feedparser.parse(answer.content).entries
        enclosure = entry.enclosures[0]
        assert len(client.get(enclosure.href).content) == int(enclosure.length)
        assert client.head(enclosure.href).headers["content-length"] == enclosure.length
        assert client.get(enclosure.href, headers={"Range": "bytes=0-3"}).status_code == 206
        assert nobody.get(enclosure.href).status_code == 401
        for path in ("service.db", "2026/11/../../service.db", "2026/11/x.mp3", "2026/11/.hidden.mp3", "feed.xml/"):
            assert client.get(f"/podcasts/{path}").status_code == 404


def test_prometheus_reads_the_queue_and_the_outcomes(studio: Served) -> None:
    first = requested(studio).podcast_id
    requested(studio, OPERATOR)
    made(studio, first)
    note_finished(studio.service, datetime.now(UTC))
    with studio.client(ADMIN) as client:
        found = values(client.get("/metrics").text)
    assert found["podlake_podcasts", (("state", "pending"),)] == 1
    assert found["podlake_podcasts_24h", (("outcome", "completed"),)] == 1
    assert found["podlake_podcasts_24h", (("outcome", "failed"),)] == 0
    assert found["podlake_podcast_seconds_per_audio_second", ()] == 0


def test_the_documentation_has_the_answers(studio: Served) -> None:
    with studio.client(VIEWER) as client:
        found = client.get("/openapi.json").json()["paths"]["/api/v1/podcasts"]["post"]
    assert {"202", "400", "409", "422", "429"} <= set(found["responses"])
    assert "application/problem+json" in found["responses"]["429"]["content"]
