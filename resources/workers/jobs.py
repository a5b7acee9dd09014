"""Jobs for workers, with leases. A job is one recording for one engine.

A run submits jobs and waits for their results. A worker claims a job and has its lease for a limited time, which it
renews while it works. A lease that is not renewed ends, and the job is given to another worker. A result counts only
with a lease that has not ended. Every change is one transaction, so that no job is given to two workers.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from resources.database import for_update, open_database, writing
from speech.engines.protocols import EngineChoice, Slot

LEASE = timedelta(seconds=60)
"""How long a worker may be silent. It renews its leases three times as often."""
MOST_TRIES = 3
"""Leases of a job that may end without a result. Then the job fails, as its recording may be the cause."""
SUBMITTER_SILENCE = timedelta(seconds=120)
"""Jobs of a run that has been silent for so long are not given out."""

OUTCOMES_KEPT = timedelta(days=7)
"""How long the outcomes of a run that was killed wait for the next one."""

SCHEMA = sa.MetaData()
_JOBS = sa.Table(
    "worker_jobs",
    SCHEMA,
    sa.Column("job_id", sa.String(32), primary_key=True),
    sa.Column("submission", sa.String(64), nullable=False, index=True),
    sa.Column("submitter_seen_at", sa.DateTime, nullable=False),
    sa.Column("slot", sa.String(32), nullable=False),
    sa.Column("engine", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("episode_id", sa.String(200), nullable=False),
    sa.Column("audio_sha256", sa.String(64), nullable=False),
    sa.Column("language", sa.String(16)),
    sa.Column("created_at", sa.DateTime, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("tries", sa.Integer, nullable=False, default=0),
    sa.Column("lease_id", sa.String(32)),
    sa.Column("worker", sa.String(100)),
    sa.Column("lease_ends_at", sa.DateTime),
    sa.Column("done_ms", sa.Integer, nullable=False, default=0),
    sa.Column("outcome", sa.LargeBinary),
    sa.UniqueConstraint("slot", "fingerprint", "episode_id", "audio_sha256", name="worker_jobs_work"),
    sa.Index("worker_jobs_state", "state", "created_at"),
)
_WORKERS = sa.Table(
    "workers",
    SCHEMA,
    sa.Column("worker", sa.String(100), primary_key=True),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("version", sa.String(50), nullable=False),
    sa.Column("devices", sa.Text, nullable=False),
    sa.Column("languages", sa.Text, nullable=False),
    sa.Column("seen_at", sa.DateTime, nullable=False),
)
QUEUED, LEASED, FINISHED = "queued", "leased", "finished"


@dataclass(frozen=True)
class Work:
    """What a job asks for. Two jobs with the same work are one."""

    slot: Slot
    choice: EngineChoice
    fingerprint: str
    """Of the engine that the result has to come from."""
    episode_id: str
    audio_sha256: str
    language: str | None = None


@dataclass(frozen=True)
class Lease:
    """A job that a worker has until `ends_at`."""

    job_id: str
    lease_id: str
    work: Work
    fair_share: int = 1
    """How many jobs each device of the connected workers gets, if they share what waits."""
    duration_s: float = LEASE.total_seconds()
    """How long it holds. Renew it three times as often."""


@dataclass(frozen=True)
class Worker:
    """A process that takes jobs."""

    name: str
    host: str
    version: str
    devices: tuple[str, ...]
    languages: tuple[str, ...] = ()
    """Those that it takes; empty: all."""
    seen_at: datetime | None = None


@dataclass(frozen=True)
class Progress:
    """How far a worker is with a job."""

    job_id: str
    lease_id: str
    done_ms: int


@dataclass(frozen=True)
class FinishedJob:
    """A job with its outcome, as the worker's side of the protocol packed it. None: it was tried too often."""

    job_id: str
    outcome: bytes | None
    worker: str | None


@dataclass(frozen=True)
class RunningJob:
    """A job that a worker has now."""

    episode_id: str
    slot: str
    worker: str
    done_ms: int


