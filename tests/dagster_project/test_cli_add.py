"""`podlake add`, against a real server on the loopback and a real Dagster instance."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dagster import DagsterInstance

from dagster_project.cli import main
from dagster_project.commands.targets import BEGINNING_BYTES, Target, recognise
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import SUBSCRIPTIONS
from speech.errors import HttpRefused, NotAFeed, NotAudio, NotFound
from tests.fetch import loopback

HERE = Path(__file__).resolve().parent.parent
OPML = HERE / "feeds" / "subscriptions.opml"
FLAC = HERE / "nemo" / "pod_solo.flac"
RSS = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>The Show</title>
<item><title>One</title><guid>1</guid><enclosure url="http://a.test/1.mp3" type="audio/mpeg"/></item></channel></rss>"""
PAGE = b"""<!DOCTYPE html><html><head><title>The Show</title><link rel="stylesheet" href="/a.css">
<link rel="alternate" type="application/rss+xml" href="/feed.xml"></head><body>Listen!</body></html>"""


@dataclass
class Site:
    """Files by path: content type and bytes; anything else is 404, and `None` is 403."""

    url: str
    files: dict[str, tuple[str, bytes] | None]
    sent: dict[str, int] = field(default_factory=dict)
    """At most, once `answered`."""
    answered: threading.Event = field(default_factory=threading.Event)

    def put(self, path: str, body: bytes | None, content_type: str = "application/octet-stream") -> str:
        self.files[path] = (content_type, body) if body is not None else None
        return self.url + path


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in served.files:
                self.send_error(404)
            elif (found := served.files[self.path]) is None:
                self.send_error(403)
            else:
                self.send_response(200)
                self.send_header("Content-Type", found[0])
                self.send_header("Content-Length", str(len(found[1])))
                self.end_headers()
                self._send(found[1])

        def _send(self, body: bytes) -> None:
            with suppress(ConnectionError):
                for start in range(0, len(body), BEGINNING_BYTES):
                    served.sent[self.path] = start + BEGINNING_BYTES
                    self.wfile.write(body[start : start + BEGINNING_BYTES])
            served.answered.set()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        served = Site(f"http://127.0.0.1:{http.server_port}", {})
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        http.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(tmp_path)  # no .env but one of the test's own
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    return Home.at(str(tmp_path / "home"))


