"""Which addresses are connected to, after DNS and at every redirect."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest

from resources.fetch.addresses import AllowedHosts, is_public
from resources.fetch.hosts import FetchPolicy
from resources.fetch.http import fetch_document
from speech.errors import HttpRefused, NetworkError

INTERNAL = [
    "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "100.100.100.200",
    "168.63.129.16", "192.0.0.192", "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "198.18.0.1",
    "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "64:ff9b:1::a00:1",
    "2002:7f00:1::", "2001:0:7f00:1::", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1",
    "2001:db8::1",
]  # fmt: skip
PUBLIC = ["93.184.216.34", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", INTERNAL)
def test_internal_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("allowed", "host", "port", "address", "permitted"),
    [
        ("", "a.test", 80, "10.0.0.1", False),
        ("a.test", "A.test.", 80, "10.0.0.1", True),
        ("a.test", "b.test", 80, "10.0.0.1", False),
        ("a.test:8080", "a.test", 8080, "10.0.0.1", True),
        ("a.test:8080", "a.test", 80, "10.0.0.1", False),
        ("b.test, 10.0.0.0/8", "a.test", 80, "10.9.0.1", True),
        ("10.0.0.0/8", "a.test", 80, "::ffff:10.9.0.1", True),
        ("127.0.0.1:80", "127.0.0.1", 81, "127.0.0.1", False),
        ("::1", "a.test", 81, "::1", True),
        ("[::1]:81", "a.test", 81, "::1", True),
        ("[::1]:81", "a.test", 82, "::1", False),
        ("fd00::/8", "a.test", 82, "fd00:ec2::254", True),
    ],
)
def test_exceptions(allowed: str, host: str, port: int, address: str, permitted: bool) -> None:
    assert AllowedHosts.parse(allowed).permits(host, port, address) is permitted


@pytest.mark.parametrize("text", ["10.0.0.0/99", "a.test:http", ":80"])
def test_an_exception_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"no host|no port"):
        AllowedHosts.parse(text)


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A server whose paths redirect to what they name: `/http://…`."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302 if len(self.path) > 1 else 200)
            self.send_header("Location", self.path[1:])
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{http.server_port}", asked
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
def test_no_connection_to_an_internal_address(server: tuple[str, list[str]], host: str) -> None:
    where, asked = server
    with pytest.raises(HttpRefused, match="not a public address"):
        fetch_document(f"http://{host}:{where.partition(':')[2]}/", FetchPolicy())
    assert asked == []


def test_no_redirect_to_an_internal_address(server: tuple[str, list[str]]) -> None:
    where, asked = server
    policy = FetchPolicy(allowed=AllowedHosts.parse(where))
    for target in ("http://169.254.169.254/latest/meta-data/", "http://127.0.0.1:1/", "https://10.0.0.1/"):
        with pytest.raises(HttpRefused, match="set PODLAKE_ALLOW_HOSTS="):
            fetch_document(f"http://{where}/{target}", policy)
    assert len(asked) == 3


def test_the_address_that_was_checked_is_the_one_that_is_connected(
    server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that has a public address when it is checked, and an internal one afterwards."""
    where, asked = server
    port = int(where.partition(":")[2])
    answers = iter(["203.0.113.7", "1.1.1.1"])
    real = socket.getaddrinfo

    def rebinding(host: str, *args: Any, **options: Any) -> Any:
        if host != "rebind.test":
            return real(host, *args, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers, "127.0.0.1"), port))]

    connected: list[str] = []

    def connect(address: tuple[str, int], *args: object, **options: object) -> socket.socket:
        connected.append(address[0])
        raise OSError("no route")

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(HttpRefused):
        fetch_document(f"http://rebind.test:{port}/", FetchPolicy())
    with pytest.raises(NetworkError):
        fetch_document(f"http://rebind.test:{port}/", FetchPolicy())
    assert (connected, asked) == (["1.1.1.1"], [])


def test_a_name_that_is_not_resolved_ends_with_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    released = Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: released.wait(60) and [])
    started = time.monotonic()
    with pytest.raises(NetworkError, match=r"slow\.test was not resolved"):
        fetch_document("http://slow.test/", FetchPolicy(answer_within_s=0.3))
    assert time.monotonic() - started < 10
    released.set()
