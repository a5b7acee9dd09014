"""The ledger of requested podcasts: what was asked for, by whom, and which answer it got. It is SQL, in one transaction.

The state of a podcast is not stored here. It derives from Dagster's runs and from what has landed
(`dagster_project.podcasts`); the ledger asks for it, inside of its transaction, to count a user's open requests.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from partitions.keys import episode_key
from resources.database import open_database, writing, writing_alone
from resources.studio.claims import claim
from resources.studio.request_limits import exceeded
from speech.errors import PodcastCancelled
from speech.plain_text import is_line
from speech.script import ScriptRefused, ScriptTurn, parse_script

FEED_ID = "studio"
"""The feed of podcasts that are made here; their keys begin with it."""
KEYS_LAST = timedelta(days=1)
"""So long, a repeated idempotency key gets the answer of its first request."""
DECIDED_WITHIN = timedelta(seconds=60)
"""A key whose request was not decided after this time belongs to a process that has exited, and is decided again."""
LONGEST_TITLE = 200
LONGEST_KEY = 200

SCHEMA = sa.MetaData()
REQUESTS = sa.Table(
    "podcast_requests", SCHEMA,
    sa.Column("podcast_id", sa.String(120), primary_key=True),
    sa.Column("user_id", sa.String(200), nullable=False, index=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("language", sa.String(12), nullable=False),
    sa.Column("script", sa.Text, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("admitted_at", sa.Float, nullable=False, index=True),
    sa.Column("cancelled_at", sa.Float),
)  # fmt: skip
KEYS = sa.Table(
    "podcast_request_keys", SCHEMA,
    sa.Column("user_id", sa.String(200), primary_key=True),
    sa.Column("key", sa.String(LONGEST_KEY), primary_key=True),
    sa.Column("content", sa.String(64), nullable=False),
    sa.Column("begun_at", sa.Float, nullable=False),
    sa.Column("answer", sa.Text),
)  # fmt: skip
CLAIMS = sa.Table(
    "podcast_attempts", SCHEMA,
    sa.Column("podcast_id", sa.String(120), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("claimed_at", sa.Float, nullable=False),
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What a user may request."""

    at_once: int = 1
    """Pending or processing requests."""
    per_day: int = 5
    """Requests in a day of UTC, whatever became of them."""


@dataclass(frozen=True)
class Asked:
    """What a user asks for."""

    user_id: str
    script: str
    title: str
    language: str = "en"
    seed: int = 0
    """0: the voice's own."""

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Request:
    """An admitted request."""

    podcast_id: str
    user_id: str
    title: str
    language: str
    script: str
    seed: int
    admitted_at: datetime
    cancelled_at: datetime | None


@dataclass(frozen=True)
class Answer:
    """The answer to a request, as HTTP has it: 202 is admitted, the others say why not."""

    status: int
    code: str
    message: str
    podcast_id: str | None = None
    retry_after_s: int | None = None

    @property
    def is_admitted(self) -> bool:
        return self.podcast_id is not None


CheckTurns = Callable[[Sequence[ScriptTurn], str], None]
"""Raises `ScriptRefused` for turns that the voices cannot say in this language."""


