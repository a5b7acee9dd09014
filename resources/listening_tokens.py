"""Tokens with which a user listens live to one episode or podcast. The database has their SHA-256."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import sqlalchemy as sa

from resources.database import writing

Kind = Literal["episode", "podcast"]

SCHEMA = sa.MetaData()
_TOKENS = sa.Table(
    "podlake_listening_tokens",
    SCHEMA,
    sa.Column("hash", sa.String(64), primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("key", sa.String(200), nullable=False),
    sa.Column("user_id", sa.String(300), nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False, index=True),
)


@dataclass(frozen=True)
class Grant:
    """Who may listen to what."""

    token_hash: str
    kind: Kind
    key: str
    """The episode, or the podcast."""
    user_id: str
    expires_at: datetime


@dataclass(frozen=True)
class ListeningTokens:
    """The tokens of a database."""

    database: sa.Engine

    def issue(self, kind: Kind, key: str, user_id: str, lasts: timedelta) -> tuple[str, Grant]:
        """A new token; it cannot be shown again. Tokens that have expired are removed."""
        token, now = secrets.token_urlsafe(32), datetime.now(UTC)
        grant = Grant(_hash(token), kind, key, user_id, now + lasts)
        row = {
            "hash": grant.token_hash, "kind": kind, "key": key, "user_id": user_id,
            "expires_at": grant.expires_at.timestamp(),
        }  # fmt: skip
        with writing(self.database) as connection:
            connection.execute(_TOKENS.delete().where(_TOKENS.c.expires_at < now.timestamp()))
            connection.execute(_TOKENS.insert().values(**row))
        return token, grant

    def grant(self, token: str, now: datetime | None = None) -> Grant | None:
        """What a token that has not expired is for."""
        valid = _TOKENS.c.expires_at > (now or datetime.now(UTC)).timestamp()
        query = sa.select(_TOKENS).where(_TOKENS.c.hash == _hash(token), valid)
        with self.database.connect() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return Grant(row.hash, row.kind, row.key, row.user_id, datetime.fromtimestamp(row.expires_at, UTC))


def _hash(token: str) -> str:
    """A token has 256 random bits, so that a fast hash suffices."""
    return hashlib.sha256(token.encode()).hexdigest()
