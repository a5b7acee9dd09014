"""One GET request that follows redirects, limits connections per host, and raises podlake's errors."""

from __future__ import annotations

import logging
import re
import ssl
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import httpx

from partitions.credentials import without_credentials
from resources.fetch.codings import codings_of, decoded
from resources.fetch.connections import LOOK_UP_S, Clock, require_permitted, transport
from resources.fetch.hosts import FetchPolicy
from speech.errors import (
    AddressRefused,
    Gone,
    HttpRefused,
    HttpServerError,
    NetworkError,
    NotFound,
    PodlakeError,
    RateLimited,
    TooLarge,
)

for _name in ("httpx", "httpcore"):  # they log whole URLs
    logging.getLogger(_name).setLevel(logging.WARNING)

MAX_REDIRECTS = 10
LONGEST_RETRY_AFTER_S = 366 * 86_400.0
LONGEST_VALIDATOR = 4096
"""Characters of an ETag or date that is sent back: servers refuse requests with longer headers."""
LONGEST_QUOTED = 200
"""Characters of what a message quotes."""
PAUSE_AFTER_429_S = 60.0
"""Where the server does not say how long."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its response, whose body is not read yet."""

    url: str
    response: httpx.Response
    redirect_chain: tuple[tuple[str, int], ...]
    """Every URL that redirected, with the status it did so with."""
    clock: Clock
    policy: FetchPolicy

    @property
    def status(self) -> int:
        return self.response.status_code

    def header(self, name: str) -> str | None:
        return self.response.headers.get(name)


@contextmanager
def get(url: str, headers: dict[str, str], policy: FetchPolicy) -> Iterator[Exchange]:
    """Raises HttpRefused and NetworkError, also for what happens while the caller reads the body."""
    chain: list[tuple[str, int]] = []
    clock = Clock(shown(url), policy.answer_within_s)
    # One client per request, so that no cookie is kept.
    with _own_errors(url), _client(policy, clock) as client:
        request: httpx.Request | None = client.build_request("GET", _http_url(url), headers=_sendable(headers))
        while request is not None:
            asked_at = time.monotonic()
            with policy.turn(host_of(request.url)):
                clock.extend(time.monotonic() - asked_at)
                if _proxies():
                    _require_permitted_behind_proxy(policy, request.url, clock)
                response = client.send(request, stream=True)
                try:
                    if response.next_request is None:
                        yield Exchange(url, response, tuple(chain), clock, policy)
                        return
                finally:
                    response.close()
            chain.append((str(request.url), response.status_code))
            if len(chain) > MAX_REDIRECTS:
                raise HttpRefused(
                    f"{shown(url)} redirects more than {MAX_REDIRECTS} times. Open it in a browser to see where it leads."
                )
            request = response.next_request


