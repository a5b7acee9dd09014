"""The WebSocket of notifications: each finished podcast of the user once, also over lost connections.

The service sends `{"type": "notification", "id": …, …}`; the client answers `{"type": "ack", "id": …}`. A client that
connects again says with `?after=` which id it has seen last; without it, the user's last acknowledged one counts.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import TypeAdapter
from starlette.websockets import WebSocket, WebSocketDisconnect

from gateway.auth import Principal, Role, require
from gateway.errors import problem
from gateway.service import Here
from gateway.studio import Studio
from podlake.api import PodcastNotification
from resources.studio.notifications import Notification

router = APIRouter(prefix="/api/v1")
Viewer = Annotated[Principal, require(Role.VIEWER)]
_LONGEST_S = 3600.0
"""The client connects again, and has to be authorized still."""
_SEND_S = 30.0
_MOST_OF_A_USER = 20
_MOST_WRONG = 10
_LONGEST_MESSAGE = 1_000
_LARGEST_ID = 2**31 - 1
_TO_JSON = TypeAdapter(PodcastNotification)


@router.websocket("/notifications")
async def notifications(
    socket: WebSocket, service: Here, principal: Viewer,
    after: Annotated[int | None, Query(ge=0, le=_LARGEST_ID)] = None,
) -> None:  # fmt: skip
    studio, user_id = service.studio, principal.user_id
    if studio.bell.count() >= service.serve.notification_clients or studio.bell.count(user_id) >= _MOST_OF_A_USER:
        text = "Too many clients wait for notifications. Close some."
        await socket.send_denial_response(problem(503, text, headers={"Retry-After": "30"}))
        return
    with studio.bell.listening(user_id) as bell:
        await socket.accept()
        last_id = await asyncio.to_thread(studio.outbox.acknowledged, user_id) if after is None else after
        tasks = [
            asyncio.create_task(_tell(socket, studio, user_id, last_id, bell)),
            asyncio.create_task(_listen(socket, studio, user_id)),
        ]
        try:
            done, _ = await asyncio.wait(tasks, timeout=_LONGEST_S, return_when=asyncio.FIRST_COMPLETED)
            code, reason = next(iter(done)).result() if done else (1001, "Connect again.")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    with suppress(RuntimeError, WebSocketDisconnect):
        await socket.close(code, reason)


async def _tell(socket: WebSocket, studio: Studio, user_id: str, last_id: int, bell: asyncio.Event) -> tuple[int, str]:
    """Send what is new, until the client is gone. Nothing is kept for a slow one: it is read when it can be sent."""
    try:
        while True:
            bell.clear()
            while found := await asyncio.to_thread(studio.outbox.after, user_id, last_id):
                for one in found:
                    await asyncio.wait_for(socket.send_text(_as_json(one)), _SEND_S)
                    last_id = one.id
            await bell.wait()
    except TimeoutError:
        return 1013, "The client does not take its messages."
    except (RuntimeError, WebSocketDisconnect):
        return 1000, ""


async def _listen(socket: WebSocket, studio: Studio, user_id: str) -> tuple[int, str]:
    """Record what the client has seen. One that sends ten wrong messages is closed."""
    wrong, last_id = 0, 0
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return 1000, ""
        seen = _acknowledged_id(message)
        if seen is not None and seen <= last_id:
            continue
        if seen is not None and await asyncio.to_thread(studio.outbox.acknowledge, user_id, seen):
            last_id = seen
            continue
        wrong += 1
        if wrong >= _MOST_WRONG:
            return 1008, 'Send {"type": "ack", "id": …} with the id of a notification.'


def _acknowledged_id(message: Mapping[str, Any]) -> int | None:
    """The id of `{"type": "ack", "id": 17}`; None for anything else."""
    text = message.get("text")
    if not isinstance(text, str) or len(text) > _LONGEST_MESSAGE:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    seen = found.get("id") if isinstance(found, dict) and found.get("type") == "ack" else None
    is_id = isinstance(seen, int) and not isinstance(seen, bool) and 0 < seen <= _LARGEST_ID
    return seen if is_id else None


def _as_json(one: Notification) -> str:
    told = PodcastNotification(one.id, one.podcast_id, one.title, one.state, one.at, one.error)
    return json.dumps({"type": "notification", **_TO_JSON.dump_python(told, mode="json")}, ensure_ascii=False)