@dataclass(frozen=True)
class JobQueue:
    """The jobs in a database, for any number of runs, gateways and workers at once."""

    database: sa.Engine
    lease: timedelta = LEASE

    @classmethod
    def at(cls, url: str, lease: timedelta = LEASE) -> JobQueue:
        return cls(open_database(url, SCHEMA), lease)

    # ── a run's side ──────────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, submission: str, works: Sequence[Work]) -> list[str]:
        """Queue the works for a submission. Returns their job ids.

        Work that an earlier submission has left, of a run that was killed, is taken over with what came of it.
        """
        now = _now()
        with writing(self.database) as connection:
            _lock(connection, _JOBS.c.episode_id.in_({work.episode_id for work in works}))
            # New rows in one order too: a second submission of the same work waits for the first one.
            ids = {_identity(work): _submit(connection, submission, work, now) for work in sorted(works, key=_identity)}
        return [ids[_identity(work)] for work in works]

    def keep_alive(self, job_ids: Collection[str]) -> None:
        """Say that a run waits for the jobs, also for those that another run has taken over and left.

        A row that a worker changes at this moment is left to the next call: waiting for it could be a deadlock.
        """
        awaited = for_update(sa.select(_JOBS.c.job_id).where(_JOBS.c.job_id.in_(job_ids)))
        with writing(self.database) as connection:
            found = list(connection.execute(awaited).scalars())
            connection.execute(_JOBS.update().where(_JOBS.c.job_id.in_(found)).values(submitter_seen_at=_now()))

    def finished(self, job_ids: Collection[str]) -> tuple[list[FinishedJob], set[str]]:
        """Those of the jobs that are over, and the ids of those that somebody has removed."""
        columns = (_JOBS.c.job_id, _JOBS.c.state, _JOBS.c.outcome, _JOBS.c.worker)
        with self.database.connect() as connection:
            rows = connection.execute(sa.select(*columns).where(_JOBS.c.job_id.in_(job_ids))).all()
        found = [FinishedJob(job_id, outcome, worker) for job_id, state, outcome, worker in rows if state == FINISHED]
        return found, set(job_ids) - {row.job_id for row in rows}

    def remove(self, job_ids: Collection[str]) -> None:
        """Forget jobs: their outcomes have landed."""
        with writing(self.database) as connection:
            _delete(connection, _JOBS.c.job_id.in_(job_ids))

    def withdraw(self, submission: str) -> None:
        """Forget the jobs of a submission that are not over; workers lose their lease. Outcomes stay for another run."""
        with writing(self.database) as connection:
            own = sa.and_(_JOBS.c.submission == submission, _JOBS.c.state != FINISHED)
            _delete(connection, sa.or_(own, _JOBS.c.submitter_seen_at < _now() - OUTCOMES_KEPT))

    # ── a worker's side, through the gateway ──────────────────────────────────────────────────────────────────────

    def claim(
        self,
        worker: Worker,
        *,
        slot: Slot | None = None,
        fingerprint: str | None = None,
        refused: Collection[str] = (),
    ) -> Lease | None:
        """Lease the oldest job to the worker; None if there is none for it.

        `slot` and `fingerprint` ask for jobs of one engine, which is warm; `refused` are engines that the worker cannot
        run. A job whose last lease has ended is given out again, at most `MOST_TRIES` times.
        """
        now = _now()
        free = sa.or_(_JOBS.c.state == QUEUED, sa.and_(_JOBS.c.state == LEASED, _JOBS.c.lease_ends_at < now))
        conditions = [free, _JOBS.c.submitter_seen_at > now - SUBMITTER_SILENCE]
        conditions += [_JOBS.c.slot == slot] if slot else []
        conditions += [_JOBS.c.fingerprint == fingerprint] if fingerprint else []
        conditions += [_JOBS.c.fingerprint.not_in(refused)] if refused else []
        if worker.languages:
            conditions.append(sa.or_(_JOBS.c.language.is_(None), _JOBS.c.language.in_(worker.languages)))
        oldest = sa.select(_JOBS).where(*conditions).order_by(_JOBS.c.created_at, _JOBS.c.job_id).limit(1)
        with writing(self.database) as connection:
            _note(connection, worker, now)
            while (job := connection.execute(for_update(oldest)).mappings().first()) is not None:
                own = _JOBS.update().where(_JOBS.c.job_id == job["job_id"])
                if job["tries"] >= MOST_TRIES:
                    connection.execute(own.values(state=FINISHED, outcome=None, lease_id=None))
                    continue
                lease_id = secrets.token_hex(16)
                connection.execute(
                    own.values(
                        state=LEASED, lease_id=lease_id, lease_ends_at=now + self.lease, worker=worker.name,
                        tries=job["tries"] + 1, done_ms=0,
                    )
                )  # fmt: skip
                share = _fair_share(connection, now)
                return Lease(job["job_id"], lease_id, _work(job), share, self.lease.total_seconds())
        return None

    def renew(self, worker: Worker, held: Iterable[Progress]) -> list[str]:
        """Extend leases and note the progress. Returns the ids of jobs whose lease the worker has lost."""
        now = _now()
        lost = []
        with writing(self.database) as connection:
            _note(connection, worker, now)
            for one in sorted(held, key=lambda one: one.job_id):
                values = {"lease_ends_at": now + self.lease, "done_ms": one.done_ms}
                if not _with_lease(connection, one.job_id, one.lease_id, now, values):
                    lost.append(one.job_id)
        return lost

    def finish(self, job_id: str, lease_id: str, outcome: bytes) -> bool:
        """Store a job's outcome. Returns False, and changes nothing, if the lease is lost."""
        values = {"state": FINISHED, "outcome": outcome, "lease_id": None}
        with writing(self.database) as connection:
            return _with_lease(connection, job_id, lease_id, _now(), values)

    def give_back(self, job_id: str, lease_id: str) -> bool:
        """Let another worker have the job: this try does not count. Returns False if the lease is lost."""
        values = {"state": QUEUED, "lease_id": None, "tries": _JOBS.c.tries - 1}
        with writing(self.database) as connection:
            return _with_lease(connection, job_id, lease_id, _now(), values)

    def leased(self, job_id: str, lease_id: str) -> Work | None:
        """What the worker with this lease works on; None if the lease is lost."""
        query = sa.select(_JOBS).where(*_lease_holds(job_id, lease_id, _now()))
        with self.database.connect() as connection:
            job = connection.execute(query).mappings().first()
        return None if job is None else _work(job)

    # ── for people ────────────────────────────────────────────────────────────────────────────────────────────────

    def counts(self) -> dict[str, int]:
        """State → number of jobs."""
        query = sa.select(_JOBS.c.state, sa.func.count()).group_by(_JOBS.c.state)
        with self.database.connect() as connection:
            return {QUEUED: 0, LEASED: 0, FINISHED: 0} | {
                state: int(count) for state, count in connection.execute(query)
            }

    def running(self) -> list[RunningJob]:
        """Jobs with a lease that has not ended."""
        columns = (_JOBS.c.episode_id, _JOBS.c.slot, _JOBS.c.worker, _JOBS.c.done_ms)
        query = sa.select(*columns).where(_JOBS.c.state == LEASED, _JOBS.c.lease_ends_at >= _now())
        with self.database.connect() as connection:
            return [RunningJob(*row) for row in connection.execute(query.order_by(_JOBS.c.job_id))]

    def workers(self, within: timedelta = timedelta(days=1)) -> list[Worker]:
        """Those that were seen in this time, by name."""
        query = sa.select(_WORKERS).where(_WORKERS.c.seen_at > _now() - within).order_by(_WORKERS.c.worker)
        with self.database.connect() as connection:
            return [
                Worker(
                    row["worker"], row["host"], row["version"], tuple(json.loads(row["devices"])),
                    tuple(json.loads(row["languages"])), row["seen_at"].replace(tzinfo=UTC),
                )
                for row in connection.execute(query).mappings()
            ]  # fmt: skip


