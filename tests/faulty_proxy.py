"""A proxy in front of an HTTP server, for tests: it forwards requests, and injects faults where it is told to."""

from __future__ import annotations

import base64
import hashlib
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["slow_down", "truncated", "lost_response", "reset", "garbled", "no_such_upload"]
"""What happens to a request:

* slow_down: 503 with S3's error SlowDown; the server does not see the request;
* truncated: the response ends in the middle of its body;
* lost_response: the server does what was asked, and the connection is reset before the response;
* reset: the connection is reset in the middle of the request; the server does not see it;
* garbled: one byte of the request's body is changed on the way;
* no_such_upload: what S3 answers when a completed upload is completed again.
"""
_REFUSALS = {
    "slow_down": (503, "SlowDown", "Please reduce your request rate."),
    "no_such_upload": (404, "NoSuchUpload", "The specified multipart upload does not exist."),
    "bad_digest": (400, "BadDigest", "The SHA256 you specified did not match the calculated checksum."),
}


@dataclass
class Faults:
    """Decides for each request, and counts what it has injected."""

    choose: Callable[[str, str], Fault | None] = lambda method, path: None
    """From the method and the path with its query."""
    injected: Counter[str] = field(default_factory=Counter)
    requests: list[tuple[str, str]] = field(default_factory=list)

    def times(self, count: int, fault: Fault, method: str, part: str = "") -> None:
        """Inject it into the next requests with this method whose path contains the text."""
        left = [count]
        lock = threading.Lock()

        def choose(got: str, path: str) -> Fault | None:
            with lock:
                if left[0] and got == method and part in path:
                    left[0] -= 1
                    return fault
            return None

        self.choose = choose


@contextmanager
def faulty_proxy(upstream: str, faults: Faults) -> Iterator[str]:
    """The URL of a proxy for the server at `upstream`."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.upstream, server.faults = urlsplit(upstream).netloc, faults
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    upstream: str
    faults: Faults

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are no news here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _forward(self) -> None:
        faults = self.server.faults
        faults.requests.append((self.command, self.path))
        fault = faults.choose(self.command, self.path)
        if fault:
            faults.injected[fault] += 1
        if fault == "reset":
            if int(self.headers["Content-Length"] or 0):
                self.rfile.read1(1)
            return self._reset()
        if (self.headers["Expect"] or "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        body = self._body()
        if fault in _REFUSALS:
            return self._refuse(fault)
        if fault == "garbled" and body:
            middle = len(body) // 2
            body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
        checksum = self.headers["x-amz-checksum-sha256"]  # S3 compares it with the body; moto does not
        if checksum and checksum != base64.b64encode(hashlib.sha256(body).digest()).decode():
            return self._refuse("bad_digest")
        upstream = HTTPConnection(self.server.upstream, timeout=60)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect", "transfer-encoding"):
                    upstream.putheader(name, value)
            if "Content-Length" not in self.headers and body:
                upstream.putheader("Content-Length", str(len(body)))
            upstream.endheaders(body)
            response = upstream.getresponse()
            content, headers = response.read(), response.getheaders()
        except (OSError, HTTPException):
            return self._reset()
        finally:
            upstream.close()
        if fault == "lost_response":
            return self._reset()
        self._answer(response.status, headers, content, cut=fault == "truncated")
        return None

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward

    def _body(self) -> bytes:
        if (self.headers["Transfer-Encoding"] or "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():  # trailers
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def _refuse(self, reason: str) -> None:
        status, code, message = _REFUSALS[reason]
        body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
        self._answer(status, [("Content-Type", "application/xml")], body.encode())

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length", "0")
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True

    def _reset(self) -> None:
        """Close the connection so that the client sees a reset, not an end."""
        self.close_connection = True
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *args: object) -> None:
        """Say nothing."""
