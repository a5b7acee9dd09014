"""`publisher_transcript`: what lands of the links of a feed, what is requested, and which failures count."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from assets.catalogue.episodes import episodes
from assets.catalogue.publisher_transcript import publisher_transcript
from pipeline.records import Run
from pipeline.stage import Batch, Landing, Outcome, Stage
from resources.fetch.hosts import FetchPolicy
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import CHAPTERS, EPISODES, FAILURES, PUBLISHER_SEGMENTS
from tests.fetch import loopback
from tests.landings import land_outcome

FEED = """<rss version="2.0" xmlns:podcast="https://podcastindex.org/namespace/1.0"><channel><title>Show</title>
<language>en</language><item><title>One</title><guid>g1</guid>
<pubDate>Thu, 01 Jan 2026 08:00:00 GMT</pubDate><enclosure url="https://example.org/a.mp3" type="audio/mpeg"/>
{links}</item></channel></rss>"""
SRT = b"1\n00:00:00,000 --> 00:00:01,000\nHello there.\n"
VTT = b"WEBVTT\n\n00:00.000 --> 00:01.000\n<v Ann>Hello there.\n"
CHAPTERS_JSON = json.dumps(
    {"chapters": [{"startTime": 1, "title": "Start", "url": "https://u:p@example.org/x"}]}
).encode()


class Site:
    def __init__(self) -> None:
        self.files: dict[str, bytes | int] = {}
        self.requests: list[str] = []
        self.address = ""


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.requests.append(self.path)
            body = found.files.get(self.path, 404)
            self.send_response(body if isinstance(body, int) else 200)
            body = b"" if isinstance(body, int) else body
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        found.address = f"http://127.0.0.1:{port}"
        yield found


@contextmanager
def _serving(http: ThreadingHTTPServer) -> Iterator[int]:
    thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield http.server_port
    http.shutdown()
    thread.join()
    http.server_close()


class Pipeline:
    """Polls a feed with one episode from a file, and fetches what its links name."""

    def __init__(self, folder: Path, site: Site, policy: FetchPolicy) -> None:
        self.lake, self.site, self.folder, self.policy = Lake(Home.at(str(folder / "home"))), site, folder, policy
        self.catalogue = Catalogue(self.lake)

    def run(self, stage: Stage, key: str) -> Outcome:
        (outcome,) = stage.work(Batch((key,), {}), catalogue=self.catalogue, fetch_policy=self.policy)
        land_outcome(self.lake, stage, outcome, Run("run", "run", datetime.now(UTC), 1))
        return outcome

    def fetch(self, *links: str) -> tuple[str, bool]:
        """The key of the episode that has these links, and whether the stage landed it."""
        path = self.folder / "feed.xml"
        path.write_text(FEED.format(links="".join(links).replace("SITE", self.site.address)))
        (feed,) = self.catalogue.subscribe([(str(path), "Show")])
        assert isinstance(self.run(episodes, feed.feed_id), Landing)
        (row,) = self.lake.rows(EPISODES, feed.feed_id)
        return row.episode_id, isinstance(self.run(publisher_transcript, row.episode_id), Landing)

    def failure(self, key: str) -> tuple[str, str]:
        row = self.lake.last_failure(FAILURES.landing_key(key, "publisher_transcript"))
        assert row is not None
        return row.error_class, row.message


@pytest.fixture
def pipeline(tmp_path: Path, site: Site) -> Pipeline:
    return Pipeline(tmp_path, site, loopback())


def transcript(path: str, mime_type: str, language: str = "en") -> str:
    return f'<podcast:transcript url="SITE/{path}" type="{mime_type}" language="{language}"/>'


def chapters(path: str) -> str:
    return f'<podcast:chapters url="SITE/{path}" type="application/json+chapters"/>'


def test_an_episode_without_links_lands_no_rows_and_costs_no_request(pipeline: Pipeline) -> None:
    key, has_landed = pipeline.fetch()
    assert has_landed
    assert pipeline.lake.read(PUBLISHER_SEGMENTS, key).num_rows == pipeline.lake.read(CHAPTERS, key).num_rows == 0
    assert pipeline.site.requests == []


def test_the_best_transcript_in_the_episode_s_language_and_the_chapters_land(pipeline: Pipeline) -> None:
    pipeline.site.files = {"/a.srt": SRT, "/a.vtt": VTT, "/fr.vtt": VTT, "/c.json": CHAPTERS_JSON}
    key, has_landed = pipeline.fetch(
        transcript("a.srt", "application/srt"), transcript("fr.vtt", "text/vtt", "fr-FR"),
        transcript("a.vtt", "text/vtt"), transcript("a.pdf", "application/pdf"), chapters("c.json"),
    )  # fmt: skip
    assert has_landed
    (segment,) = pipeline.lake.rows(PUBLISHER_SEGMENTS, key)
    assert (segment.idx, segment.start_ms, segment.end_ms, segment.speaker) == (0, 0, 1_000, "Ann")
    assert (segment.text, segment.format, segment.url) == ("Hello there.", "vtt", f"{pipeline.site.address}/a.vtt")
    (chapter,) = pipeline.lake.rows(CHAPTERS, key)
    assert (chapter.idx, chapter.start_ms, chapter.title, chapter.url) == (
        0,
        1_000,
        "Start",
        "https://***@example.org/x",
    )
    assert sorted(pipeline.site.requests) == ["/a.vtt", "/c.json"]


def test_a_broken_transcript_gives_way_to_the_next(pipeline: Pipeline) -> None:
    pipeline.site.files = {"/a.vtt": b"<html>Log in</html>", "/a.srt": SRT}
    key, has_landed = pipeline.fetch(transcript("a.srt", "application/srt"), transcript("a.vtt", "text/vtt"))
    assert has_landed
    assert [row.format for row in pipeline.lake.rows(PUBLISHER_SEGMENTS, key)] == ["srt"]


def test_chapters_that_are_gone_do_not_cost_the_transcript(pipeline: Pipeline) -> None:
    pipeline.site.files = {"/a.srt": SRT}
    key, has_landed = pipeline.fetch(transcript("a.srt", "application/srt"), chapters("c.json"))
    assert has_landed
    assert (len(pipeline.lake.rows(PUBLISHER_SEGMENTS, key)), pipeline.lake.rows(CHAPTERS, key)) == (1, [])


@pytest.mark.parametrize(
    ("files", "error_class"),
    [
        ({}, "http_not_found"),
        ({"/a.srt": b"<html>Log in</html>"}, "bad_transcript"),
        ({"/a.srt": 500, "/c.json": CHAPTERS_JSON}, "http_5xx"),
        ({"/a.srt": SRT, "/c.json": 500}, "http_5xx"),
    ],
)
def test_nothing_that_can_be_read_is_a_failure_and_what_may_pass_is_tried_again(
    pipeline: Pipeline, files: dict[str, bytes | int], error_class: str
) -> None:
    pipeline.site.files = files
    key, has_landed = pipeline.fetch(transcript("a.srt", "application/srt"), chapters("c.json"))
    assert not has_landed
    assert pipeline.failure(key)[0] == error_class
    assert pipeline.lake.read(PUBLISHER_SEGMENTS, key) is None
    pipeline.site.files = {"/a.srt": SRT, "/c.json": CHAPTERS_JSON}
    assert isinstance(pipeline.run(publisher_transcript, key), Landing)


def test_a_secret_url_is_fetched_and_not_shown(pipeline: Pipeline) -> None:
    pipeline.site.files = {"/a.srt?token=geheim": SRT}
    key, has_landed = pipeline.fetch(transcript("a.srt?token=geheim", "application/srt"))
    assert has_landed
    (row,) = pipeline.lake.rows(PUBLISHER_SEGMENTS, key)
    assert row.url == f"{pipeline.site.address}/a.srt?token=***"


def test_private_addresses_are_not_asked(tmp_path: Path, site: Site) -> None:
    site.files = {"/a.srt": SRT}
    guarded = Pipeline(tmp_path, site, FetchPolicy())
    key, has_landed = guarded.fetch(transcript("a.srt", "application/srt"))
    assert not has_landed
    assert site.requests == []
    assert "PODLAKE_ALLOW_HOSTS" in guarded.failure(key)[1]