def podlake(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


class TestRecognise:
    @pytest.mark.parametrize("content_type", ["application/rss+xml", "text/html", "audio/mpeg"])
    def test_a_feed_is_known_by_its_bytes(self, site: Site, content_type: str) -> None:
        url = site.put("/feed.xml", RSS, content_type)
        assert recognise(url, loopback()) == Target(feeds=((url, "The Show"),))

    def test_a_feed_longer_than_its_beginning_is_read_whole(self, site: Site) -> None:
        padded = RSS.replace(
            b"<title>The Show</title>", b"<!--" + b" " * 3 * BEGINNING_BYTES + b"--><title>Late</title>"
        )
        url = site.put("/feed.xml", padded, "text/xml")
        assert recognise(url, loopback()) == Target(feeds=((url, "Late"),))

    def test_a_list_of_feeds(self, site: Site) -> None:
        url = site.put("/list", OPML.read_bytes())
        titles = [title for _, title in recognise(url, loopback()).feeds]
        assert titles == ["First", "Second", "Third"]
        assert recognise(str(OPML), loopback()) == recognise(url, loopback())

    def test_audio_by_its_bytes_or_by_the_servers_word(self, site: Site) -> None:
        flac, sworn = site.put("/a", FLAC.read_bytes()), site.put("/b", b"\0" * 100, "audio/mp4")
        assert recognise(flac, loopback()) == Target(audio=flac)
        assert recognise(sworn, loopback()) == Target(audio=sworn)

    def test_of_audio_only_the_beginning_is_fetched(self, site: Site) -> None:
        url = site.put("/long", b"\0" * (64 << 20), "audio/mpeg")
        assert recognise(url, loopback()) == Target(audio=url)
        assert site.answered.wait(30)  # the server hears later than we that we have hung up
        assert site.sent["/long"] < 32 << 20

    def test_a_local_file_by_its_absolute_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "feed").write_bytes(RSS.decode().encode("utf-16"))
        monkeypatch.chdir(tmp_path)
        assert recognise("feed", loopback()) == Target(feeds=((str(tmp_path / "feed"), "The Show"),))
        assert recognise(str(FLAC), loopback()) == Target(audio=str(FLAC))

    def test_a_web_page_names_its_feeds(self, site: Site) -> None:
        url = site.put("/show", PAGE, "text/html")
        with pytest.raises(NotAFeed) as caught:
            recognise(url, loopback())
        assert str(caught.value) == f"{url} is a web page, not a feed. It names:\n  podlake add {site.url}/feed.xml"

    def test_what_a_web_page_names_is_no_command(self, site: Site) -> None:
        hrefs = [
            "/a;rm -rf ~",
            "http://a.test/$(id)",
            "javascript:alert(1)",
            "file:///etc/passwd",
            "http://[::/",
            "/\x1b[2J",
        ]
        links = "".join(f'<link rel="alternate" type="application/rss+xml" href="{href}">' for href in hrefs * 20)
        with pytest.raises(NotAFeed) as caught:
            recognise(site.put("/show", f"<html>{links}</html>".encode(), "text/html"), loopback())
        named = str(caught.value).splitlines()[1:]
        assert set(named) == {f"  podlake add '{site.url}/a;rm -rf ~'", "  podlake add 'http://a.test/$(id)'"}
        assert len(named) < 10

    def test_a_web_page_that_names_none(self, site: Site) -> None:
        with pytest.raises(NotAFeed, match="is a web page, not a feed, and it names none"):
            recognise(site.put("/", b"<html><body>Hello</body></html>", "text/html"), loopback())
        with pytest.raises(NotAFeed, match="is a web page, not a feed, and it names none"):
            recognise(site.put("/empty", b"<!-- <html> -->", "text/html"), loopback())

    def test_what_is_none_of_it(self, site: Site, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("no audio")
        (tmp_path / "empty").touch()
        for target in (str(tmp_path / "notes.txt"), str(tmp_path / "empty"), site.put("/x", b"\0" * 50)):
            with pytest.raises(NotAudio, match="is neither a feed, nor a list of feeds, nor audio"):
                recognise(target, loopback())

    def test_what_is_not_there(self, site: Site, tmp_path: Path) -> None:
        with pytest.raises(NotFound, match="answered 404"):
            recognise(site.url + "/nothing", loopback())
        with pytest.raises(HttpRefused, match="answered 403"):
            recognise(site.put("/secret", None), loopback())
        with pytest.raises(NotFound, match=r"nothing\.xml does not exist, and is no http\(s\) URL"):
            recognise(str(tmp_path / "nothing.xml"), loopback())
        with pytest.raises(NotFound, match="is a folder: name the files in it"):
            recognise(str(tmp_path), loopback())


def test_what_is_added_becomes_a_partition_and_a_row(site: Site, home: Home) -> None:
    feed, page = site.put("/feed.xml", RSS, "text/xml"), site.put("/show", PAGE, "text/html")
    result = podlake("add", feed, page, str(OPML), str(FLAC), "--language", "en-GB")
    assert result.stdout.splitlines()[:5] == [
        f"added: the-show  The Show  {feed}",
        "added: first  First  https://one.example/feed?a=1&b=2",
        "added: second  Second  https://two.example/feed",
        "added: third  Third  https://three.example/feed",
        f"added: singles  {FLAC}",
    ]
    assert "podlake run" in result.stdout
    assert result.exit_code == 1
    assert result.stderr.endswith(f"Error: {page} is a web page, not a feed. It names:\n  podlake add {feed}\n")
    rows = Lake(home).read_file(SUBSCRIPTIONS, "all")
    assert rows is not None
    assert rows["feed_id"].to_pylist() == ["first", "second", "the-show", "third", "singles"]
    assert rows["language"].to_pylist() == ["en-GB"] * 4 + [None]
    with DagsterInstance.get() as instance:
        assert sorted(instance.get_dynamic_partitions("feeds")) == ["first", "second", "singles", "the-show", "third"]

    again = podlake("add", feed, str(FLAC))
    assert again.exit_code == 0
    assert again.stdout.splitlines() == [
        f"already present: the-show  The Show  {feed}",
        f"already present: singles  {FLAC}",
    ]


def test_unchecked_a_url_is_a_feed_named_by_its_title(home: Home) -> None:
    url = "http://127.0.0.1:9/feed.xml"
    assert (
        podlake("add", "--no-check", "--title", "My Show", url).stdout.splitlines()[0]
        == f"added: my-show  My Show  {url}"
    )
    assert [feed.url for feed in Catalogue(Lake(home)).subscriptions()] == [url]


def test_what_cannot_be_asked_for(home: Home) -> None:
    assert podlake("add", "a", "b", "--title", "x").exit_code == 2
    refused = podlake("add", str(OPML), "--language", "klingon")
    assert "'klingon' names no language" in refused.stderr
    assert podlake("add", "--no-check", "feed.xml").exit_code == 1
    assert home.names("subscriptions") == []


def test_a_playlist_makes_ffmpeg_open_nothing(site: Site, tmp_path: Path) -> None:
    secret = site.put("/segment.ts", b"G" * 188)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{secret}\n#EXT-X-ENDLIST\n".encode()
    (tmp_path / "list.mp3").write_bytes(playlist)
    for target in (str(tmp_path / "list.mp3"), site.put("/list.m3u8", playlist)):
        with pytest.raises(NotAudio):
            recognise(target, loopback())
    assert "/segment.ts" not in site.sent
