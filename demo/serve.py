"""Serves a folder with a feed and its audio as a podcast host would: `python -m demo.serve`.

Ranges, conditional requests, validators and content types are real, so that whoever fetches from here
fetches as from the internet.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import unquote, urlsplit

DEMO = Path(__file__).parent
HOST = "127.0.0.1"
USUAL_PORT = 8477
"""A feed is known by its URL: the same port in every run is the same feed in every run."""
PLACEHOLDER = "http://demo.invalid"
"""What the feed's URLs begin with in its file; the server puts its own address there."""

CONTENT_TYPES = {
    ".xml": "application/rss+xml; charset=utf-8",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".opus": "audio/ogg",
    ".webm": "audio/webm",
    ".vtt": "text/vtt; charset=utf-8",
    ".json": "application/json",
    ".flac": "audio/flac",
}
"""Suffix → content type; other files are not served."""


@contextmanager
def serving(folder: Path = DEMO, port: int = 0) -> Iterator[str]:
    """Serve `folder` until the block is left; gives the base URL, without a slash at the end.

    Port 0 is any free port. Raises `OSError` where the port is taken.
    """
    with _Server((HOST, port), _Handler) as server:
        server.folder = folder.resolve()
        server.base_url = f"http://{HOST}:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.base_url
        finally:
            server.shutdown()
            thread.join()


def usual_or_free_port() -> int:
    """`USUAL_PORT` if nobody listens there, else 0, said aloud: the feed then has another URL, and is another feed."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, USUAL_PORT))
        except OSError as taken:
            if taken.errno != errno.EADDRINUSE:
                raise
            print(f"Port {USUAL_PORT} is taken; the demo's feed gets another one, and so another URL.")
            return 0
    return USUAL_PORT


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m demo.serve", description="Serve the demo's feed on this machine.")
    parser.add_argument("--port", type=int, help=f"port to listen on (default: {USUAL_PORT}, or a free one)")
    port = parser.parse_args().port
    with serving(port=usual_or_free_port() if port is None else port) as base_url:
        print(f"{base_url}/feed.xml  (Ctrl-C stops)", flush=True)
        with suppress(KeyboardInterrupt):
            Event().wait()


@dataclass(frozen=True)
class _Resource:
    """What stands at a URL."""

    body: bytes
    content_type: str
    last_modified: str

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.body).hexdigest()[:16]}"'


class _Server(ThreadingHTTPServer):
    folder: Path
    base_url: str

    def resource(self, path: str) -> _Resource | None:
        """What stands at the path of a URL; None where there is nothing to serve."""
        file = (self.folder / unquote(urlsplit(path).path).lstrip("/")).resolve()
        content_type = CONTENT_TYPES.get(file.suffix)
        if content_type is None or not file.is_relative_to(self.folder) or not file.is_file():
            return None
        body = file.read_bytes()
        if file.suffix == ".xml":
            body = body.replace(PLACEHOLDER.encode(), self.base_url.encode())
        return _Resource(body, content_type, formatdate(file.stat().st_mtime, usegmt=True))


class _Handler(BaseHTTPRequestHandler):
    """RFC 9110: conditions first (section 13), then ranges (section 14)."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        resource = self.server.resource(self.path)
        if resource is None:
            return self._answer(HTTPStatus.NOT_FOUND, b"Not found\n", {"Content-Type": "text/plain"})
        headers = {"ETag": resource.etag, "Last-Modified": resource.last_modified, "Accept-Ranges": "bytes"}
        if self._is_unchanged(resource):
            return self._answer(HTTPStatus.NOT_MODIFIED, None, headers)
        headers["Content-Type"] = resource.content_type
        size = len(resource.body)
        wanted = self._range(resource)
        if wanted is None:
            return self._answer(HTTPStatus.OK, resource.body, headers)
        if not wanted:
            return self._answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", {"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{size}"
        return self._answer(HTTPStatus.PARTIAL_CONTENT, resource.body[wanted.start : wanted.stop], headers)

    do_HEAD = do_GET  # noqa: N815 — the name is http.server's

    def log_message(self, *args: object) -> None:
        """Say nothing: the one who fetches keeps the log."""

    def _is_unchanged(self, resource: _Resource) -> bool:
        """If-None-Match decides where it is given, else If-Modified-Since."""
        if (tags := self.headers["If-None-Match"]) is not None:
            known = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
            return bool(known & {resource.etag, "*"})
        return _is_since(resource.last_modified, self.headers["If-Modified-Since"])

    def _range(self, resource: _Resource) -> range | None:
        """The bytes asked for, empty where there are none such; None where the whole is to be sent.

        Several ranges at once are not honoured, which a server is free to do.
        """
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers["Range"] or "")
        condition = self.headers["If-Range"]
        if not asked or not any(asked.groups()) or self.command != "GET":
            return None
        if condition is not None and condition not in (resource.etag, resource.last_modified):
            return None
        first, last = asked.groups()
        size = len(resource.body)
        if not first:
            return range(max(size - int(last), 0), size)
        if last and int(last) < int(first):
            return None
        return range(int(first), min(int(last) + 1, size) if last else size)

    def _answer(self, status: HTTPStatus, body: bytes | None, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if body and self.command != "HEAD":
            self.wfile.write(body)


def _is_since(last_modified: str, date: str | None) -> bool:
    """Whether nothing changed since the date; a date that cannot be read is no condition."""
    try:
        return date is not None and parsedate_to_datetime(last_modified) <= parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return False


if __name__ == "__main__":
    main()
