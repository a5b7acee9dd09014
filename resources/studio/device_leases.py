"""Which request has which device for talking heads, which devices are set aside, and which tasks they were given.

It is SQL, so that several machines may use the devices. A lease ends by itself when it is not renewed. A task that was
given to a device stays noted until it is known how it ended: until then, the device is not free.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import sqlalchemy as sa

from resources.database import open_database, writing, writing_alone

LEASE_S = 60.0
"""A lease that is not renewed for so long has ended."""
BUSY_FOR_S = 600.0
"""A device that others use is looked at again after this time: no video takes longer on its server."""
UNFIT_S = 86_400.0
"""So long after its time aside, a device that nobody has found fit since then counts as unfit."""
TIMEOUTS = 2
"""Timeouts in a row after which a device is set aside until a person brings it back."""

SCHEMA = sa.MetaData()
LEASES = sa.Table(
    "video_leases", SCHEMA,
    sa.Column("device", sa.String(100), primary_key=True),
    sa.Column("video_id", sa.String(120), nullable=False, unique=True),
    sa.Column("token", sa.String(32), nullable=False),
    sa.Column("taken_at", sa.Float, nullable=False),
    sa.Column("ends_at", sa.Float, nullable=False),
)  # fmt: skip
DEVICES = sa.Table(
    "video_devices", SCHEMA,
    sa.Column("device", sa.String(100), primary_key=True),
    sa.Column("timeouts", sa.Integer, nullable=False),
    sa.Column("set_aside_at", sa.Float),
    sa.Column("until", sa.Float),
    sa.Column("reason", sa.Text),
)  # fmt: skip
TASKS = sa.Table(
    "video_tasks", SCHEMA,
    sa.Column("code", sa.String(36), primary_key=True),
    sa.Column("video_id", sa.String(120), nullable=False, index=True),
    sa.Column("device", sa.String(100), nullable=False, index=True),
    sa.Column("speech_sha256", sa.String(64), nullable=False),
    sa.Column("given_at", sa.Float, nullable=False),
    sa.Column("ended_at", sa.Float),
    sa.Column("answer", sa.Text),
)  # fmt: skip


@dataclass(frozen=True)
class Lease:
    """A device that belongs to a request, as long as the token is the one in the database."""

    device: str
    video_id: str
    token: str
    taken_at: float


@dataclass(frozen=True)
class Task:
    """A task that a device was given."""

    code: str
    video_id: str
    device: str
    speech_sha256: str
    """Of the speech that it is made from."""
    given_at: float
    ended_at: float | None
    answer: str | None
    """What the server said at its end, as JSON. It says so once."""


@dataclass(frozen=True)
class DeviceState:
    """A device now."""

    device: str
    video_id: str | None
    """The request that has it."""
    leased_at: float | None
    set_aside_at: float | None
    until: float | None
    """When it is looked at again; None: when a person brings it back."""
    reason: str | None
    """Why it is set aside."""
    timeouts: int
    """In a row."""

    @property
    def is_free(self) -> bool:
        return self.video_id is None and self.set_aside_at is None


class DeviceLeases:
    """The leases, in the database that several processes use at once. `clock` is the time of the leases in seconds."""

    def __init__(
        self, url: str | Callable[[], str], *, lease_s: float = LEASE_S, clock: Callable[[], float] = time.time
    ) -> None:
        self._url, self._lease_s, self._clock = url, lease_s, clock

    @property
    def renew_every_s(self) -> float:
        return self._lease_s / 4

    @cached_property
    def _engine(self) -> sa.Engine:
        return open_database(self._url if isinstance(self._url, str) else self._url(), SCHEMA)

    def take(self, video_id: str, devices: Sequence[str]) -> Lease | None:
        """A device for the request: the one that it has already, or the first free one; None if there is none.

        An earlier attempt of the request loses the lease.
        """
        with writing_alone(self._engine, "video leases") as connection:
            now = self._clock()
            states = _states(connection, devices, now)
            own = [name for name in devices if states[name].video_id == video_id and states[name].set_aside_at is None]
            busy = _with_tasks_of_others(connection, video_id)
            free = [name for name in devices if states[name].is_free and name not in busy]
            chosen = next(iter([*own, *free]), None)
            connection.execute(LEASES.delete().where(LEASES.c.video_id == video_id))
            if chosen is None:
                return None
            connection.execute(LEASES.delete().where(LEASES.c.device == chosen))
            lease = Lease(chosen, video_id, uuid.uuid4().hex, now)
            connection.execute(
                LEASES.insert().values(
                    device=chosen, video_id=video_id, token=lease.token, taken_at=now, ends_at=now + self._lease_s
                )
            )
            return lease

    def renew(self, lease: Lease) -> bool:
        """Whether the request still has the device. An ended lease that nobody has taken is renewed too."""
        with writing(self._engine) as connection:
            here = (LEASES.c.device == lease.device, LEASES.c.token == lease.token)
            found = connection.execute(LEASES.update().where(*here).values(ends_at=self._clock() + self._lease_s))
            return bool(found.rowcount)

    def release(self, lease: Lease) -> None:
        with writing(self._engine) as connection:
            connection.execute(LEASES.delete().where(LEASES.c.device == lease.device, LEASES.c.token == lease.token))

    def release_of(self, video_id: str) -> None:
        """Release the device of a request that is not wanted any more."""
        with writing(self._engine) as connection:
            connection.execute(LEASES.delete().where(LEASES.c.video_id == video_id))

    def states(self, devices: Sequence[str]) -> list[DeviceState]:
        with self._engine.connect() as connection:
            found = _states(connection, devices, self._clock())
        return [found[name] for name in devices]

    def unfit(self, devices: Sequence[str]) -> list[DeviceState]:
        """The devices that are set aside, or were, and have not been found fit since.

        Whether one that may be looked at again is fit shows when a request needs it.
        """
        now = self._clock()
        with self._engine.connect() as connection:
            found = _states(connection, devices, now, grace_s=UNFIT_S)
        return [found[name] for name in devices if found[name].set_aside_at is not None]

    def set_aside(self, device: str, reason: str, for_s: float | None = None) -> None:
        """Give the device to nobody, for a time or until a person brings it back."""
        now = self._clock()
        values = {"set_aside_at": now, "until": None if for_s is None else now + for_s, "reason": reason}
        with writing(self._engine) as connection:
            _device(connection, device, **values)

    def bring_back(self, device: str) -> None:
        """The device is used again."""
        with writing(self._engine) as connection:
            _device(connection, device, set_aside_at=None, until=None, reason=None, timeouts=0)

    def found_fit(self, device: str) -> None:
        """The device was looked at and can be used: why it was set aside before is over."""
        with writing(self._engine) as connection:
            known = (DEVICES.c.device == device, DEVICES.c.set_aside_at.is_not(None))
            connection.execute(DEVICES.update().where(*known).values(set_aside_at=None, until=None, reason=None))

    def timed_out(self, device: str) -> bool:
        """Note a timeout. Returns whether the device is set aside for it."""
        with writing(self._engine) as connection:
            known = connection.execute(sa.select(DEVICES.c.timeouts).where(DEVICES.c.device == device)).scalar() or 0
            values: dict[str, Any] = {"timeouts": known + 1}
            if known + 1 >= TIMEOUTS:
                reason = f"Its last {known + 1} videos were not finished in time. Restart its servers."
                values |= {"set_aside_at": self._clock(), "until": None, "reason": reason}
            _device(connection, device, **values)
            return known + 1 >= TIMEOUTS

    def succeeded(self, device: str) -> None:
        with writing(self._engine) as connection:
            _device(connection, device, timeouts=0)

    def give(self, video_id: str, device: str, speech_sha256: str) -> Task:
        """Note a task before the device is given it."""
        task = Task(str(uuid.uuid4()), video_id, device, speech_sha256, self._clock(), None, None)
        with writing(self._engine) as connection:
            connection.execute(
                TASKS.insert().values(
                    code=task.code,
                    video_id=video_id,
                    device=device,
                    speech_sha256=speech_sha256,
                    given_at=task.given_at,
                )
            )
        return task

    def end(self, code: str, answer: str | None = None) -> None:
        """Note that the task has ended, and what the server said. The first answer stays."""
        with writing(self._engine) as connection:
            connection.execute(
                TASKS.update().where(TASKS.c.code == code).values(
                    ended_at=sa.func.coalesce(TASKS.c.ended_at, self._clock()),
                    answer=sa.func.coalesce(TASKS.c.answer, answer),
                )
            )  # fmt: skip

    def last_task(self, video_id: str, speech_sha256: str) -> Task | None:
        """The last task of a request that is made from this speech."""
        query = sa.select(TASKS).where(TASKS.c.video_id == video_id, TASKS.c.speech_sha256 == speech_sha256)
        with self._engine.connect() as connection:
            row = connection.execute(query.order_by(TASKS.c.given_at.desc())).first()
        return None if row is None else Task(**row._mapping)

    def tasks_of(self, video_id: str) -> list[Task]:
        """All tasks of a request."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(TASKS).where(TASKS.c.video_id == video_id)).all()
        return [Task(**row._mapping) for row in rows]

    def open_tasks(self, *, device: str | None = None) -> list[Task]:
        """Tasks of which it is not known how they ended."""
        query = sa.select(TASKS).where(TASKS.c.ended_at.is_(None)).order_by(TASKS.c.given_at)
        query = query if device is None else query.where(TASKS.c.device == device)
        with self._engine.connect() as connection:
            return [Task(**row._mapping) for row in connection.execute(query)]

    def ended_tasks(self, before: float) -> list[Task]:
        """Tasks that ended before this time, for the removal of their files."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(TASKS).where(TASKS.c.ended_at < before)).all()
        return [Task(**row._mapping) for row in rows]


def _device(connection: sa.Connection, device: str, **values: Any) -> None:
    found = connection.execute(DEVICES.update().where(DEVICES.c.device == device).values(**values))
    if not found.rowcount:
        connection.execute(DEVICES.insert().values(**{"device": device, "timeouts": 0, **values}))


def _with_tasks_of_others(connection: sa.Connection, video_id: str) -> Collection[str]:
    query = sa.select(TASKS.c.device).where(TASKS.c.ended_at.is_(None), TASKS.c.video_id != video_id)
    return set(connection.execute(query).scalars())


def _states(
    connection: sa.Connection, devices: Sequence[str], now: float, *, grace_s: float = 0.0
) -> Mapping[str, DeviceState]:  # fmt: skip
    """Ended leases do not count, nor times aside that ended before `grace_s`."""
    leases = {row.device: row for row in connection.execute(sa.select(LEASES).where(LEASES.c.ends_at > now))}
    known = {row.device: row for row in connection.execute(sa.select(DEVICES))}
    found = {}
    for name in devices:
        lease, row = leases.get(name), known.get(name)
        aside = row is not None and row.set_aside_at is not None and (row.until is None or row.until > now - grace_s)
        found[name] = DeviceState(
            name, lease.video_id if lease else None, lease.taken_at if lease else None,
            row.set_aside_at if row and aside else None, row.until if row and aside else None,
            row.reason if row and aside else None, row.timeouts if row else 0,
        )  # fmt: skip
    return found
