"""The outbox of notifications: one for each podcast that is completed or has failed, told by WebSocket and by e-mail once.

Ids grow in the order in which notifications become visible, so that a client that has seen one has seen those before it.
An e-mail is claimed with a lease before the mail server is asked. Immediately before its content is sent, it is recorded
as `sending`. A process that is killed earlier leaves a lease that expires, and another process sends the e-mail. One that
is killed later leaves `sending` for ever: the server may have taken it, and nobody is told twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa

from resources.database import for_update, open_database, writing, writing_alone
from resources.studio.ledger import REQUESTS, Request, requests_of
from resources.studio.request_limits import REMEMBERED

KEPT = timedelta(days=30)
MAIL_LEASE = timedelta(minutes=3)
"""Longer than the time limits of a connection to a mail server together."""
MAIL_RETRY = (timedelta(seconds=10), timedelta(hours=1))
"""Wait after the first refusal, doubled after each; and the longest."""
MAIL_GIVEN_UP = timedelta(days=3)

SCHEMA = sa.MetaData()
_NOTIFICATIONS = sa.Table(
    "podcast_notifications", SCHEMA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("podcast_id", sa.String(120), nullable=False, unique=True),
    sa.Column("user_id", sa.String(200), nullable=False, index=True),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("address", sa.String(254)),
    sa.Column("mail", sa.String(16), nullable=False, index=True),
    sa.Column("mail_claim", sa.String(32)),
    sa.Column("mail_next_at", sa.Float, nullable=False),
    sa.Column("mail_tries", sa.Integer, nullable=False),
    sa.Column("mail_error", sa.Text),
    sqlite_autoincrement=True,
)  # fmt: skip
_SEEN = sa.Table(
    "podcast_notifications_seen", SCHEMA,
    sa.Column("user_id", sa.String(200), primary_key=True),
    sa.Column("last_id", sa.Integer, nullable=False),
)  # fmt: skip

Outcome = Literal["completed", "failed"]
Mail = Literal["none", "waiting", "claimed", "sending", "sent", "given_up"]


@dataclass(frozen=True)
class Finished:
    """A request that has ended, and where its user is told of it."""

    request: Request
    state: Outcome
    error: str | None = None
    address: str | None = None


@dataclass(frozen=True)
class Notification:
    """What a requester is told."""

    id: int
    podcast_id: str
    user_id: str
    title: str
    state: Outcome
    error: str | None
    at: datetime
    address: str | None = None
    claim: str | None = None
    """Of the process that sends its e-mail."""


@dataclass(frozen=True)
class Notifications:
    """The outbox in a database, which several processes use at once."""

    database: sa.Engine

    @classmethod
    def at(cls, url: str) -> Notifications:
        return cls(open_database(url, SCHEMA))

    def untold(self, now: datetime) -> list[Request]:
        """The requests without a notification, oldest first: those that are under way, and those that have just ended."""
        query = (
            sa.select(REQUESTS)
            .join(_NOTIFICATIONS, _NOTIFICATIONS.c.podcast_id == REQUESTS.c.podcast_id, isouter=True)
            .where(
                _NOTIFICATIONS.c.id.is_(None),
                REQUESTS.c.cancelled_at.is_(None),
                REQUESTS.c.admitted_at >= (now - REMEMBERED).timestamp(),
            )
            .order_by(REQUESTS.c.admitted_at, REQUESTS.c.podcast_id)
        )
        with self.database.connect() as connection:
            return requests_of(connection, query)

    def put(self, finished: Sequence[Finished], now: datetime) -> None:
        """Take them into the outbox. One that is there already is left out."""
        rows = [
            {
                "podcast_id": one.request.podcast_id, "user_id": one.request.user_id, "title": one.request.title,
                "state": one.state, "error": one.error, "at": now.timestamp(), "address": one.address,
                "mail": "waiting" if one.address else "none", "mail_next_at": now.timestamp(), "mail_tries": 0,
            }
            for one in finished
        ]  # fmt: skip
        # Beside another transaction, a lower id could become visible after a higher one.
        with writing_alone(self.database, "podcast notifications") as connection:
            for row in rows:
                here = sa.select(_NOTIFICATIONS.c.id).where(_NOTIFICATIONS.c.podcast_id == row["podcast_id"])
                if connection.execute(here).first() is None:
                    connection.execute(_NOTIFICATIONS.insert().values(**row))
            connection.execute(_NOTIFICATIONS.delete().where(_NOTIFICATIONS.c.at < (now - KEPT).timestamp()))

    def newest_id(self) -> int:
        with self.database.connect() as connection:
            return connection.execute(sa.select(sa.func.max(_NOTIFICATIONS.c.id))).scalar() or 0

    def users_after(self, last_id: int) -> set[str]:
        """The users with notifications after this one."""
        with self.database.connect() as connection:
            query = sa.select(_NOTIFICATIONS.c.user_id).where(_NOTIFICATIONS.c.id > last_id).distinct()
            return set(connection.execute(query).scalars())

    def after(self, user_id: str, last_id: int, most: int = 100) -> list[Notification]:
        """The user's notifications after this one, oldest first."""
        is_wanted = (_NOTIFICATIONS.c.user_id == user_id) & (_NOTIFICATIONS.c.id > last_id)
        query = sa.select(_NOTIFICATIONS).where(is_wanted).order_by(_NOTIFICATIONS.c.id).limit(most)
        with self.database.connect() as connection:
            return [_notification(row) for row in connection.execute(query)]

    def acknowledge(self, user_id: str, last_id: int) -> bool:
        """Record that the user has seen this one and those before it. Returns whether it is theirs."""
        with writing(self.database) as connection:
            own = (_NOTIFICATIONS.c.user_id == user_id) & (_NOTIFICATIONS.c.id == last_id)
            if connection.execute(sa.select(_NOTIFICATIONS.c.id).where(own)).first() is None:
                return False
            # Another of the user's clients may write the first row at this moment.
            connection.execute(_insert(connection)(_SEEN).on_conflict_do_nothing(), {"user_id": user_id, "last_id": 0})
            is_later = (_SEEN.c.user_id == user_id) & (_SEEN.c.last_id < last_id)
            connection.execute(_SEEN.update().where(is_later).values(last_id=last_id))
            return True

    def acknowledged(self, user_id: str) -> int:
        """The last notification that the user has seen; 0: none."""
        with self.database.connect() as connection:
            return connection.execute(sa.select(_SEEN.c.last_id).where(_SEEN.c.user_id == user_id)).scalar() or 0

    def claim_mail(self, now: datetime) -> Notification | None:
        """The next e-mail that is due, claimed for the caller until the lease expires."""
        is_due = _NOTIFICATIONS.c.mail.in_(("waiting", "claimed")) & (_NOTIFICATIONS.c.mail_next_at <= now.timestamp())
        query = sa.select(_NOTIFICATIONS).where(is_due).order_by(_NOTIFICATIONS.c.mail_next_at).limit(1)
        claim = secrets.token_hex(16)
        with writing(self.database) as connection:
            row = connection.execute(for_update(query)).first()
            if row is None:
                return None
            lease = {"mail": "claimed", "mail_claim": claim, "mail_next_at": (now + MAIL_LEASE).timestamp()}
            connection.execute(_NOTIFICATIONS.update().where(_NOTIFICATIONS.c.id == row.id).values(**lease))
            return _notification(row, claim)

    def begin_mail(self, one: Notification, now: datetime) -> bool:
        """Record that the content is sent now. False: the lease has expired, and another process may send it."""
        is_valid = (_NOTIFICATIONS.c.mail == "claimed") & (_NOTIFICATIONS.c.mail_next_at > now.timestamp())
        return self._note_mail(one, {"mail": "sending"}, is_valid)

    def note_sent(self, one: Notification) -> None:
        self._note_mail(one, {"mail": "sent", "mail_error": None})

    def note_unanswered(self, one: Notification, error: str) -> None:
        """It stays as it is, because the mail server may have taken it."""
        self._note_mail(one, {"mail_error": error})

    def note_refused(self, one: Notification, error: str, now: datetime) -> None:
        """Try again later; for three days."""
        with self.database.connect() as connection:
            tries = connection.execute(
                sa.select(_NOTIFICATIONS.c.mail_tries).where(_NOTIFICATIONS.c.id == one.id)
            ).scalar()
        wait = min(MAIL_RETRY[0] * 2 ** min(tries or 0, 20), MAIL_RETRY[1])
        is_over = now - one.at > MAIL_GIVEN_UP
        values = {"mail": "given_up" if is_over else "waiting", "mail_next_at": (now + wait).timestamp(),
                  "mail_tries": (tries or 0) + 1, "mail_error": error}  # fmt: skip
        self._note_mail(one, values)

    def outcomes(self, since: datetime) -> dict[Outcome, int]:
        """How many podcasts have ended since then, by outcome."""
        query = sa.select(_NOTIFICATIONS.c.state, sa.func.count()).group_by(_NOTIFICATIONS.c.state)
        with self.database.connect() as connection:
            rows = connection.execute(query.where(_NOTIFICATIONS.c.at >= since.timestamp()))
            return {row[0]: row[1] for row in rows}

    def mails(self) -> dict[Mail, int]:
        """E-mails by state."""
        query = sa.select(_NOTIFICATIONS.c.mail, sa.func.count()).group_by(_NOTIFICATIONS.c.mail)
        with self.database.connect() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def _note_mail(
        self, one: Notification, values: dict[str, Any], is_valid: sa.ColumnElement[bool] | None = None
    ) -> bool:
        where = (_NOTIFICATIONS.c.id == one.id) & (_NOTIFICATIONS.c.mail_claim == one.claim)
        where = where if is_valid is None else where & is_valid
        with writing(self.database) as connection:
            return bool(connection.execute(_NOTIFICATIONS.update().where(where).values(**values)).rowcount)


def _insert(connection: sa.Connection) -> Callable[..., Any]:
    from sqlalchemy.dialects import postgresql, sqlite

    return postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert


def _notification(row: Any, claim: str | None = None) -> Notification:
    at = datetime.fromtimestamp(row.at, UTC)
    return Notification(row.id, row.podcast_id, row.user_id, row.title, row.state, row.error, at, row.address, claim)
