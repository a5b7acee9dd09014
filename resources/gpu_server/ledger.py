"""Who uses a GPU server, since when it is idle, and the lock of those who wake or shelve it: rows of the database.

Uses and the lock are leases: a process that is killed stops renewing them, and they end.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property

import sqlalchemy as sa

from resources.database import open_database, writing

LEASE = timedelta(seconds=120)
"""How long a user, or the holder of the lock, may be silent."""
RENEW_S = 30.0

SCHEMA = sa.MetaData()
_SERVERS = sa.Table(
    "gpu_servers",
    SCHEMA,
    sa.Column("server", sa.String(200), primary_key=True),
    sa.Column("is_on", sa.Boolean),
    sa.Column("used_at", sa.DateTime, nullable=False),
    sa.Column("seen_at", sa.DateTime),
    sa.Column("shelve_asked_at", sa.DateTime),
    sa.Column("problem", sa.Text),
    sa.Column("lock_owner", sa.String(32)),
    sa.Column("lock_ends_at", sa.DateTime),
)
_USES = sa.Table(
    "gpu_server_uses",
    SCHEMA,
    sa.Column("use_id", sa.String(32), primary_key=True),
    sa.Column("server", sa.String(200), nullable=False, index=True),
    sa.Column("what", sa.String(200), nullable=False),
    sa.Column("ends_at", sa.DateTime, nullable=False),
)


@dataclass(frozen=True)
class KnownServer:
    """What is known about a server without asking the cloud."""

    server: str
    is_on: bool | None
    """As it was seen last; None: never."""
    used_at: datetime
    """When the last use ended, or when it was found running."""
    seen_at: datetime | None
    """When the cloud was last asked by the sensor."""
    shelve_asked_at: datetime | None
    problem: str | None
    """Why it could not be shelved."""


@dataclass(frozen=True)
class GpuServerLedger:
    """The rows of all GPU servers."""

    url: str | Callable[[], str]
    """A SQLAlchemy URL, or what finds it when the database is needed."""

    @cached_property
    def database(self) -> sa.Engine:
        return open_database(self.url if isinstance(self.url, str) else self.url(), SCHEMA)

    def arrive(self, server: str, what: str) -> str:
        """Note that work needs the server, before it is looked at. Returns the use's id."""
        use_id = secrets.token_hex(16)
        with writing(self.database) as connection:
            _add(connection, server)
            row = {"use_id": use_id, "server": server, "what": what[:200], "ends_at": _now() + LEASE}
            connection.execute(_USES.insert().values(**row))
        return use_id

    def renew(self, use_id: str, server: str, owner: str) -> None:
        """The user is alive, and so is its lock if it holds it. A use that has ended meanwhile begins again."""
        with writing(self.database) as connection:
            changed = connection.execute(_USES.update().where(_USES.c.use_id == use_id).values(ends_at=_now() + LEASE))
            if not changed.rowcount:
                row = {"use_id": use_id, "server": server, "what": "renewed", "ends_at": _now() + LEASE}
                connection.execute(_USES.insert().values(**row))
            mine = (_SERVERS.c.server == server, _SERVERS.c.lock_owner == owner)
            connection.execute(_SERVERS.update().where(*mine).values(lock_ends_at=_now() + LEASE))

    def leave(self, use_id: str, server: str) -> None:
        with writing(self.database) as connection:
            connection.execute(_USES.delete().where(_USES.c.use_id == use_id))
            connection.execute(_SERVERS.update().where(_SERVERS.c.server == server).values(used_at=_now()))

    def users(self, server: str) -> list[str]:
        """What uses the server, or waits for it."""
        query = sa.select(_USES.c.what).where(_USES.c.server == server, _USES.c.ends_at > _now()).order_by(_USES.c.what)
        with self.database.connect() as connection:
            return list(connection.execute(query).scalars())

    def known(self, server: str) -> KnownServer:
        """Idle time of a server that nobody has used begins now."""
        with writing(self.database) as connection:
            _add(connection, server)
            row = connection.execute(sa.select(_SERVERS).where(_SERVERS.c.server == server)).one()
        return _known(row)

    def all(self) -> list[KnownServer]:
        with self.database.connect() as connection:
            return [_known(row) for row in connection.execute(sa.select(_SERVERS).order_by(_SERVERS.c.server))]

    def try_lock(self, server: str, owner: str) -> bool:
        """Whether this owner alone may wake or shelve the server now."""
        with writing(self.database) as connection:
            _add(connection, server)
            is_free = sa.or_(
                _SERVERS.c.lock_owner.is_(None), _SERVERS.c.lock_ends_at <= _now(), _SERVERS.c.lock_owner == owner
            )
            changed = connection.execute(
                _SERVERS.update().where(_SERVERS.c.server == server, is_free)
                .values(lock_owner=owner, lock_ends_at=_now() + LEASE)
            )  # fmt: skip
            return bool(changed.rowcount)

    def unlock(self, server: str, owner: str) -> None:
        with writing(self.database) as connection:
            mine = (_SERVERS.c.server == server, _SERVERS.c.lock_owner == owner)
            connection.execute(_SERVERS.update().where(*mine).values(lock_owner=None, lock_ends_at=None))

    def note_on(self, server: str) -> None:
        """It was seen running, or is being woken. If it was off before, its idle time begins now."""
        with writing(self.database) as connection:
            here = _SERVERS.c.server == server
            was_on = connection.execute(sa.select(_SERVERS.c.is_on).where(here)).scalar()
            values = {} if was_on else {"used_at": _now()}
            connection.execute(_SERVERS.update().where(here).values(is_on=True, seen_at=_now(), **values))

    def note_off(self, server: str) -> None:
        self._note(server, is_on=False, seen_at=_now(), shelve_asked_at=None, problem=None)

    def note_shelving(self, server: str) -> None:
        self._note(server, shelve_asked_at=_now(), seen_at=_now(), problem=None)

    def note_woken(self, server: str) -> None:
        """It is wanted: what was asked before does not count any more."""
        self._note(server, shelve_asked_at=None, problem=None)

    def note_problem(self, server: str, problem: str) -> None:
        """It could not be shelved."""
        self._note(server, problem=problem, seen_at=_now())

    def _note(self, server: str, **values: object) -> None:
        with writing(self.database) as connection:
            connection.execute(_SERVERS.update().where(_SERVERS.c.server == server).values(**values))


