"""A server that answers byte by byte as a case wants, each case at an address of its own, and one that must not be asked."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

LONGEST_REQUEST_BYTES = 1 << 20


@dataclass(frozen=True)
class Request:
    """The request, and where it arrived."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    base: str
    """The URL of this case's server."""
    forbidden: str
    """host:port of the server that must not be asked."""
    count: int
    """Requests to the case, this one included."""
    given_up: threading.Event
    """Set when the run is over: an endless answer ends then."""


Case = Callable[[socket.socket, Request], None]


@dataclass
class Site:
    """The servers of all cases: 127.1.x.y, so that a pause or a limit of one host does not affect another case."""

    port: int
    forbidden: str
    urls: dict[str, str]
    """Case → its URL."""
    asked: dict[str, int] = field(default_factory=dict)
    """Case → requests."""
    longest_s: dict[str, float] = field(default_factory=dict)
    """Case → the longest connection."""
    forbidden_requests: list[str] = field(default_factory=list)


@contextmanager
def serving(cases: Mapping[str, Case], *, path: str, user: str = "") -> Iterator[Site]:
    """Serve the cases at `http://<user>127.1.x.y:port/<path>`."""
    listener, other = _listener("0.0.0.0"), _listener("127.0.0.1")
    port = listener.getsockname()[1]
    hosts = {f"127.1.{n // 200}.{1 + n % 200}": name for n, name in enumerate(cases)}
    site = Site(
        port,
        f"127.0.0.1:{other.getsockname()[1]}",
        {name: f"http://{user}{host}:{port}/{path}" for host, name in hosts.items()},
    )
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        host = connection.getsockname()[0]
        name, started = hosts.get(host, ""), time.monotonic()
        with connection, suppress(OSError):
            while request := _request(connection):
                site.asked[name] = site.asked.get(name, 0) + 1
                line, headers = request
                cases[name](
                    connection,
                    Request(line, headers, f"http://{host}:{port}", site.forbidden, site.asked[name], over),
                )
                break
        site.longest_s[name] = max(site.longest_s.get(name, 0.0), time.monotonic() - started)

    def refuse(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            site.forbidden_requests.append(repr(connection.recv(200)))

    for socket_, handle in ((listener, serve), (other, refuse)):
        threading.Thread(target=_accept, args=(socket_, handle, over), daemon=True).start()
    try:
        yield site
    finally:
        over.set()
        listener.close()
        other.close()


def _listener(host: str) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, 0))
    listener.listen(200)
    listener.settimeout(0.2)
    return listener


def _accept(listener: socket.socket, handle: Callable[[socket.socket], None], over: threading.Event) -> None:
    while not over.is_set():
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        except OSError:
            return
        connection.settimeout(300)
        threading.Thread(target=handle, args=(connection,), daemon=True).start()


def _request(connection: socket.socket) -> tuple[str, dict[str, str]] | None:
    received = b""
    while b"\r\n\r\n" not in received and len(received) < LONGEST_REQUEST_BYTES:
        some = connection.recv(65536)
        if not some:
            return None
        received += some
    first, *lines = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    parts = first.split()
    pairs = (line.partition(":") for line in lines)
    return (parts[1] if len(parts) > 1 else ""), {name.lower(): value.strip() for name, _, value in pairs}


def answer(body: bytes | str = b"", status: str = "200 OK", *headers: str, length: int | str | None = -1) -> Case:
    """The whole answer at once; `length` is what Content-Length says, None for none."""
    given = body.encode() if isinstance(body, str) else body

    def case(connection: socket.socket, request: Request) -> None:
        content = filled(given, request)
        lines = [filled(header.encode("latin-1", "replace"), request).decode("latin-1") for header in headers]
        if length is not None:
            lines.append(f"Content-Length: {len(content) if length == -1 else length}")
        head = "\r\n".join([f"HTTP/1.1 {status}", *lines, "Connection: close", "", ""])
        connection.sendall(head.encode("latin-1", "replace") + content)

    return case


def filled(text: bytes, request: Request) -> bytes:
    """BASE and FORBIDDEN stand for the servers."""
    text = text.replace(b"FORBIDDEN_PORT", request.forbidden.rpartition(":")[2].encode())
    return text.replace(b"BASE", request.base.encode()).replace(b"FORBIDDEN", request.forbidden.encode())


def raw(content: bytes) -> Case:
    """Just these bytes."""
    return lambda connection, request: connection.sendall(filled(content, request))


def redirect(location: str, status: str = "302 Found") -> Case:
    return answer(b"", status, f"Location: {location}")


def endless(start: bytes, again: bytes, every_s: float) -> Case:
    """Bytes without end."""

    def case(connection: socket.socket, request: Request) -> None:
        connection.sendall(start)
        while not request.given_up.wait(every_s):
            connection.sendall(again)

    return case


def reset(connection: socket.socket, _: Request) -> None:
    """RST instead of an answer."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silent(_: socket.socket, request: Request) -> None:
    """No answer."""
    request.given_up.wait()