def _lock(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[str]:
    """Lock the jobs until the transaction ends. Returns their ids.

    Whoever changes several jobs in one transaction locks them in the order of their ids, so that two never wait for
    each other.
    """
    rows = sa.select(_JOBS.c.job_id).where(condition).order_by(_JOBS.c.job_id).with_for_update()
    return list(connection.execute(rows).scalars())


def _delete(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> None:
    connection.execute(_JOBS.delete().where(_JOBS.c.job_id.in_(_lock(connection, condition)), condition))


def _identity(work: Work) -> tuple[str, str, str, str]:
    return work.slot, work.fingerprint, work.episode_id, work.audio_sha256


def _is_of(work: Work) -> sa.ColumnElement[bool]:
    return sa.and_(
        _JOBS.c.slot == work.slot, _JOBS.c.fingerprint == work.fingerprint,
        _JOBS.c.episode_id == work.episode_id, _JOBS.c.audio_sha256 == work.audio_sha256,
    )  # fmt: skip


def _submit(connection: sa.Connection, submission: str, work: Work, now: datetime) -> str:
    owner = {"submission": submission, "submitter_seen_at": now}
    left = connection.execute(sa.select(_JOBS.c.job_id, _JOBS.c.outcome, _JOBS.c.state).where(_is_of(work))).first()
    if left is not None:
        job_id, outcome, state = left
        gave_up = {"state": QUEUED, "tries": 0} if state == FINISHED and outcome is None else {}
        connection.execute(_JOBS.update().where(_JOBS.c.job_id == job_id).values(**owner, **gave_up))
        return str(job_id)
    job_id = secrets.token_hex(16)
    engine = json.dumps({"name": work.choice.name, "model": work.choice.model, "options": dict(work.choice.options)})
    connection.execute(
        _JOBS.insert().values(
            job_id=job_id, slot=work.slot, engine=engine, fingerprint=work.fingerprint, episode_id=work.episode_id,
            audio_sha256=work.audio_sha256, language=work.language, created_at=now, state=QUEUED, **owner,
        )
    )  # fmt: skip
    return job_id


def _with_lease(
    connection: sa.Connection, job_id: str, lease_id: str, now: datetime, values: Mapping[str, object]
) -> bool:
    """Change the job if the lease holds. Returns whether it did."""
    changed = connection.execute(_JOBS.update().where(*_lease_holds(job_id, lease_id, now)).values(**values))
    return changed.rowcount == 1


def _lease_holds(job_id: str, lease_id: str, now: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        _JOBS.c.job_id == job_id,
        _JOBS.c.lease_id == lease_id,
        _JOBS.c.state == LEASED,
        _JOBS.c.lease_ends_at >= now,
    )


def _fair_share(connection: sa.Connection, now: datetime) -> int:
    waiting = sa.select(sa.func.count()).where(_JOBS.c.state == QUEUED).scalar_subquery()
    devices = sa.select(_WORKERS.c.devices).where(_WORKERS.c.seen_at > now - LEASE)
    n_devices = sum(len(json.loads(names)) or 1 for (names,) in connection.execute(devices))
    n_waiting = int(connection.execute(sa.select(waiting)).scalar_one())
    return max(1, -(-n_waiting // max(1, n_devices)))


def _note(connection: sa.Connection, worker: Worker, now: datetime) -> None:
    """The worker is alive."""
    values = {
        "host": worker.host, "version": worker.version, "devices": json.dumps(worker.devices),
        "languages": json.dumps(worker.languages), "seen_at": now,
    }  # fmt: skip
    known = connection.execute(_WORKERS.update().where(_WORKERS.c.worker == worker.name).values(**values))
    if not known.rowcount:
        with suppress(IntegrityError), connection.begin_nested():  # another of its devices has noted it meanwhile
            connection.execute(_WORKERS.insert().values(worker=worker.name, **values))


def _work(job: sa.RowMapping) -> Work:
    engine = json.loads(job["engine"])
    choice = EngineChoice(engine["name"], engine["model"], engine["options"])
    return Work(job["slot"], choice, job["fingerprint"], job["episode_id"], job["audio_sha256"], job["language"])


def _now() -> datetime:
    """UTC without a zone, which every database stores alike."""
    return datetime.now(UTC).replace(tzinfo=None)