def costly(known: KnownServer, users: Sequence[str], idle: timedelta, now: datetime) -> str | None:
    """Why a server runs that should not, and what to do; None: it is off, or has a reason to run.

    Twice the idle time is enough for whoever shelves it, so that a sensor that does not run is noticed too.
    """
    if known.problem:
        return f"{known.problem} It costs money: shelve it by hand (openstack server shelve {known.server})."
    if known.is_on and not users and now - known.used_at > 2 * idle:
        return (
            f"The GPU server {known.server} has been idle since {known.used_at:%Y-%m-%d %H:%M} UTC and still runs. Is Dagster's "
            f"daemon running, and its sensor gpu_servers on? Otherwise: openstack server shelve {known.server}."
        )
    return None


def _add(connection: sa.Connection, server: str) -> None:
    """The server's row, unless it is there. On PostgreSQL another transaction may add it at this moment."""
    insert: sa.Insert
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_into

        insert = insert_into(_SERVERS).values(server=server, used_at=_now()).on_conflict_do_nothing()
    else:
        insert = _SERVERS.insert().prefix_with("or ignore").values(server=server, used_at=_now())
    connection.execute(insert)


def _known(row: sa.Row[tuple[object, ...]]) -> KnownServer:
    return KnownServer(
        row.server, row.is_on, row.used_at.replace(tzinfo=UTC), row.seen_at and row.seen_at.replace(tzinfo=UTC),
        row.shelve_asked_at and row.shelve_asked_at.replace(tzinfo=UTC), row.problem,
    )  # fmt: skip


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
