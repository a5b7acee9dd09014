"""Against a real server on the loopback, with the faults that real servers have."""

from __future__ import annotations

import gzip
import hashlib
import re
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from resources.fetch import exchange
from resources.fetch.hosts import CONNECTIONS_PER_HOST
from resources.fetch.http import download, fetch_document
from speech.errors import (
    HostPaused,
    HttpRefused,
    HttpServerError,
    NetworkError,
    NotFound,
    RateLimited,
    StorageError,
    TooLarge,
)
from tests.fetch import loopback

BODY = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(BODY).hexdigest()

Behaviour = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    url: str
    behaviours: dict[str, Behaviour]
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __call__(self, path: str, behaviour: Behaviour) -> str:
        self.behaviours[path] = behaviour
        return self.url + path


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.requests.append((self.path, dict(self.headers)))
            self.close_connection = True
            served.behaviours[self.path.partition("?")[0]](self)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        served = Server(f"http://127.0.0.1:{http.server_port}", {})
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        http.shutdown()
        thread.join()


def answer(status: int = 200, body: bytes = b"", **headers: str) -> Behaviour:
    def behave(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            if value:
                handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return behave


def file(
    body: bytes = BODY, *, etag: str = '"one"', drop_after: int | None = None, knows_range: bool = True, **headers: str
) -> Behaviour:
    """A static file as a good server sends it; `drop_after` bytes the connection breaks."""

    def behave(handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "").removeprefix("bytes=").rstrip("-")
        is_range = (
            bool(asked)
            and knows_range
            and handler.headers.get("If-Range") in (None, etag, headers.get("Last_Modified"))
        )
        start = int(asked) if is_range else 0
        if handler.headers.get("If-None-Match") == etag:
            answer(304, ETag=etag, Content_Length="")(handler)
        elif start > len(body):
            answer(416, Content_Range=f"bytes */{len(body)}")(handler)
        else:
            handler.send_response(206 if is_range else 200)
            handler.send_header("Content-Length", str(len(body) - start))
            if is_range:
                handler.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            for name, value in ({"ETag": etag, "Content_Type": "audio/mpeg"} | headers).items():
                if value:
                    handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(body[start : len(body) if drop_after is None else start + drop_after])

    return behave


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "audio" / "episode.mp3"


def left_behind(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


class TestDownload:
    def test_whole(self, server: Server, target: Path) -> None:
        url = server("/a.mp3", file(Last_Modified="Wed, 01 Jan 2025 00:00:00 GMT"))
        got = download(url, target, loopback())
        assert not got.not_modified
        assert (got.path, got.sha256, got.bytes, got.resumed) == (target, SHA256, len(BODY), False)
        assert (got.requested_url, got.final_url, got.redirect_chain, got.http_status) == (url, url, (), 200)
        assert (got.etag, got.last_modified) == ('"one"', "Wed, 01 Jan 2025 00:00:00 GMT")
        assert got.content_type == "audio/mpeg"
        assert got.fetched_at.tzinfo is UTC
        assert target.read_bytes() == BODY
        assert left_behind(target) == ["episode.mp3"]
        assert server.requests[0][1]["Accept-Encoding"] == "identity"
        assert server.requests[0][1]["User-Agent"].startswith("podlake/")

    def test_goes_on_after_a_dropped_connection(self, server: Server, target: Path) -> None:
        url = server("/a.mp3", file(drop_after=300_000))
        with pytest.raises(NetworkError, match=r"/a\.mp3 failed"):
            download(url, target, loopback())
        assert left_behind(target) == ["episode.mp3.part", "episode.mp3.part.json"]
        got_so_far = (target.parent / "episode.mp3.part").stat().st_size
        assert got_so_far == 300_000
        server("/a.mp3", file())
        got = download(url, target, loopback())
        assert not got.not_modified
        assert (got.sha256, got.bytes, got.resumed, got.http_status) == (SHA256, len(BODY), True, 206)
        assert server.requests[1][1]["Range"] == "bytes=300000-"
        assert server.requests[1][1]["If-Range"] == '"one"'
        assert target.read_bytes() == BODY
        assert left_behind(target) == ["episode.mp3"]

    def test_goes_on_again_and_again(self, server: Server, target: Path) -> None:
        url = server("/a.mp3", file(drop_after=400_000))
        for _ in range(2):
            with pytest.raises(NetworkError):
                download(url, target, loopback())
        assert download(url, target, loopback()).http_status == 206
        assert target.read_bytes() == BODY

    def test_last_modified_proves_the_file_too(self, server: Server, target: Path) -> None:
        modified = {"Last_Modified": "Wed, 01 Jan 2025 00:00:00 GMT"}
        url = server("/a.mp3", file(etag="", drop_after=1000, **modified))
        with pytest.raises(NetworkError):
            download(url, target, loopback())
        server("/a.mp3", file(etag="", **modified))
        assert download(url, target, loopback()).http_status == 206
        assert target.read_bytes() == BODY

    @pytest.mark.parametrize("etag", ["", 'W/"weak"'])
    def test_without_a_strong_validator_nothing_is_kept(self, server: Server, target: Path, etag: str) -> None:
        url = server("/a.mp3", file(etag=etag, drop_after=1000))
        with pytest.raises(NetworkError):
            download(url, target, loopback())
        assert left_behind(target) == []
        server("/a.mp3", file(etag=etag))
        assert download(url, target, loopback()).http_status == 200
        assert "Range" not in server.requests[1][1]

    @pytest.mark.parametrize("changed", [{"etag": '"two"'}, {"knows_range": False}], ids=["changed file", "no Range"])
    def test_a_200_in_answer_to_a_range_starts_over(self, server: Server, target: Path, changed: dict) -> None:
        url = server("/a.mp3", file(drop_after=1000))
        with pytest.raises(NetworkError):
            download(url, target, loopback())
        other = BODY[::-1]
        server("/a.mp3", file(other, **changed))
        got = download(url, target, loopback())
        assert not got.not_modified
        assert (got.resumed, got.sha256) == (False, hashlib.sha256(other).hexdigest())
        assert target.read_bytes() == other

    def test_a_server_that_ignores_if_range_is_found_out(self, server: Server, target: Path) -> None:
        url = server("/a.mp3", file(drop_after=1000))
        with pytest.raises(NetworkError):
            download(url, target, loopback())
        other = BODY[::-1]
        lying = answer(206, other[1000:], ETag='"two"', Content_Range=f"bytes 1000-{len(other) - 1}/{len(other)}")
        server("/a.mp3", lambda handler: (lying if "Range" in handler.headers else file(other))(handler))
        assert download(url, target, loopback()).http_status == 200
        assert target.read_bytes() == other

    def test_a_416_starts_over(self, server: Server, target: Path) -> None:
        url = server("/a.mp3", file(drop_after=2000))
        with pytest.raises(NetworkError):
            download(url, target, loopback())
        server("/a.mp3", file(BODY[:1500], etag='"one"'))
        assert download(url, target, loopback()).http_status == 200
        assert target.read_bytes() == BODY[:1500]

    def test_an_answer_that_stops_short_of_the_range_is_not_whole(self, server: Server, target: Path) -> None:
        url = server("/a.mp3", file(drop_after=1000))
        with pytest.raises(NetworkError):
            download(url, target, loopback())
        server("/a.mp3", answer(206, BODY[1000:2000], ETag='"one"', Content_Range=f"bytes 1000-1999/{len(BODY)}"))
        with pytest.raises(NetworkError, match=f"2000 of {len(BODY)}"):
            download(url, target, loopback())
        assert not target.exists()
        server("/a.mp3", file())
        assert download(url, target, loopback()).http_status == 206
        assert target.read_bytes() == BODY

    def test_bytes_after_the_last_save_are_not_trusted(self, server: Server, target: Path) -> None:
        url = server("/a.mp3", file(drop_after=5000))
        with pytest.raises(NetworkError):
            download(url, target, loopback())
        with (target.parent / "episode.mp3.part").open("ab") as part:
            part.write(bytes(700))
        server("/a.mp3", file())
        download(url, target, loopback())
        assert server.requests[1][1]["Range"] == "bytes=5000-"
        assert target.read_bytes() == BODY

    @pytest.mark.parametrize("note", [b"", b"{", b'{"size": 3}', b"[]"])
    def test_a_note_that_cannot_be_read_is_as_good_as_none(self, server: Server, target: Path, note: bytes) -> None:
        target.parent.mkdir()
        (target.parent / "episode.mp3.part").write_bytes(b"what")
        (target.parent / "episode.mp3.part.json").write_bytes(note)
        assert download(server("/a.mp3", file()), target, loopback()).http_status == 200
        assert target.read_bytes() == BODY

    def test_part_of_another_url_is_not_used(self, server: Server, target: Path) -> None:
        with pytest.raises(NetworkError):
            download(server("/a.mp3", file(drop_after=1000)), target, loopback())
        assert download(server("/b.mp3", file(BODY[::-1])), target, loopback()).http_status == 200
        assert target.read_bytes() == BODY[::-1]

    def test_what_is_known_is_not_sent_again(self, server: Server, target: Path) -> None:
        got = download(server("/a.mp3", file()), target, loopback(), known_etag='"one"')
        assert got.not_modified
        assert got.http_status == 304
        assert left_behind(target) == []
        assert not download(server("/a.mp3", file()), target, loopback(), known_etag='"zero"').not_modified

    def test_chunked_body(self, server: Server, target: Path) -> None:
        chunked = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:70_000], BODY[70_000:]))
        url = server("/a.mp3", answer(200, chunked + b"0\r\n\r\n", Transfer_Encoding="chunked", Content_Length=""))
        assert download(url, target, loopback()).http_status == 200
        assert target.read_bytes() == BODY
        server("/b.mp3", answer(200, chunked, Transfer_Encoding="chunked", Content_Length=""))
        with pytest.raises(NetworkError):
            download(server.url + "/b.mp3", target.with_name("b.mp3"), loopback())

    def test_gzip_that_nobody_asked_for(self, server: Server, target: Path) -> None:
        got = download(server("/a.mp3", answer(200, gzip.compress(BODY), Content_Encoding="gzip")), target, loopback())
        assert not got.not_modified
        assert (got.sha256, got.bytes) == (SHA256, len(BODY))

    def test_too_large_by_announcement_and_by_count(self, server: Server, target: Path) -> None:
        url = server("/a.mp3", file())
        with pytest.raises(TooLarge, match="more than the 1000 bytes"):
            download(url, target, loopback(), limit_bytes=1000)
        assert left_behind(target) == []
        server("/a.mp3", answer(200, BODY, Content_Length=""))
        with pytest.raises(TooLarge):
            download(url, target, loopback(), limit_bytes=1000)
        assert left_behind(target) == []
        assert download(server("/a.mp3", file()), target, loopback(), limit_bytes=len(BODY)).http_status == 200

    def test_a_radio_is_not_listened_to(self, server: Server, target: Path) -> None:
        given_up = threading.Event()

        def radio(handler: BaseHTTPRequestHandler) -> None:
            answer(200, Content_Length="", icy_name="Radio", icy_br="128", Content_Type="audio/mpeg")(handler)
            while not given_up.wait(0.001):
                handler.wfile.write(b"." * 10_000)

        try:
            with pytest.raises(HttpRefused, match="is a live stream of a radio"):
                download(server("/live", radio), target, loopback())
        finally:
            given_up.set()
        assert left_behind(target) == []
        archived = server("/archived", file(icy_name="Radio"))
        assert not download(archived, target, loopback()).not_modified

    def test_a_drip_is_not_waited_for(self, server: Server, target: Path) -> None:
        given_up = threading.Event()

        def drip(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", "1000000000")
            handler.send_header("ETag", '"drip"')
            handler.end_headers()
            while not given_up.wait(0.02):
                handler.wfile.write(b".")

        with pytest.raises(NetworkError, match="too slowly"):
            download(server("/a.mp3", drip), target, loopback(), patience_s=0.1)
        given_up.set()
        assert left_behind(target) == ["episode.mp3.part", "episode.mp3.part.json"]

    def test_one_process_at_a_time(self, server: Server, target: Path) -> None:
        refused: list[str] = []

        def second_try(handler: BaseHTTPRequestHandler) -> None:
            with pytest.raises(StorageError) as error:
                download(server("/b.mp3", file()), target, loopback())
            refused.append(str(error.value))
            file()(handler)

        download(server("/a.mp3", second_try), target, loopback())
        assert "Another process" in refused[0]
        assert target.read_bytes() == BODY

    def test_a_folder_that_cannot_be_written(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StorageError, match="could not be written"):
            download(server("/a.mp3", file()), tmp_path / "file" / "a.mp3", loopback())


class TestRedirects:
    def test_the_chain_is_told(self, server: Server, target: Path) -> None:
        start = server("/one", answer(301, Location="/two?token=x"))
        server("/two", answer(302, Location=server.url + "/a.mp3"))
        end = server("/a.mp3", file())
        got = download(start, target, loopback())
        assert (got.requested_url, got.final_url) == (start, end)
        assert got.redirect_chain == ((start, 301), (server.url + "/two?token=x", 302))

    def test_a_loop_ends(self, server: Server, target: Path) -> None:
        with pytest.raises(HttpRefused, match="redirects more than 10 times"):
            download(server("/loop", answer(302, Location="/loop")), target, loopback())
        assert len(server.requests) == exchange.MAX_REDIRECTS + 1

    @pytest.mark.parametrize("location", ["ftp://127.0.0.1/a.mp3", "javascript:alert(1)", "file:///etc/hostname"])
    def test_only_to_http(self, server: Server, target: Path, location: str) -> None:
        with pytest.raises(HttpRefused, match="no http or https address"):
            download(server("/one", answer(302, Location=location)), target, loopback())

    def test_without_a_location(self, server: Server, target: Path) -> None:
        with pytest.raises(HttpServerError):
            download(server("/one", answer(302)), target, loopback())


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (404, NotFound),
            (410, NotFound),
            (401, HttpRefused),
            (403, HttpRefused),
            (408, NetworkError),
            (425, NetworkError),
            (429, RateLimited),
            (500, HttpServerError),
            (503, HttpServerError),
        ],
    )
    def test_status(self, server: Server, target: Path, status: int, error: type[Exception]) -> None:
        url = server("/a.mp3", answer(status, b"<html>no</html>"))
        for fetch in (lambda: download(url, target, loopback()), lambda: fetch_document(url, loopback())):
            with pytest.raises(error, match=rf"/a\.mp3 answered {status}"):
                fetch()
        assert left_behind(target) == []

    @pytest.mark.parametrize("status", [429, 503])
    def test_retry_after_in_seconds(self, server: Server, status: int) -> None:
        with pytest.raises(RateLimited) as error:
            fetch_document(server("/feed", answer(status, Retry_After="120")), loopback())
        assert error.value.retry_after_s == 120.0

    def test_retry_after_as_a_date(self, server: Server) -> None:
        soon = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
        with pytest.raises(RateLimited) as error:
            fetch_document(server("/feed", answer(429, Retry_After=soon)), loopback())
        assert 3000 < (error.value.retry_after_s or 0) <= 3600
        with pytest.raises(RateLimited) as error:
            fetch_document(server("/feed", answer(429, Retry_After="Wed, 01 Jan 2025 00:00:00 GMT")), loopback())
        assert error.value.retry_after_s == 0.0
        with pytest.raises(RateLimited) as error:
            fetch_document(server("/feed", answer(429, Retry_After="soon")), loopback())
        assert error.value.retry_after_s is None

    def test_nobody_listens(self, target: Path) -> None:
        with pytest.raises(NetworkError, match=r"The connection to http://127\.0\.0\.1:1/a\.mp3 failed"):
            download("http://127.0.0.1:1/a.mp3", target, loopback())

    @pytest.mark.parametrize(
        "url", ["ftp://example.org/a.mp3", "javascript:alert(1)", "a.mp3", "", "http://host:port/"]
    )
    def test_no_http_address(self, target: Path, url: str) -> None:
        with pytest.raises(HttpRefused):
            download(url, target, loopback())

    @pytest.mark.parametrize(
        "url",
        [
            "http://me:hunter2@[::/x?token=t0psecret", "http://x.invalid:hunter2/?token=t0psecret",
            "http://me:hunter2@x.invalid:99999999/?token=t0psecret",
        ],
    )  # fmt: skip
    def test_an_address_that_cannot_be_read_is_not_quoted(self, server: Server, url: str) -> None:
        for asked in (url, server("/feed", answer(302, Location=url))):
            with pytest.raises((HttpRefused, NetworkError)) as error:
                fetch_document(asked, loopback())
            assert not {"hunter2", "t0psecret"} & set(re.findall(r"\w+", str(error.value))), str(error.value)

    def test_the_servers_words_are_not_quoted(self, server: Server) -> None:
        def behave(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(404, "No " + handler.path)
            handler.end_headers()

        with pytest.raises(NotFound, match="answered 404 Not Found: it is gone") as error:
            fetch_document(server("/feed", behave) + "?token=t0psecret", loopback())
        assert "t0psecret" not in str(error.value)

    def test_no_http_answer(self, server: Server) -> None:
        with pytest.raises(NetworkError):
            fetch_document(server("/feed", lambda handler: handler.wfile.write(b"SSH-2.0\r\n")), loopback())

    def test_messages_keep_tokens_and_passwords(self, server: Server) -> None:
        url = server("/feed", answer(403)).replace("http://", "http://me:secret@") + "?token=secret"
        with pytest.raises(HttpRefused) as error:
            fetch_document(url, loopback())
        assert "secret" not in str(error.value)
        assert "/feed?…" in str(error.value)


class TestDocuments:
    def test_conditional_get(self, server: Server) -> None:
        url = server("/feed", file(b"<rss/>", Content_Type="application/rss+xml"))
        got = fetch_document(url, loopback())
        assert not got.not_modified
        assert (got.content, got.etag, got.content_type) == (b"<rss/>", '"one"', "application/rss+xml")
        again = fetch_document(url, loopback(), etag=got.etag, last_modified=got.last_modified)
        assert again.not_modified
        assert (again.http_status, again.etag) == (304, '"one"')

    def test_a_304_that_nobody_asked_for(self, server: Server) -> None:
        with pytest.raises(HttpServerError):
            fetch_document(server("/feed", answer(304, Content_Length="")), loopback())

    def test_compressed(self, server: Server) -> None:
        url = server("/feed", answer(200, gzip.compress(b"<rss/>"), Content_Encoding="gzip"))
        assert not (got := fetch_document(url, loopback())).not_modified
        assert got.content == b"<rss/>"

    def test_compressed_it_says(self, server: Server) -> None:
        with pytest.raises(NetworkError):
            fetch_document(server("/feed", answer(200, b"<rss/>", Content_Encoding="gzip")), loopback())

    def test_a_bomb(self, server: Server) -> None:
        bomb = gzip.compress(bytes(10_000_000))
        with pytest.raises(TooLarge):
            fetch_document(
                server("/feed", answer(200, bomb, Content_Encoding="gzip")), loopback(), limit_bytes=1_000_000
            )

    @pytest.mark.parametrize(
        ("coding", "body"),
        [
            ("deflate", zlib.compress(b"<rss/>" * 100_000)),
            ("deflate", zlib.compress(b"<rss/>" * 100_000, wbits=-15)),
            ("x-gzip", gzip.compress(b"<rss/>" * 100_000) + b"what follows the end"),
            ("gzip, identity, deflate", zlib.compress(gzip.compress(b"<rss/>" * 100_000))),
        ],
        ids=["deflate", "deflate without a header", "x-gzip with more after its end", "gzip and deflate"],
    )
    def test_other_codings(self, server: Server, coding: str, body: bytes) -> None:
        got = fetch_document(server("/feed", answer(200, body, Content_Encoding=coding)), loopback())
        assert not got.not_modified
        assert got.content == b"<rss/>" * 100_000
        assert server.requests[0][1]["Accept-Encoding"] == "gzip, deflate"

    @pytest.mark.parametrize("depth", [1, 2, 3])
    def test_a_bomb_in_bombs_costs_no_memory(self, server: Server, depth: int) -> None:
        """Of 1 GB, zipped again and again: down to 5 kB."""
        zipper, zeros = zlib.compressobj(9, wbits=31), bytes(1_000_000)
        body = b"".join(zipper.compress(zeros) for _ in range(1000)) + zipper.flush()
        for _ in range(depth - 1):
            body = gzip.compress(body)
        url = server("/feed", answer(200, body, Content_Encoding=", ".join(["gzip"] * depth)))
        tracemalloc.start()
        try:
            with pytest.raises(TooLarge, match="/feed"):
                fetch_document(url, loopback(), limit_bytes=4_000_000)
            assert tracemalloc.get_traced_memory()[1] < 40_000_000
        finally:
            tracemalloc.stop()

    def test_more_codings_than_any_server_needs(self, server: Server) -> None:
        url = server("/feed", answer(200, b"x", Content_Encoding=", ".join(["gzip"] * 4)))
        with pytest.raises(HttpRefused, match="coded 4 times"):
            fetch_document(url, loopback())

    def test_a_stream_that_ends_too_early(self, server: Server) -> None:
        body = gzip.compress(bytes(range(256)) * 1000)[:-12]
        with pytest.raises(NetworkError, match="ended in the middle of its gzip stream"):
            fetch_document(server("/feed", answer(200, body, Content_Encoding="gzip")), loopback())

    def test_cut_off(self, server: Server) -> None:
        with pytest.raises(NetworkError):
            fetch_document(server("/feed", file(drop_after=100)), loopback())


def test_at_most_four_connections_to_a_host(server: Server) -> None:
    at_once, most, lock = 0, 0, threading.Lock()
    all_turns_taken, enough = threading.Event(), threading.Event()

    def busy(handler: BaseHTTPRequestHandler) -> None:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
            if at_once == CONNECTIONS_PER_HOST:
                all_turns_taken.set()
        enough.wait()
        with lock:
            at_once -= 1
        answer(200, b"x")(handler)

    url = server("/feed", busy)
    policy = loopback()
    threads = [threading.Thread(target=fetch_document, args=(url, policy)) for _ in range(10)]
    for thread in threads:
        thread.start()
    assert all_turns_taken.wait(30)
    enough.set()
    for thread in threads:
        thread.join()
    assert most == CONNECTIONS_PER_HOST
    assert len(server.requests) == 10


class TestDeadline:
    """Every phase before the body ends within the policy's time."""

    def test_slow_headers_endless_continues_and_redirects(self, server: Server) -> None:
        given_up = threading.Event()

        def slow_header(handler: BaseHTTPRequestHandler) -> None:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not given_up.wait(0.02):
                handler.wfile.write(b".")

        def continues(handler: BaseHTTPRequestHandler) -> None:
            while not given_up.is_set():
                handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)

        def slow_redirect(handler: BaseHTTPRequestHandler) -> None:
            given_up.wait(0.1)
            answer(302, Location="/redirect")(handler)

        urls = [server("/slow", slow_header), server("/continues", continues), server("/redirect", slow_redirect)]
        try:
            for url in urls:
                with pytest.raises(NetworkError, match="did not answer in time: no whole answer"):
                    fetch_document(url, loopback(answer_within_s=0.3))
        finally:
            given_up.set()

    def test_a_document_has_an_end(self, server: Server) -> None:
        """Its server sends faster than the slowest that is waited for, and for ever."""
        given_up = threading.Event()

        def steady(handler: BaseHTTPRequestHandler) -> None:
            answer(200, Content_Length="1000000000")(handler)
            while not given_up.wait(0.005):
                handler.wfile.write(b"." * 10_000)

        try:
            with pytest.raises(NetworkError, match="sends too slowly"):
                fetch_document(server("/feed", steady), loopback(), within_s=0.3)
        finally:
            given_up.set()

    def test_a_body_that_decodes_to_nothing(self, server: Server) -> None:
        """The name in a gzip header has no end."""
        endless = b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 3_000_000
        url = server("/feed", answer(200, endless, Content_Encoding="gzip", Content_Length="9000000"))
        with pytest.raises(TooLarge):
            fetch_document(url, loopback(), limit_bytes=1_000_000)


