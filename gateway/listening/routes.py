"""The API's routes of live listening: tokens, and the WebSocket."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.auth import Principal, Role, require
from gateway.errors import Problem, problem
from gateway.listening import messages
from gateway.listening.messages import StreamFailed
from gateway.listening.metrics import ListeningMetrics
from gateway.listening.session import Session
from gateway.service import Here, Service
from podlake.api import ListeningGrant
from resources.listening_tokens import Grant, Kind, ListeningTokens
from speech.webm import CLUSTER_MS

router = APIRouter(prefix="/api/v1", tags=["listening"])
Viewer = Annotated[Principal, require(Role.VIEWER)]
_LATEST_MS = 7 * 24 * 3_600_000
_STATUS = {"not_found": 404}


@dataclass
class Listeners:
    """The connections of an application, one for each token."""

    metrics: ListeningMetrics
    _sessions: dict[str, Session] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._sessions)

    @contextlib.asynccontextmanager
    async def only(self, token_hash: str, session: Session) -> AsyncIterator[None]:
        """The session is the only one of its token: another one is told to end."""
        before = self._sessions.get(token_hash)
        self._sessions[token_hash] = session
        if before is not None:
            before.replaced.set()
        try:
            yield
        finally:
            if self._sessions.get(token_hash) is session:
                del self._sessions[token_hash]


@router.post("/episodes/{episode_id}/stream", status_code=201)
async def listen_to_episode(episode_id: str, service: Here, principal: Viewer) -> ListeningGrant:
    """A token to hear a fetched episode live, from any time, with its words. It is for one listener, who may reconnect."""
    return await _granted(service, principal, "episode", episode_id)


@router.post("/podcasts/{podcast_id}/stream", status_code=201)
async def listen_to_podcast(podcast_id: str, service: Here, principal: Viewer) -> ListeningGrant:
    """A token to hear a podcast live, also while it is being made. Users hear their own, administrators all."""
    request = await asyncio.to_thread(service.studio.ledger.request, podcast_id)
    if request is None or (principal.role < Role.ADMIN and request.user_id != principal.user_id):
        raise Problem(404, f"You have no podcast {podcast_id[:120]}.")
    return await _granted(service, principal, "podcast", podcast_id)


@router.websocket("/listen/{token}")
async def listen(
    socket: WebSocket, token: str, service: Here, principal: Viewer,
    from_ms: Annotated[int, Query(alias="from", ge=0, le=_LATEST_MS)] = 0,
) -> None:  # fmt: skip
    """`stream_metadata`, a header and clusters of Opus in WebM as binary messages, then `stream_end` or `error`."""
    grant = await asyncio.to_thread(ListeningTokens(service.database).grant, token)
    if grant is None or grant.user_id != principal.user_id:
        text = "The token is not valid, or has expired. POST …/stream gives another one."
        await socket.send_denial_response(problem(404, text))
        return
    listeners: Listeners = socket.app.state.listeners
    if len(listeners) >= service.serve.listeners:
        refusal = problem(503, "Too many listeners. Try again later.", headers={"Retry-After": "30"})
        await socket.send_denial_response(refusal)
        return
    await socket.accept()
    start_ms = from_ms // CLUSTER_MS * CLUSTER_MS
    await _listen(socket, service, listeners, grant, start_ms)


async def _listen(socket: WebSocket, service: Service, listeners: Listeners, grant: Grant, start_ms: int) -> None:
    try:
        async with service.library.listening(grant.kind, grant.key) as recording:
            session = Session(socket, recording, start_ms, listeners.metrics)
            async with listeners.only(grant.token_hash, session):
                await session.run()
    except StreamFailed as failed:
        listeners.metrics.connections.labels("error").inc()
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # the listener may have left
            await socket.send_json(messages.error(failed))
            await socket.close()


async def _granted(service: Service, principal: Principal, kind: Kind, key: str) -> ListeningGrant:
    try:
        await service.library.check(kind, key)
    except StreamFailed as failed:
        raise Problem(_STATUS.get(failed.code, 409), str(failed), code=failed.code) from failed
    lasts = timedelta(hours=service.serve.listen_hours)
    tokens = ListeningTokens(service.database)
    token, grant = await asyncio.to_thread(tokens.issue, kind, key, principal.user_id, lasts)
    return ListeningGrant(token, f"/api/v1/listen/{token}", grant.expires_at)
