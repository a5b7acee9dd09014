"""The first thing that sees a request: refuses malformed ones, finds the principal, and checks origin and limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.auth import Principal, unauthenticated
from gateway.authentication import Authenticator, is_loopback
from gateway.errors import Problem, problem
from gateway.limits import Rate, limited, too_large
from gateway.login_page import login_page
from gateway.settings import ServeSettings, parse_list

SAFE = ("GET", "HEAD")
METHODS = (*SAFE, "POST", "PUT", "PATCH", "DELETE")
BULK_PATHS = re.compile(r"/api/v1/(bulk|workers/[^/]+/outcome)")
"""The paths whose bodies may be as large as `bulk_body_mb`."""
UPLOAD_PATH = "/api/v1/videos/uploads"
"""The path whose bodies may be as large as `upload_mb`."""
_ONCE = ("host", "content-length", "transfer-encoding", "authorization", "content-type", "origin")
_MOST_HEADER_BYTES = 64 << 10
_MOST_LOGIN_BYTES = 64 << 10
"""Of the login form, which anybody can send."""
_STRANGE_PATH = re.compile(r"//|/\.{1,2}(/|$)|[\\\x00-\x1f\x7f]")
_STRANGE_RAW = re.compile(rb"%2f|%5c|%00|%25", re.IGNORECASE)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "Cache-Control": "no-store",
}


@dataclass
class Guard:
    """The middleware around the whole application. Puts the principal into `scope["podlake.principal"]`."""

    app: ASGIApp
    authenticator: Authenticator
    serve: ServeSettings
    upload_bytes: Mapping[str, int] = field(default_factory=dict)
    """Path of an upload → how large its body may be."""

    def __post_init__(self) -> None:
        self._names = {name.lower() for name in parse_list(self.serve.names)}
        self._rate = Rate(self.serve.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        is_https = self.authenticator.is_https(scope)
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                started = True
                _add_headers(message, is_https=is_https)
            await send(message)

        try:
            principal = await self._checked(scope, is_https=is_https)
            scope["podlake.principal"] = principal
            if scope["type"] == "http":
                most = _MOST_LOGIN_BYTES if principal is None else self._most_bytes(scope["path"])
                _check_length(scope, most)
                receive = limited(receive, most)
            await self.app(scope, receive, answer)
        except Problem as error:
            if started:
                raise
            await _refuse(scope, receive, answer, error)

    async def _checked(self, scope: Scope, *, is_https: bool) -> Principal | None:
        """The principal; None for the login form. Raises `Problem`."""
        headers = Headers(scope=scope)
        _check_form(scope, headers)
        self._check_host(headers)
        principal = await self.authenticator.principal(scope)
        if principal is None:
            if (scope["type"], scope.get("method"), scope["path"]) != ("http", "POST", "/login"):
                raise unauthenticated()
            _check_origin(headers, is_https=is_https, required=False)
            return None
        key = f"{principal.method} {principal.name}"
        if self._rate.is_spent(key):
            raise Problem(429, f"More than {self.serve.requests_per_minute} requests in a minute. Wait.",
                          headers={"Retry-After": "10"})  # fmt: skip
        self._rate.count(key)
        if scope["type"] == "http" and scope["method"] not in METHODS:
            raise Problem(405, f"{scope['method']} is not allowed.", headers={"Allow": ", ".join(METHODS)})
        if principal.is_ambient and (scope["type"] == "websocket" or scope["method"] not in SAFE):
            _check_origin(headers, is_https=is_https, required=principal.method in ("session", "oidc"))
        return principal

    def _check_host(self, headers: Headers) -> None:
        """A name that is not ours may be a trick: it can point to this address (DNS rebinding)."""
        name = _host_name(headers.get("host", ""))
        if name not in self._names and (self._names or not _is_address(name)) and not is_loopback(name):
            raise Problem(
                400, f"This service is not {name[:100] or 'without a name'}. PODLAKE_SERVE_NAMES lists its names."
            )

    def _most_bytes(self, path: str) -> int:
        if path in self.upload_bytes:
            return self.upload_bytes[path]
        return int(1e6 * (self.serve.bulk_body_mb if BULK_PATHS.fullmatch(path) else self.serve.body_mb))


def _check_form(scope: Scope, headers: Headers) -> None:
    """Refuse what proxies and servers could read in different ways."""
    if sum(len(name) + len(value) for name, value in scope["headers"]) > _MOST_HEADER_BYTES:
        raise Problem(431, "The headers are too large.")
    for name in _ONCE:
        if len(headers.getlist(name)) > 1:
            raise Problem(400, f"The header {name} is there more than once.")
    if "content-length" in headers and "transfer-encoding" in headers:
        raise Problem(400, "Both Content-Length and Transfer-Encoding are given.")
    if "transfer-encoding" in headers and headers["transfer-encoding"].lower() != "chunked":
        raise Problem(400, "This Transfer-Encoding is not supported.")
    if any(b"\n" in value or b"\r" in value or b"\0" in value for _, value in scope["headers"]):
        raise Problem(400, "A header contains a line break.")
    if any(b"_" in name for name, _ in scope["headers"]):
        raise Problem(400, "A header's name contains an underscore, which some servers read as a hyphen.")
    raw = scope.get("raw_path") or b""
    if not scope["path"].startswith("/") or _STRANGE_PATH.search(scope["path"]) or _STRANGE_RAW.search(raw):
        raise Problem(404, "There is no such path.")


def _check_length(scope: Scope, most_bytes: int) -> None:
    length = Headers(scope=scope).get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise Problem(400, "Content-Length is no number.")
    if int(length) > most_bytes:
        raise too_large(most_bytes)


def _check_origin(headers: Headers, *, is_https: bool, required: bool) -> None:
    """A browser says from which page a request comes. Raises `Problem` 403 if it is not ours."""
    own = f"{'https' if is_https else 'http'}://{headers.get('host', '')}".lower()
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        raise Problem(403, "The request comes from a page of another site.")
    if origin is None:
        if required and site is None:
            raise Problem(403, "The request does not say where it comes from. Use an API key in programs.")
    elif origin.lower() != own:
        raise Problem(403, f"The request comes from a page of another site. This one is {own}.")


def _host_name(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower() if not re.search(r"[/@?#\s]", host) else ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _add_headers(message: Message, *, is_https: bool) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    if is_https:
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    for name in ("server", "x-powered-by"):
        del headers[name]


async def _refuse(scope: Scope, receive: Receive, send: Send, error: Problem) -> None:
    if scope["type"] == "websocket":
        await _refuse_websocket(scope, receive, send, error)
        return
    headers = dict(error.headers or {})
    if error.status_code in (400, 413, 431):
        headers["Connection"] = "close"  # another server may see the end of this request elsewhere
    if error.status_code == 401 and scope["method"] == "GET" and _wants_html(Headers(scope=scope).getlist("accept")):
        # Without WWW-Authenticate, so that the browser shows our form instead of its own.
        await login_page(401, next_path=_target(scope))(scope, receive, send)
        return
    await problem(error.status_code, str(error.detail), headers=headers, **error.more)(scope, receive, send)


async def _refuse_websocket(scope: Scope, receive: Receive, send: Send, error: Problem) -> None:
    await receive()
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1008, "reason": str(error.detail)[:120]})
        return
    body = str(error.detail).encode()
    start = {"type": "websocket.http.response.start", "status": error.status_code, "headers": []}
    await send({**start, "headers": [(b"content-type", b"text/plain; charset=utf-8")]})
    await send({"type": "websocket.http.response.body", "body": body})


def _wants_html(accept: Iterable[str]) -> bool:
    return "text/html" in ",".join(accept)


def _target(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return "/" if scope["path"] in ("/login", "/logout") else scope["path"] + (f"?{query}" if query else "")
