"""Connections that check the address that they connect to, and that end at a deadline."""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

import httpcore
import httpx

from resources.fetch.addresses import AllowedHosts
from speech.errors import AddressRefused, NetworkError, TooLarge

SLOWEST_BYTES_PER_S = 16_000
"""128 kbit/s, the speed of playback."""
READ_BYTES = 1 << 19
"""Read at most at once. httpcore asks for 64 KiB, for which its own work on a chunk takes as long as the hashing."""
LOOK_UP_S = 20.0
"""For the address of a name, and less where the request has less time left."""
_OVERHEAD_BYTES = 1 << 16
"""More than a coding adds to a body that does not shrink."""


class Clock:
    """The time that a request has left: a total up to the body, then as much as the received bytes earn.

    A body may have a total too: a server that sends for ever, a little faster than the slowest, would be read for hours.
    """

    def __init__(self, shown_url: str, total_s: float) -> None:
        self._shown_url = shown_url
        self._started, self._allowed_s = time.monotonic(), total_s
        self._received = 0
        self._limit_bytes: int | None = None
        self._asked_at = self._started
        self._whole_s = float("inf")

    def start_body(self, patience_s: float, limit_bytes: int, whole_s: float) -> None:
        """From now on, the server may lag `patience_s` behind `SLOWEST_BYTES_PER_S`; all is there `whole_s` after connecting."""
        self._started, self._allowed_s = time.monotonic(), patience_s
        self._received, self._limit_bytes, self._whole_s = 0, limit_bytes, whole_s

    def extend(self, waited_s: float) -> None:
        """Do not count a wait that is ours."""
        self._started += waited_s
        self._asked_at += waited_s

    def left_s(self) -> float:
        """Raises `NetworkError` if there is none."""
        now = time.monotonic()
        elapsed_s = now - self._started
        earned_s = 0.0 if self._limit_bytes is None else self._received / SLOWEST_BYTES_PER_S
        left_s = min(self._allowed_s + earned_s - elapsed_s, self._asked_at + self._whole_s - now)
        if left_s > 0:
            return left_s
        if self._limit_bytes is None:
            raise NetworkError(f"{self._shown_url} did not answer in time: no whole answer in {elapsed_s:.0f} s.")
        raise NetworkError(f"{self._shown_url} sends too slowly: {self._received} bytes in {elapsed_s:.0f} s.")

    def count(self, received: int) -> None:
        """Raises `TooLarge`, also for a body that decodes to nothing."""
        self._received += received
        if self._limit_bytes is not None and self._received > self._limit_bytes + _OVERHEAD_BYTES:
            raise TooLarge(f"{self._shown_url} sends more than the {self._limit_bytes} bytes that are allowed.")


def transport(tls: Any, allowed: AllowedHosts, clock: Clock) -> httpx.HTTPTransport:
    """A transport whose connections obey the rules and the clock."""
    return _Transport(tls, _Backend(allowed, clock))


def require_permitted(allowed: AllowedHosts, host: str, port: int, within_s: float) -> list[str]:
    """The addresses of the host that may be connected to. Raises `AddressRefused` if it has only others, and `OSError`."""
    found = [str(info[4][0]) for info in _looked_up(host, port, within_s)]
    permitted = [address for address in dict.fromkeys(found) if allowed.permits(host, port, address)]
    if not permitted:
        raise AddressRefused(
            f"{host} is at {found[0]}, which is not a public address, and is not fetched. "
            f"If you trust it, set PODLAKE_ALLOW_HOSTS={host}:{port} and try again."
        )
    return permitted


def _looked_up(host: str, port: int, within_s: float) -> list[Any]:
    """`getaddrinfo`, which has no limit of its own: a thread that lasts longer is left alone. Raises `OSError`."""
    if _is_address(host):  # answered at once, and a thread costs a fifth of a request
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    answers: SimpleQueue[list[Any] | Exception] = SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # noqa: BLE001 - raised by the caller
            answers.put(error)

    Thread(target=look_up, daemon=True, name=f"look up {host}").start()
    try:
        answer = answers.get(timeout=within_s)
    except Empty:
        raise TimeoutError(f"the name {host} was not resolved in {within_s:.0f} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _Transport(httpx.HTTPTransport):
    def __init__(self, tls: Any, backend: httpcore.NetworkBackend) -> None:
        # httpx has no parameter for httpcore's network backend.
        self._pool = httpcore.ConnectionPool(ssl_context=tls, max_connections=1, network_backend=backend)


class _Backend(httpcore.NetworkBackend):
    def __init__(self, allowed: AllowedHosts, clock: Clock) -> None:
        self._allowed, self._clock = allowed, clock
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = require_permitted(self._allowed, host, port, min(LOOK_UP_S, self._clock.left_s()))
        except (OSError, UnicodeError) as error:  # UnicodeError: `a..b`, or a label of over 63 letters
            raise httpcore.ConnectError(str(error)) from error
        for last, address in zip([False] * (len(addresses) - 1) + [True], addresses, strict=True):
            try:
                limit_s = _limit_s(timeout, self._clock)
                found = self._sockets.connect_tcp(address, port, limit_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if last:
                    raise
            else:
                return _Stream(found, self._clock)
        raise AssertionError("a host without addresses was refused")


class _Stream(httpcore.NetworkStream):
    """A socket whose every read ends when the clock does."""

    def __init__(self, stream: httpcore.NetworkStream, clock: Clock) -> None:
        self._stream, self._clock = stream, clock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            found = self._stream.read(max(max_bytes, READ_BYTES), _limit_s(timeout, self._clock))
        except httpcore.ReadTimeout:
            self._clock.left_s()
            raise
        self._clock.count(len(found))
        return found

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _limit_s(timeout, self._clock))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, _limit_s(timeout, self._clock))
        return _Stream(stream, self._clock)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _limit_s(timeout_s: float | None, clock: Clock) -> float:
    left_s = clock.left_s()
    return left_s if timeout_s is None else min(timeout_s, left_s)
