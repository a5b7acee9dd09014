"""Webhooks: each event is sent once to each address that wants it, signed, and again until it is accepted.

The outbox is in the database. An event has an id that does not change, and the outbox takes each id once per webhook,
so that a restart loses and repeats nothing; a receiver that answers after its time is told again, with the same id.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import sqlalchemy as sa

from gateway.landings import Event, as_json, landed
from resources.database import writing
from resources.fetch.addresses import AllowedHosts
from resources.fetch.connections import Clock, transport
from resources.lake.commits import Commit
from resources.lake.lake import Lake
from resources.lake.warehouse import ask, connect
from speech.errors import PodlakeError

RETRY_S = (5.0, 3600.0)
"""Wait after the first failed try, doubled after each; and the longest."""
GIVE_UP_S = 3 * 86_400.0
KEEP_S = 7 * 86_400.0
"""How long the outbox remembers what it has sent."""
_PRUNE_S = 3600.0
_SENT_AT_ONCE = 16
_TIMEOUT_S = 10.0
_OVERLAP_S = 600.0
log = logging.getLogger("podlake")

SCHEMA = sa.MetaData()
_WEBHOOKS = sa.Table(
    "podlake_webhooks",
    SCHEMA,
    sa.Column("webhook_id", sa.String(32), primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("secret", sa.String(64), nullable=False),
    sa.Column("kinds", sa.String(64), nullable=False),
    sa.Column("stages", sa.Text, nullable=False),
    sa.Column("added_at", sa.Float, nullable=False),
)
_OUTBOX = sa.Table(
    "podlake_outbox",
    SCHEMA,
    sa.Column("webhook_id", sa.String(32), primary_key=True),
    sa.Column("event_id", sa.String(400), primary_key=True),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("added_at", sa.Float, nullable=False),
    sa.Column("next_at", sa.Float, nullable=False, index=True),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("delivered_at", sa.Float),
    sa.Column("last_error", sa.Text),
)
_SEEN = sa.Table(
    "podlake_events_seen", SCHEMA, sa.Column("one", sa.Integer, primary_key=True), sa.Column("at", sa.Float)
)
_NEVER = float("inf")


@dataclass(frozen=True)
class Webhook:
    """An address that is told of events."""

    webhook_id: str
    url: str
    kinds: tuple[str, ...]
    """Empty: all."""
    stages: tuple[str, ...]
    """Empty: all."""
    added_at: datetime
    waiting: int = 0
    """Events that are not accepted yet."""
    last_error: str | None = None

    def wants(self, event: Event) -> bool:
        return (not self.kinds or event.kind in self.kinds) and (not self.stages or event.stage in self.stages)


@dataclass(frozen=True)
class Webhooks:
    """The webhooks and the outbox of a database."""

    database: sa.Engine

    def add(self, url: str, kinds: Sequence[str], stages: Sequence[str]) -> tuple[Webhook, str]:
        """Add a webhook. Returns its secret too, with which bodies are signed."""
        made, secret = (
            Webhook(secrets.token_hex(8), url, tuple(kinds), tuple(stages), datetime.now(UTC)),
            secrets.token_hex(32),
        )
        row = {"webhook_id": made.webhook_id, "url": url, "secret": secret, "kinds": ",".join(kinds),
               "stages": ",".join(stages), "added_at": made.added_at.timestamp()}  # fmt: skip
        with writing(self.database) as connection:
            connection.execute(_WEBHOOKS.insert().values(**row))
        return made, secret

    def remove(self, webhook_id: str) -> bool:
        with writing(self.database) as connection:
            connection.execute(_OUTBOX.delete().where(_OUTBOX.c.webhook_id == webhook_id))
            return bool(connection.execute(_WEBHOOKS.delete().where(_WEBHOOKS.c.webhook_id == webhook_id)).rowcount)

    def all(self) -> list[Webhook]:
        waiting = sa.func.count(_OUTBOX.c.event_id).filter(
            _OUTBOX.c.delivered_at.is_(None) & (_OUTBOX.c.next_at < _NEVER)
        )
        query = (
            sa.select(_WEBHOOKS, waiting.label("waiting"), sa.func.max(_OUTBOX.c.last_error).label("last_error"))
            .join(_OUTBOX, _OUTBOX.c.webhook_id == _WEBHOOKS.c.webhook_id, isouter=True)
            .group_by(*_WEBHOOKS.c)
            .order_by(_WEBHOOKS.c.added_at)
        )
        with self.database.connect() as connection:
            return [
                Webhook(row.webhook_id, row.url, _parts(row.kinds), _parts(row.stages),
                        datetime.fromtimestamp(row.added_at, UTC), row.waiting, row.last_error)
                for row in connection.execute(query)
            ]  # fmt: skip

    def _registered(self) -> list[Webhook]:
        """The webhooks, without a look at what is waiting."""
        with self.database.connect() as connection:
            return [
                Webhook(row.webhook_id, row.url, _parts(row.kinds), _parts(row.stages),
                        datetime.fromtimestamp(row.added_at, UTC))
                for row in connection.execute(sa.select(_WEBHOOKS).order_by(_WEBHOOKS.c.added_at))
            ]  # fmt: skip

    def put(self, events: Iterable[Event]) -> None:
        """Take events into the outbox. One that is there already is left out."""
        events, now = list(events), time.time()
        hooks = [hook for hook in self._registered() if any(hook.wants(event) for event in events)]
        rows = [
            {"webhook_id": hook.webhook_id, "event_id": event.id, "body": json.dumps(as_json(event), ensure_ascii=False),
             "added_at": now, "next_at": now}
            for hook in hooks for event in events
            if hook.wants(event) and event.at >= hook.added_at
        ]  # fmt: skip
        with writing(self.database) as connection:
            if rows:
                connection.execute(_insert_once(self.database), rows)
            seen = max((event.at.timestamp() for event in events), default=now)
            connection.execute(_SEEN.delete())
            connection.execute(_SEEN.insert().values(one=1, at=seen))

    def put_missed(self, lake: Lake) -> None:
        """Take what landed while no service ran: the outbox leaves out what it has."""
        with self.database.connect() as connection:
            seen = connection.execute(sa.select(_SEEN.c.at)).scalar()
        if seen is None or not self._registered():
            self.put([])
            return
        since = datetime.fromtimestamp(seen - _OVERLAP_S, UTC)
        with connect(lake.home) as lake_connection:
            rows = ask(lake_connection, _LANDED, [since])
        self.put([landed(Commit(*row)) for row in rows])

    def due(self) -> list[Any]:
        """What is sent now, with address and secret: of each webhook in turn, so that none waits for one that is down."""
        now = time.time()
        turn = sa.func.row_number().over(partition_by=_OUTBOX.c.webhook_id, order_by=_OUTBOX.c.next_at)
        query = (
            sa.select(_OUTBOX, _WEBHOOKS.c.url, _WEBHOOKS.c.secret)
            .join(_WEBHOOKS, _WEBHOOKS.c.webhook_id == _OUTBOX.c.webhook_id)
            .where(_OUTBOX.c.delivered_at.is_(None) & (_OUTBOX.c.next_at <= now))
            .order_by(turn, _OUTBOX.c.next_at)
            .limit(_SENT_AT_ONCE)
        )
        with self.database.connect() as connection:
            return list(connection.execute(query))

    def note(self, webhook_id: str, event_id: str, error: str | None, attempts: int, added_at: float) -> None:
        """Record a try: accepted if there is no error."""
        now = time.time()
        wait_s = min(RETRY_S[0] * 2 ** (attempts - 1), RETRY_S[1])
        next_at = _NEVER if error and now - added_at > GIVE_UP_S else now + wait_s
        values = {"attempts": attempts, "last_error": error, "next_at": next_at} | (
            {} if error else {"delivered_at": now}
        )
        where = (_OUTBOX.c.webhook_id == webhook_id) & (_OUTBOX.c.event_id == event_id)
        with writing(self.database) as connection:
            connection.execute(_OUTBOX.update().where(where).values(**values))

    def prune(self) -> None:
        with writing(self.database) as connection:
            connection.execute(_OUTBOX.delete().where(_OUTBOX.c.added_at < time.time() - KEEP_S))


_LANDED = """
select episode_id, stage, stamp from stage_runs
where outcome = 'landed' and stamp is not null and finished_at >= ? order by stamp
"""


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """`sha256=` and the HMAC of `<timestamp>.<body>`: a receiver compares it, and refuses old timestamps."""
    return "sha256=" + hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


@asynccontextmanager
async def sending(webhooks: Webhooks, lake: Lake, allowed: AllowedHosts) -> AsyncIterator[None]:
    """Send what the outbox holds."""
    await asyncio.to_thread(webhooks.put_missed, lake)
    tls = ssl.create_default_context()

    async def send() -> None:
        pruned_s = 0.0
        while True:
            try:
                due = await asyncio.to_thread(webhooks.due)
                await asyncio.gather(*(asyncio.to_thread(_send, webhooks, row, allowed, tls) for row in due))
                if time.monotonic() - pruned_s > _PRUNE_S:
                    await asyncio.to_thread(webhooks.prune)
                    pruned_s = time.monotonic()
            except Exception:
                log.exception("Webhooks could not be sent; they are tried again")
                due = []
            await asyncio.sleep(0 if due else 1.0)

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _send(webhooks: Webhooks, row: Any, allowed: AllowedHosts, tls: ssl.SSLContext) -> None:
    """One try. A redirect is not followed: the address was chosen by an administrator."""
    body, now = row.body.encode(), int(time.time())
    headers = {
        "Content-Type": "application/json", "User-Agent": "podlake", "X-Podlake-Event": row.event_id,
        "X-Podlake-Timestamp": str(now), "X-Podlake-Signature": signature(row.secret, now, body),
    }  # fmt: skip
    error = None
    try:
        with httpx.Client(transport=transport(tls, allowed, Clock(row.url, _TIMEOUT_S)), timeout=_TIMEOUT_S) as client:
            answer = client.post(row.url, content=body, headers=headers)
        if not answer.is_success:
            error = f"The server answered {answer.status_code}."
    except (httpx.HTTPError, httpx.InvalidURL, PodlakeError) as failure:
        error = str(failure) or type(failure).__name__
    webhooks.note(row.webhook_id, row.event_id, error, row.attempts + 1, row.added_at)


def _insert_once(database: sa.Engine) -> sa.Insert:
    from sqlalchemy.dialects import postgresql, sqlite

    dialect = postgresql if database.dialect.name == "postgresql" else sqlite
    return dialect.insert(_OUTBOX).on_conflict_do_nothing()


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)