def is_refused(url: str, policy: FetchPolicy) -> bool:
    """Whether the URL is never fetched: no http(s) URL, or only at addresses that are not public."""
    try:
        parsed = _http_url(url)
        require_permitted(policy.allowed, parsed.host, _port_of(parsed), LOOK_UP_S)
    except (AddressRefused, httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
        return True
    except OSError:
        return False  # a name that is not resolved now
    return False


def host_of(url: httpx.URL) -> str:
    """Host and port: what is paused, and what connections are counted for."""
    return f"{url.host}:{_port_of(url)}"


def _port_of(url: httpx.URL) -> int:
    return url.port or {"https": 443}.get(url.scheme, 80)


def _http_url(url: str) -> httpx.URL:
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https"):
        raise httpx.UnsupportedProtocol(f"its scheme is {parsed.scheme!r}")
    return parsed


def _sendable(headers: dict[str, str]) -> dict[str, str]:
    """Without values that HTTP cannot carry, such as an ETag in another script: the request is unconditional then."""
    return {
        name: value
        for name, value in headers.items()
        if value.isascii() and value.isprintable() and len(value) <= LONGEST_VALIDATOR
    }


def _client(policy: FetchPolicy, clock: Clock) -> httpx.Client:
    contact = f" ({policy.contact})" if policy.contact else ""
    agent = {"User-Agent": f"podlake/{_version()}{contact}", "Accept-Encoding": "gzip, deflate"}
    if _proxies():  # the proxy connects, so the addresses that it chooses cannot be checked
        return httpx.Client(timeout=_TIMEOUT, verify=_tls(), headers=agent)
    return httpx.Client(timeout=_TIMEOUT, headers=agent, transport=transport(_tls(), policy.allowed, clock))


def _require_permitted_behind_proxy(policy: FetchPolicy, url: httpx.URL, clock: Clock) -> None:
    try:
        require_permitted(policy.allowed, url.host, _port_of(url), min(LOOK_UP_S, clock.left_s()))
    except (OSError, UnicodeError):
        return  # a name that only the proxy resolves


@cache
def _proxies() -> bool:
    return bool({"http", "https", "all"} & urllib.request.getproxies().keys())


def refuse_unless(exchange: Exchange, *accepted: int) -> None:
    """Raise the error of a status that is not accepted."""
    if exchange.status in accepted:
        return
    response, status = exchange.response, exchange.status
    retry_after_s = _retry_after_s(exchange.header("Retry-After"))
    # The usual words for the status, not the server's, which may repeat what was asked for.
    what = f"{shown(str(response.url))} answered {status} {httpx.codes.get_reason_phrase(status)}".rstrip()
    error: PodlakeError
    if status in (404, 410):
        error = (Gone if status == 410 else NotFound)(
            f"{what}: it is gone. If the feed still lists it, only the publisher can mend that."
        )
    elif status == 429 or (status == 503 and retry_after_s is not None):
        pause_s = PAUSE_AFTER_429_S if retry_after_s is None else retry_after_s
        exchange.policy.pause(host_of(response.url), pause_s)
        when = f"in {retry_after_s:.0f} s" if retry_after_s is not None else "later"
        error = RateLimited(f"{what}: it wants to be asked again {when}.", retry_after_s)
    elif status in (408, 425):
        error = NetworkError(f"{what}: the request took too long, or came too early, which may pass.")
    elif 400 <= status < 500:
        error = HttpRefused(f"{what}: it refuses. Check whether the address needs a subscription or a login.")
    else:
        error = HttpServerError(f"{what}: the server fails, which may pass.")
    raise error


def body(exchange: Exchange, patience_s: float, limit_bytes: int, whole_s: float = float("inf")) -> Iterator[bytes]:
    """The body, decoded, as long as the server is at most `patience_s` behind `connections.SLOWEST_BYTES_PER_S`.

    The request takes `whole_s` at most. Raises NetworkError, and TooLarge for more than `limit_bytes` as sent or as
    decoded.
    """
    exchange.clock.start_body(patience_s, limit_bytes, whole_s)
    codings = codings_of(exchange.header("Content-Encoding"))
    yield from decoded(exchange.response.iter_raw(), codings, limit_bytes, shown(str(exchange.response.url)))


def refuse_larger(exchange: Exchange, size: int, limit_bytes: int) -> None:
    if size > limit_bytes:
        raise TooLarge(
            f"{shown(str(exchange.response.url))} has more than the {limit_bytes} bytes that are allowed. "
            "Raise the limit if it is wanted."
        )


def refuse_short(exchange: Exchange) -> None:
    """Raise NetworkError if the body is shorter than Content-Length."""
    announced, received = exchange.header("Content-Length") or "", exchange.response.num_bytes_downloaded
    if announced.isascii() and announced.isdigit() and received != int(announced):
        raise NetworkError(f"{shown(str(exchange.response.url))} sent {received} of {announced} bytes.")


_PORT = re.compile(r":(?=[^/?#@\]]*[^0-9/?#@\]])[^/?#@\]]+(?=$|[/?#])")
"""What stands in place of a port and is no number, which may be a password."""
_TIMEOUT = httpx.Timeout(30.0, connect=15.0)


@contextmanager
def _own_errors(url: str) -> Iterator[None]:
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        reason = f" ({error})" if isinstance(error, httpx.UnsupportedProtocol) else ""  # the other quotes the address
        raise HttpRefused(f"{shown(url)} leads to no http or https address{reason}. Correct it in the feed.") from error
    except httpx.TimeoutException as error:
        raise NetworkError(f"{shown(url)} did not answer in time ({type(error).__name__}).") from error
    except (httpx.TransportError, httpx.DecodingError) as error:
        said = re.sub("(?<=location header):.*", "", str(error), flags=re.DOTALL)  # it quotes parts of the address
        reason = _shortened(without_credentials(said)) or type(error).__name__
        raise NetworkError(f"The connection to {shown(url)} failed: {reason}.") from error


def _retry_after_s(text: str | None) -> float | None:
    """Seconds, or an HTTP date. None for other text."""
    if text is None:
        return None
    if re.fullmatch(r"\s*[0-9]+\s*", text):
        return min(float(text), LONGEST_RETRY_AFTER_S)
    try:
        at = parsedate_to_datetime(text)
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_S)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_QUOTED else f"{text[:LONGEST_QUOTED]}…"


def shown(url: str) -> str:
    """The URL for messages, without passwords and tokens."""
    try:
        shown = httpx.URL(url)
    except httpx.InvalidURL:
        return repr(_shortened(_PORT.sub(":***", without_credentials(url))))
    return without_credentials(str(shown.copy_with(query=None, userinfo=b""))) + ("?…" if shown.query else "")


@cache
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context()


@cache
def _version() -> str:
    try:
        return version("podlake")
    except PackageNotFoundError:
        return "0"
