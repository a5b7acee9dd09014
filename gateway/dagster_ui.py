"""The proxy of Dagster's web UI. Viewers reach only the read-only server, and no mutation passes in their requests."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
from starlette.background import BackgroundTask
from starlette.datastructures import Headers, QueryParams
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from gateway.auth import Principal, Role, allowed, principal_of
from gateway.errors import Problem
from gateway.graphql import changes, in_address, message_of, posted
from gateway.service import Service
from gateway.webservers import PREFIX, Webservers

GRAPHQL = f"{PREFIX}/graphql"
REPORTS = f"{PREFIX}/report_asset_"
_PROTOCOL = "graphql-ws"
_SOCKET_S = 3600.0
"""A WebSocket is closed after this time: the page opens another, and its user has to be logged in still."""
_PASSED = ("accept", "accept-encoding", "accept-language", "content-type", "if-none-match", "if-modified-since",
           "range", "user-agent", "idempotency-key")  # fmt: skip
_RETURNED = ("content-type", "content-encoding", "content-length", "content-disposition", "content-range", "etag",
             "last-modified", "accept-ranges", "vary", "content-security-policy", "location", "cache-control")  # fmt: skip
_NOT_UP = "Dagster's web UI is starting, or has exited. Try again in some seconds."


def dagster_ui(service: Service) -> ASGIApp:
    return _Proxy(service.webservers)


@dataclass
class _Proxy:
    """An ASGI application that is mounted at `PREFIX`."""

    ports: Webservers
    _client: httpx.AsyncClient = field(
        default_factory=lambda: httpx.AsyncClient(
            timeout=httpx.Timeout(60, connect=5), trust_env=False,
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=50),
        )
    )  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal = allowed(principal_of(HTTPConnection(scope)), Role.VIEWER, "ui")
        if scope["type"] == "websocket":
            await self._socket(WebSocket(scope, receive, send), principal)
        else:
            response = await self._answer(Request(scope, receive), principal)
            await response(scope, receive, send)

    def _port(self, principal: Principal) -> int:
        return self.ports.writable if principal.role >= Role.OPERATOR else self.ports.read_only

    async def _answer(self, request: Request, principal: Principal) -> Response:
        path, content = request.url.path, b""
        query = request.scope.get("query_string", b"").decode("latin-1")
        if request.method in ("GET", "HEAD"):
            if path.rstrip("/") == GRAPHQL:
                in_address(QueryParams(query))
        elif request.method == "POST" and path == GRAPHQL:
            operation = posted(await request.body(), request.headers.get("content-type", ""))
            if changes(operation["query"]):
                allowed(principal, Role.OPERATOR, "ui")
            content, query = json.dumps(operation).encode(), ""
        elif request.method == "POST" and path.startswith(REPORTS):
            allowed(principal, Role.OPERATOR, "ui")
            content = await request.body()
        else:
            allowed(principal, Role.OPERATOR, "ui")
            raise Problem(405, f"{request.method} is not allowed here.", headers={"Allow": "GET, HEAD, POST"})
        raw = request.scope.get("raw_path", path.encode()).decode("latin-1")
        url = f"http://127.0.0.1:{self._port(principal)}{raw.partition('?')[0]}" + (f"?{query}" if query else "")
        passed = {name: value for name, value in request.headers.items() if name in _PASSED}
        try:
            asked = self._client.build_request(request.method, url, headers=passed, content=content or None)
            found = await self._client.send(asked, stream=True)
        except httpx.HTTPError as error:
            raise Problem(503, _NOT_UP, headers={"Retry-After": "5"}) from error
        return StreamingResponse(
            found.aiter_raw(), found.status_code, _returned(found.headers), background=BackgroundTask(found.aclose)
        )

    async def _socket(self, socket: WebSocket, principal: Principal) -> None:
        protocols = Headers(scope=socket.scope).get("sec-websocket-protocol", "")
        if socket.url.path != GRAPHQL or _PROTOCOL not in [part.strip() for part in protocols.split(",")]:
            raise Problem(404, "There is no such WebSocket.")
        url = f"ws://127.0.0.1:{self._port(principal)}{GRAPHQL}"
        try:
            upstream = await connect(url, subprotocols=[Subprotocol(_PROTOCOL)], max_size=None, proxy=None)
        except (OSError, TimeoutError, WebSocketException) as error:
            raise Problem(503, _NOT_UP) from error
        async with upstream:
            await socket.accept(_PROTOCOL)
            code, reason = await _exchange(socket, upstream)
        with suppress(RuntimeError, WebSocketDisconnect):
            await socket.close(code, reason)


async def _exchange(socket: WebSocket, upstream: ClientConnection) -> tuple[int, str]:
    """Pass messages both ways until one side closes. Returns code and reason of the end."""

    async def to_dagster() -> tuple[int, str]:
        try:
            while True:
                message = message_of(await socket.receive_text())
                operation = message.get("payload")
                if isinstance(operation, dict) and "query" in operation and changes(operation["query"]):
                    return 1008, "A mutation is sent by POST."
                await upstream.send(json.dumps(message))
        except Problem as error:
            return 1008, str(error.detail)[:100]
        except (KeyError, WebSocketDisconnect, ConnectionClosed):
            return 1000, ""

    async def to_browser() -> tuple[int, str]:
        with suppress(ConnectionClosed, RuntimeError, WebSocketDisconnect):
            async for message in upstream:
                await socket.send_text(message if isinstance(message, str) else message.decode())
        return 1001, "Dagster's web UI has closed the connection."

    tasks = [asyncio.create_task(to_dagster()), asyncio.create_task(to_browser())]
    try:
        done, _ = await asyncio.wait(tasks, timeout=_SOCKET_S, return_when=asyncio.FIRST_COMPLETED)
        return next(iter(done)).result() if done else (1001, "Connect again.")
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _returned(headers: httpx.Headers) -> dict[str, str]:
    found = {name: headers[name] for name in _RETURNED if name in headers}
    # The page has Dagster's own policy; a default of ours would keep its background scripts from working.
    found.setdefault("content-security-policy", "frame-ancestors 'none'")
    found.setdefault("cache-control", "no-cache")
    return found
