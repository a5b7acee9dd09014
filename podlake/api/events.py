"""Events of landings and failures, and the webhooks that are told of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class LakeEvent:
    """A landing of a stage, or a try that failed."""

    id: str
    kind: Literal["landed", "failed"]
    stage: str
    key: str
    feed_id: str
    at: datetime
    error_class: str | None = None
    message: str | None = None


@dataclass(frozen=True)
class NewWebhook:
    """An address to tell of events. Empty `kinds` and `stages`: of all."""

    url: str
    kinds: tuple[Literal["landed", "failed"], ...] = ()
    stages: tuple[str, ...] = ()


@dataclass(frozen=True)
class WebhookEntry:
    """A webhook. The secret is shown only when it is added."""

    webhook_id: str
    url: str
    kinds: tuple[str, ...]
    stages: tuple[str, ...]
    added_at: datetime
    waiting: int
    last_error: str | None
    secret: str | None = None
