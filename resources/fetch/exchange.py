"""One GET request that follows redirects, limits connections per host, and raises podlake's errors."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import httpx

from speech.errors import HttpRefused, HttpServerError, NetworkError, NotFound, PodlakeError, RateLimited, TooLarge

CONNECTIONS_PER_HOST = 4
"""At a time, from this process."""
MAX_REDIRECTS = 10
SLOWEST_BYTES_PER_S = 16_000
"""128 kbit/s, the speed of playback."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its response, whose body is not read yet."""

    url: str
    response: httpx.Response
    redirect_chain: tuple[tuple[str, int], ...]
    """Every URL that redirected, with the status it did so with."""

    @property
    def status(self) -> int:
        return self.response.status_code

    def header(self, name: str) -> str | None:
        return self.response.headers.get(name)


@contextmanager
def get(url: str, headers: dict[str, str]) -> Iterator[Exchange]:
    """Raises HttpRefused and NetworkError, also for what happens while the caller reads the body."""
    chain: list[tuple[str, int]] = []
    agent = {"User-Agent": f"podlake/{_version()}"}
    # One client per request, so that no cookie is kept.
    with _own_errors(url), httpx.Client(timeout=_TIMEOUT, verify=_tls(), headers=agent) as client:
        request: httpx.Request | None = client.build_request("GET", url, headers=headers)
        while request is not None:
            with _turn_at(request.url.host):
                response = client.send(request, stream=True)
                try:
                    if response.next_request is None:
                        yield Exchange(url, response, tuple(chain))
                        return
                finally:
                    response.close()
            chain.append((str(request.url), response.status_code))
            if len(chain) > MAX_REDIRECTS:
                raise HttpRefused(
                    f"{_shown(url)} redirects more than {MAX_REDIRECTS} times. Open it in a browser to see where it leads."
                )
            request = response.next_request


def refuse_unless(exchange: Exchange, *accepted: int) -> None:
    """Raise the error of a status that is not accepted."""
    if exchange.status in accepted:
        return
    response, status = exchange.response, exchange.status
    retry_after_s = _retry_after_s(exchange.header("Retry-After"))
    what = f"{_shown(str(response.url))} answered {status} {response.reason_phrase}".rstrip()
    error: PodlakeError
    if status in (404, 410):
        error = NotFound(f"{what}: it is gone. If the feed still lists it, only the publisher can mend that.")
    elif status == 429 or (status == 503 and retry_after_s is not None):
        when = f"in {retry_after_s:.0f} s" if retry_after_s is not None else "later"
        error = RateLimited(f"{what}: it wants to be asked again {when}.", retry_after_s)
    elif status in (408, 425):
        error = NetworkError(f"{what}: the request took too long, or came too early, which may pass.")
    elif 400 <= status < 500:
        error = HttpRefused(f"{what}: it refuses. Check whether the address needs a subscription or a login.")
    else:
        error = HttpServerError(f"{what}: the server fails, which may pass.")
    raise error


def paced(chunks: Iterator[bytes], exchange: Exchange, patience_s: float) -> Iterator[bytes]:
    """The chunks, as long as the server is at most `patience_s` behind `SLOWEST_BYTES_PER_S`."""
    started = time.monotonic()
    for chunk in chunks:
        yield chunk
        received, elapsed_s = exchange.response.num_bytes_downloaded, time.monotonic() - started
        if elapsed_s > patience_s + received / SLOWEST_BYTES_PER_S:
            raise NetworkError(
                f"{_shown(str(exchange.response.url))} sends too slowly: {received} bytes in {elapsed_s:.0f} s."
            )


def refuse_larger(exchange: Exchange, size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        raise TooLarge(
            f"{_shown(str(exchange.response.url))} has more than the {limit_bytes} bytes that are allowed. "
            "Raise the limit if it is wanted."
        )


def refuse_short(exchange: Exchange) -> None:
    """Raise NetworkError if the body is shorter than Content-Length."""
    announced, received = exchange.header("Content-Length") or "", exchange.response.num_bytes_downloaded
    if announced.isdigit() and received != int(announced):
        raise NetworkError(f"{_shown(str(exchange.response.url))} sent {received} of {announced} bytes.")


_TIMEOUT = httpx.Timeout(30.0, connect=15.0)

_turns: dict[str, threading.Semaphore] = {}
_turns_lock = threading.Lock()


def _turn_at(host: str) -> threading.Semaphore:
    with _turns_lock:
        return _turns.setdefault(host, threading.Semaphore(CONNECTIONS_PER_HOST))


@contextmanager
def _own_errors(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise HttpRefused(
            f"{_shown(url)} leads to no http or https address ({error}). Correct it in the feed."
        ) from error
    except httpx.TimeoutException as error:
        raise NetworkError(f"{_shown(url)} did not answer in time ({type(error).__name__}).") from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        reason = str(error) or type(error).__name__
        raise NetworkError(f"The connection to {_shown(url)} failed: {reason}.") from error


def _retry_after_s(text: str | None) -> float | None:
    """Seconds, or an HTTP date."""
    if text is None or text.strip().isdigit():
        return float(text) if text else None
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _shown(url: str) -> str:
    """The URL for messages, without passwords and tokens."""
    try:
        shown = httpx.URL(url)
    except httpx.InvalidURL:
        return repr(url[:200])
    return str(shown.copy_with(query=None, userinfo=b"")) + ("?…" if shown.query else "")


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


@cache
def _version() -> str:
    try:
        return version("podlake")
    except PackageNotFoundError:
        return "0"
