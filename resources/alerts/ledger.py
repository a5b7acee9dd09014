"""Which alerts are raised, and which channel has told of it, so that each change is told once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from resources.database import open_database, writing

KEPT = timedelta(days=30)
"""How long an alert that is over stays in the list."""

SCHEMA = sa.MetaData()
_ALERTS = sa.Table(
    "podlake_alerts",
    SCHEMA,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("subject", sa.String(200), primary_key=True),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("raised_at", sa.DateTime, nullable=False),
    sa.Column("over_at", sa.DateTime),
)
_TOLD = sa.Table(
    "podlake_alerts_told",
    SCHEMA,
    sa.Column("channel", sa.String(20), primary_key=True),
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("subject", sa.String(200), primary_key=True),
    sa.Column("raised_at", sa.DateTime, primary_key=True),
    sa.Column("is_over", sa.Boolean, primary_key=True),
)


@dataclass(frozen=True)
class Alert:
    """Something that a person has to look at."""

    name: str
    """What kind: `engine_fails`, `low_disk`."""
    subject: str
    """What it is about: a feed, a stage, a check; with the name its identity."""
    message: str
    """What happened and what to do."""


@dataclass(frozen=True)
class RaisedAlert:
    """An alert with its times, UTC."""

    alert: Alert
    raised_at: datetime
    over_at: datetime | None = None


@dataclass(frozen=True)
class AlertLedger:
    """The alerts in a database."""

    database: sa.Engine

    @classmethod
    def at(cls, url: str) -> AlertLedger:
        return cls(open_database(url, SCHEMA))

    def update(self, alerts: Iterable[Alert]) -> None:
        """These alerts hold now; those that are raised and not among them are over."""
        now = _now()
        wanted = {(alert.name, alert.subject): alert for alert in alerts}
        with writing(self.database) as connection:
            known = {(row.name, row.subject): row for row in connection.execute(sa.select(_ALERTS))}
            for key, alert in wanted.items():
                row = known.get(key)
                if row is None:
                    values = {"name": alert.name, "subject": alert.subject, "raised_at": now}
                    connection.execute(_ALERTS.insert().values(message=alert.message, **values))
                elif row.over_at is not None:
                    change = _ALERTS.update().where(*_is(key))
                    connection.execute(change.values(message=alert.message, raised_at=now, over_at=None))
                elif row.message != alert.message:
                    connection.execute(_ALERTS.update().where(*_is(key)).values(message=alert.message))
            for key, row in known.items():
                if key not in wanted and row.over_at is None:
                    connection.execute(_ALERTS.update().where(*_is(key)).values(over_at=now))
            connection.execute(_ALERTS.delete().where(_ALERTS.c.over_at < now - KEPT))
            connection.execute(_TOLD.delete().where(_TOLD.c.raised_at < now - 12 * KEPT))

    def untold(self, channel: str) -> list[RaisedAlert]:
        """Alerts that are raised or over, and of which the channel has not told so, the oldest first.

        Of an alert that was over before the channel told that it is raised, it tells nothing.
        """
        with self.database.connect() as connection:
            rows = connection.execute(sa.select(_ALERTS).order_by(_ALERTS.c.raised_at, _ALERTS.c.name)).all()
            told = {
                (row.name, row.subject, row.raised_at, row.is_over)
                for row in connection.execute(sa.select(_TOLD).where(_TOLD.c.channel == channel))
            }
        found = []
        for row in rows:
            is_over, key = row.over_at is not None, (row.name, row.subject, row.raised_at)
            if (*key, is_over) not in told and (not is_over or (*key, False) in told):
                found.append(_raised(row))
        return found

    def note_told(self, channel: str, raised: RaisedAlert) -> None:
        """The channel has told of the alert as it is."""
        row = {
            "channel": channel, "name": raised.alert.name, "subject": raised.alert.subject,
            "raised_at": raised.raised_at.replace(tzinfo=None), "is_over": raised.over_at is not None,
        }  # fmt: skip
        with writing(self.database) as connection:
            connection.execute(_TOLD.insert().values(**row))

    def all(self) -> list[RaisedAlert]:
        """Raised ones first, then those that are over, the newest first."""
        query = sa.select(_ALERTS).order_by(_ALERTS.c.over_at.is_not(None), _ALERTS.c.raised_at.desc())
        with self.database.connect() as connection:
            return [_raised(row) for row in connection.execute(query)]


def _is(key: tuple[str, str]) -> tuple[sa.ColumnElement[bool], ...]:
    return _ALERTS.c.name == key[0], _ALERTS.c.subject == key[1]


def _raised(row: sa.Row[tuple[object, ...]]) -> RaisedAlert:
    over_at = row.over_at.replace(tzinfo=UTC) if row.over_at else None
    return RaisedAlert(Alert(row.name, row.subject, row.message), row.raised_at.replace(tzinfo=UTC), over_at)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
