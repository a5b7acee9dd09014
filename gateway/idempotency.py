"""Idempotency-Key: a request that is repeated with the same key gets the first answer, and does nothing again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Generic, TypeVar

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.exc import IntegrityError

from gateway.errors import Problem
from resources.database import writing

KEEP_S = 86_400.0
_ABANDONED_S = 3600.0
"""A request without an answer for so long was interrupted: its key may be used again."""
SCHEMA = sa.MetaData()
_REQUESTS = sa.Table(
    "podlake_requests",
    SCHEMA,
    sa.Column("key_hash", sa.String(64), primary_key=True),
    sa.Column("content_hash", sa.String(64), nullable=False),
    sa.Column("began_at", sa.Float, nullable=False),
    sa.Column("answer", sa.Text),
)
Answer = TypeVar("Answer")


class Once(Generic[Answer]):
    """Does work once per key. `key` None: each time."""

    def __init__(self, database: sa.Engine, kind: type[Answer]) -> None:
        self._database, self._adapter = database, TypeAdapter(kind)

    def do(self, who: str, key: str | None, content: str, work: Callable[[], Answer]) -> Answer:
        """The answer of the work, or of the earlier request. Raises `Problem` 409 or 422. `content` is its hash."""
        if key is None:
            return work()
        if not 1 <= len(key) <= 255:
            raise Problem(400, "The Idempotency-Key has 1 to 255 characters.")
        name = hashlib.sha256(f"{who}\0{key}".encode()).hexdigest()
        earlier = self._begin(name, content)
        if earlier is not None:
            return self._adapter.validate_json(earlier)
        try:
            answer = work()
        except BaseException:
            with writing(self._database) as connection:
                connection.execute(_REQUESTS.delete().where(_REQUESTS.c.key_hash == name))
            raise
        with writing(self._database) as connection:
            values = {"answer": self._adapter.dump_json(answer).decode()}
            connection.execute(_REQUESTS.update().where(_REQUESTS.c.key_hash == name).values(**values))
        return answer

    def _begin(self, name: str, content: str) -> str | None:
        """The earlier answer; None: the work is ours."""
        now = time.time()
        is_old = (_REQUESTS.c.began_at < now - KEEP_S) | (
            _REQUESTS.c.answer.is_(None) & (_REQUESTS.c.began_at < now - _ABANDONED_S)
        )
        try:
            with writing(self._database) as connection:
                connection.execute(_REQUESTS.delete().where(is_old))
                connection.execute(_REQUESTS.insert().values(key_hash=name, content_hash=content, began_at=now))
        except IntegrityError:
            pass
        else:
            return None
        with self._database.connect() as connection:
            row = connection.execute(sa.select(_REQUESTS).where(_REQUESTS.c.key_hash == name)).first()
        if row is None or (row.answer is None and row.content_hash == content):
            raise Problem(
                409, "A request with this Idempotency-Key is in work. Try again.", headers={"Retry-After": "2"}
            )
        if row.content_hash != content:
            raise Problem(422, "This Idempotency-Key belongs to another request: use a new one.")
        return str(row.answer)