class TestPauses:
    def test_a_host_that_asks_for_it_is_left_alone(self, server: Server, tmp_path: Path) -> None:
        busy, other = server("/busy", answer(429, Retry_After="7200")), server("/other", answer(200))
        policy = loopback(pauses=tmp_path)
        with pytest.raises(RateLimited) as first:
            fetch_document(busy, policy)
        assert (type(first.value), first.value.retry_after_s) == (RateLimited, 7200.0)
        for again in (policy, loopback(pauses=tmp_path)):  # this process, and another one
            with pytest.raises(HostPaused) as error:
                fetch_document(other, again)
            assert 7000 < (error.value.retry_after_s or 0) <= 7200
        assert len(server.requests) == 1
        assert not fetch_document(other, loopback()).not_modified

    @pytest.mark.parametrize("text", ["²", "-1", "1e9", "", "soon"])
    def test_a_retry_after_that_is_none(self, server: Server, text: str) -> None:
        def behave(handler: BaseHTTPRequestHandler) -> None:
            handler.wfile.write(f"HTTP/1.1 429 No\r\nRetry-After: {text}\r\nContent-Length: 0\r\n\r\n".encode())

        policy = loopback()
        with pytest.raises(RateLimited) as error:
            fetch_document(server("/feed", behave), policy)
        assert error.value.retry_after_s is None
        with pytest.raises(HostPaused):
            fetch_document(server.url + "/feed", policy)

    def test_an_absurd_retry_after_is_cut(self, server: Server) -> None:
        with pytest.raises(RateLimited) as error:
            fetch_document(server("/feed", answer(503, Retry_After="9" * 400)), loopback())
        assert error.value.retry_after_s == exchange.LONGEST_RETRY_AFTER_S

    def test_requests_start_apart(self, server: Server) -> None:
        url, policy = server("/feed", answer(200, b"x")), loopback(spacing_s=0.1)
        started = time.monotonic()
        for _ in range(3):
            fetch_document(url, policy)
        assert time.monotonic() - started >= 0.2


def test_the_agent_names_a_contact(server: Server) -> None:
    fetch_document(server("/feed", answer(200)), loopback(contact="https://example.org/bot"))
    agent = server.requests[0][1]["User-Agent"]
    assert agent.startswith("podlake/")
    assert agent.endswith(" (https://example.org/bot)")


def test_validators_that_fit_no_header_are_not_sent(server: Server) -> None:
    url = server("/feed", answer(200, b"x"))
    assert not fetch_document(url, loopback(), etag='"ä"', last_modified="a\r\nX-Evil: 1").not_modified
    assert not fetch_document(url, loopback(), etag=f'"{"e" * 60_000}"').not_modified
    assert not {"If-None-Match", "If-Modified-Since", "X-Evil"} & {
        name for _, headers in server.requests for name in headers
    }
