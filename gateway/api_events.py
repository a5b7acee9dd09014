"""The API's routes of events: a stream of server-sent events, and webhooks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated, Literal
from urllib.parse import urlsplit

from fastapi import APIRouter, Header, Query
from starlette.responses import Response, StreamingResponse

from gateway.auth import Principal, Role, require
from gateway.errors import Problem
from gateway.landings import Event, as_json
from gateway.service import Here
from gateway.webhooks import Webhooks
from pipeline.progress import EPISODE_STAGES, FEED_STAGES
from podlake.api import NewWebhook, WebhookEntry

router = APIRouter(prefix="/api/v1", tags=["events"])
Viewer = Annotated[Principal, require(Role.VIEWER)]
Administrator = Annotated[Principal, require(Role.ADMIN, "submit")]
PING_S = 15.0
"""Proxies close a connection that is silent for longer, usually 60 s."""
_LONGEST_S = 3600.0
"""The client connects again, and has to be authorized still."""


@router.get("/events", response_class=StreamingResponse)
async def events(
    service: Here, _: Viewer, kind: Annotated[list[Literal["landed", "failed"]], Query()] = [],  # noqa: B006
    stage: Annotated[list[str], Query()] = [], feed: Annotated[list[str], Query()] = [],  # noqa: B006
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
) -> Response:  # fmt: skip
    """Landings and failures as server-sent events. A client that connects again with Last-Event-ID misses none of the
    last 10 000.
    """
    _check_stages(stage)
    if service.landings.n_listeners >= service.serve.event_clients:
        raise Problem(503, "Too many clients follow the events. Try again later.", headers={"Retry-After": "30"})

    def is_wanted(event: Event) -> bool:
        return (
            (not kind or event.kind in kind)
            and (not stage or event.stage in stage)
            and (not feed or event.feed_id in feed)
        )

    async def stream() -> AsyncIterator[bytes]:
        until_s = asyncio.get_running_loop().time() + _LONGEST_S
        async with service.landings.listening(last_event_id) as queue:
            yield b"retry: 2000\n: connected\n\n"
            while asyncio.get_running_loop().time() < until_s:
                try:
                    event = await asyncio.wait_for(queue.get(), PING_S)
                except TimeoutError:
                    yield b": ping\n\n"
                    continue
                if is_wanted(event):
                    yield _message(event)

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


@router.post("/webhooks", status_code=201)
def add_webhook(asked: NewWebhook, service: Here, _: Administrator) -> WebhookEntry:
    """Tell an address of events. The answer has the secret that signs the bodies; it is not shown again."""
    parts = urlsplit(asked.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise Problem(400, "A webhook is an http(s) URL without user and password.")
    _check_stages(asked.stages)
    made, secret = Webhooks(service.database).add(asked.url, asked.kinds, asked.stages)
    return WebhookEntry(**asdict(made), secret=secret)


@router.get("/webhooks")
def list_webhooks(service: Here, _: Administrator) -> list[WebhookEntry]:
    """The webhooks, with what is waiting and the last error."""
    return [WebhookEntry(**asdict(hook)) for hook in Webhooks(service.database).all()]


@router.delete("/webhooks/{webhook_id}", status_code=204)
def remove_webhook(webhook_id: str, service: Here, _: Administrator) -> None:
    """Send no more to this address."""
    if not Webhooks(service.database).remove(webhook_id):
        raise Problem(404, f"There is no webhook {webhook_id}.")


def _message(event: Event) -> bytes:
    return f"id: {event.id}\nevent: {event.kind}\ndata: {json.dumps(as_json(event), ensure_ascii=False)}\n\n".encode()


def _check_stages(stages: list[str] | tuple[str, ...]) -> None:
    unknown = [stage for stage in stages if stage not in (*FEED_STAGES, *EPISODE_STAGES)]
    if unknown:
        raise Problem(400, f"There is no stage {unknown[0][:80]}.")