class Ledger:
    """The requests, in the database that several processes use at once."""

    def __init__(self, url: str | Callable[[], str]) -> None:
        self._url = url
        """A SQLAlchemy URL, or what finds it when the database is needed."""

    @cached_property
    def _engine(self) -> sa.Engine:
        return open_database(self._url if isinstance(self._url, str) else self._url(), SCHEMA)

    def admit(
        self,
        asked: Asked,
        limits: Limits,
        open_of: Callable[[Sequence[Request]], Collection[str]],
        *,
        key: str | None = None,
        check_turns: CheckTurns = lambda _turns, _language: None,
        now: datetime | None = None,
    ) -> Answer:
        """Admit the request, or say why not. `open_of` tells which of a user's podcasts are pending or processing.

        With an idempotency key, the same request gets the same answer. Two requests at once are decided one after the
        other, and while the first one is decided, another with its key gets 409.
        """
        now = now or datetime.now(UTC)
        if key is None:
            with writing_alone(self._engine, f"podcasts {asked.user_id}") as connection:
                return self._decide(connection, asked, limits, open_of, check_turns, now)
        if not 0 < len(key) <= LONGEST_KEY:
            return Answer(400, "bad_idempotency_key", f"An idempotency key has 1 to {LONGEST_KEY} characters.")
        if known := self._reserve(asked, key, now):
            return known
        with writing_alone(self._engine, f"podcasts {asked.user_id}") as connection:
            # Another process may have taken the key over, because this one was slow.
            if known := self._answered(connection, asked, key):
                return known
            answer = self._decide(connection, asked, limits, open_of, check_turns, now)
            connection.execute(
                KEYS.update().where(KEYS.c.user_id == asked.user_id, KEYS.c.key == key)
                .values(answer=json.dumps(asdict(answer)))
            )  # fmt: skip
            return answer

    def _reserve(self, asked: Asked, key: str, now: datetime) -> Answer | None:
        """Note that the key is being decided; or the answer that it has already."""
        with writing_alone(self._engine, f"podcasts {asked.user_id}") as connection:
            connection.execute(KEYS.delete().where(KEYS.c.begun_at < (now - KEYS_LAST).timestamp()))
            here = (KEYS.c.user_id == asked.user_id, KEYS.c.key == key)
            row = connection.execute(sa.select(KEYS).where(*here)).first()
            if row is None:
                connection.execute(
                    KEYS.insert().values(
                        user_id=asked.user_id, key=key, content=asked.digest, begun_at=now.timestamp(), answer=None
                    )
                )
                return None
            if known := self._answered(connection, asked, key):
                return known
            if row.begun_at > (now - DECIDED_WITHIN).timestamp():
                return Answer(
                    409, "request_in_progress", "A request with this key is being decided. Ask again in a second."
                )
            connection.execute(KEYS.update().where(*here).values(begun_at=now.timestamp()))
            return None

    def _answered(self, connection: sa.Connection, asked: Asked, key: str) -> Answer | None:
        row = connection.execute(sa.select(KEYS).where(KEYS.c.user_id == asked.user_id, KEYS.c.key == key)).first()
        if row is None:
            return None
        if row.content != asked.digest:
            return Answer(422, "idempotency_key_reused", "This key was used for another request. Choose a new one.")
        return Answer(**json.loads(row.answer)) if row.answer else None

    def _decide(
        self,
        connection: sa.Connection,
        asked: Asked,
        limits: Limits,
        open_of: Callable[[Sequence[Request]], Collection[str]],
        check_turns: CheckTurns,
        now: datetime,
    ) -> Answer:
        try:
            check_title(asked.title)
            check_turns(parse_script(asked.script), asked.language)
        except ScriptRefused as refused:
            return Answer(400, refused.code, str(refused))
        over = exceeded(
            connection, REQUESTS, asked.user_id, now, name="podcast", at_once=limits.at_once, per_day=limits.per_day,
            n_open=lambda recent: len(open_of(requests_of(connection, recent))),
        )  # fmt: skip
        if over:
            return Answer(429, over.code, over.message, retry_after_s=over.retry_after_s)
        return Answer(202, "admitted", "The podcast is queued.", _insert(connection, asked, now))

    def cancel(self, podcast_id: str, now: datetime | None = None) -> bool:
        """Note that the podcast is not wanted any more. Returns whether there is such a request."""
        at = (now or datetime.now(UTC)).timestamp()
        with writing(self._engine) as connection:
            found = connection.execute(
                REQUESTS.update()
                .where(REQUESTS.c.podcast_id == podcast_id)
                .values(cancelled_at=sa.func.coalesce(REQUESTS.c.cancelled_at, at))
            )
            return bool(found.rowcount)

    def check_wanted(self, podcast_id: str) -> None:
        """Raise `PodcastCancelled` if the request was cancelled. A run asks before each part of its work."""
        with self._engine.connect() as connection:
            query = sa.select(REQUESTS.c.cancelled_at).where(REQUESTS.c.podcast_id == podcast_id)
            if connection.execute(query).scalar() is not None:
                raise PodcastCancelled(f"{podcast_id} was cancelled, so that it is not made.")

    def request(self, podcast_id: str) -> Request | None:
        with self._engine.connect() as connection:
            found = requests_of(connection, sa.select(REQUESTS).where(REQUESTS.c.podcast_id == podcast_id))
        return found[0] if found else None

    def requests(
        self,
        user_id: str | None = None,
        *,
        since: datetime | None = None,
        after: str | None = None,
        most: int | None = 1_000,
    ) -> list[Request]:
        """The newest requests, the newest first; of one user, or of all. With `most=None`, no number limits them.

        `after` is a podcast: the list goes on with the next older one.
        """
        query = sa.select(REQUESTS).order_by(REQUESTS.c.admitted_at.desc(), REQUESTS.c.podcast_id).limit(most)
        query = query if user_id is None else query.where(REQUESTS.c.user_id == user_id)
        query = query if since is None else query.where(REQUESTS.c.admitted_at >= since.timestamp())
        if after is not None:
            at = sa.select(REQUESTS.c.admitted_at).where(REQUESTS.c.podcast_id == after).scalar_subquery()
            is_next = (REQUESTS.c.admitted_at == at) & (REQUESTS.c.podcast_id > after)
            query = query.where((REQUESTS.c.admitted_at < at) | is_next)
        with self._engine.connect() as connection:
            return requests_of(connection, query)

    def claim(self, podcast_id: str, attempt: int, now: datetime | None = None) -> bool:
        """Claim an attempt, so that only one process starts its run. A claim without a run expires after two minutes."""
        attempted = {"podcast_id": podcast_id, "attempt": attempt}
        return claim(self._engine, CLAIMS, attempted, now or datetime.now(UTC))


def _insert(connection: sa.Connection, asked: Asked, now: datetime) -> str:
    """Write the request, and return its key: `studio-20261127-1a2b3c4d`."""
    number = connection.execute(sa.select(sa.func.count()).select_from(REQUESTS)).scalar()
    guid = f"{asked.digest} {number} {now.timestamp()}"
    taken = connection.execute(
        sa.select(REQUESTS.c.podcast_id).where(REQUESTS.c.admitted_at > now.timestamp() - 90_000)
    )
    podcast_id = episode_key(FEED_ID, guid, now, set(taken.scalars()))
    values: Mapping[str, Any] = {**asdict(asked), "podcast_id": podcast_id, "admitted_at": now.timestamp()}
    connection.execute(REQUESTS.insert().values(**values))
    return podcast_id


def check_title(title: str) -> None:
    """Raises `ScriptRefused`."""
    if not is_line(title) or len(title) > LONGEST_TITLE:
        raise ScriptRefused("bad_title", f"A title is one line of 1 to {LONGEST_TITLE} characters.")


def requests_of(connection: sa.Connection, query: sa.Select[Any]) -> list[Request]:
    """The requests that the query selects from `REQUESTS`."""
    return [
        Request(
            row.podcast_id, row.user_id, row.title, row.language, row.script, row.seed,
            datetime.fromtimestamp(row.admitted_at, UTC),
            None if row.cancelled_at is None else datetime.fromtimestamp(row.cancelled_at, UTC),
        )
        for row in connection.execute(query)
    ]  # fmt: skip
