"""Jobs and their leases, in SQLite and PostgreSQL."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Lock, Thread

import pytest
from sqlalchemy.exc import OperationalError

from resources.workers.jobs import LEASE, MOST_TRIES, SUBMITTER_SILENCE, JobQueue, Progress, Work, Worker
from speech.engines.protocols import EngineChoice
from tests.conftest import Storage

CHOICE = EngineChoice("toy", "small", {"preset": "fast"})


@pytest.fixture
def url(storage: Storage, tmp_path: Path) -> str:
    return storage["storage"]["postgres"]["postgres_url"] if storage else f"sqlite:///{tmp_path}/service.db"


@pytest.fixture
def queue(url: str) -> JobQueue:
    return JobQueue.at(url)


class Clock:
    """The time of the queue, which passes only as a test says: leases do not end because a machine is busy."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(tzinfo=None)

    def forward(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("resources.workers.jobs._now", lambda: clock.now)
    return clock


def work(number: int, language: str | None = "en", fingerprint: str = "f1") -> Work:
    return Work("transcriber", CHOICE, fingerprint, f"show-{number:05}", f"{number:064x}", language)


def worker(name: str = "w1", **more: object) -> Worker:
    return Worker(name, "host", "1", ("cpu",), **more)  # type: ignore[arg-type]


def test_a_job_goes_to_a_worker_and_its_outcome_comes_back(queue):
    [job_id] = queue.submit("run", [work(1)])
    lease = queue.claim(worker())
    assert lease is not None
    assert lease.work == work(1)
    assert queue.claim(worker("w2")) is None
    assert queue.finished([job_id]) == ([], set())
    assert queue.finish(lease.job_id, lease.lease_id, b"result")
    [finished], missing = queue.finished([job_id])
    assert (finished.outcome, finished.worker, missing) == (b"result", "w1", set())
    queue.remove([job_id])
    assert queue.finished([job_id]) == ([], {job_id})


def test_a_lease_that_is_renewed_holds(queue, clock):
    queue.submit("run", [work(1)])
    lease = queue.claim(worker())
    for done_ms in range(4):
        clock.forward(LEASE / 2)
        queue.keep_alive([lease.job_id])
        assert queue.renew(worker(), [Progress(lease.job_id, lease.lease_id, done_ms)]) == []
        assert queue.claim(worker("w2")) is None
    assert [one.done_ms for one in queue.running()] == [3]


def test_a_result_after_the_end_of_the_lease_changes_nothing(queue, clock):
    [job_id] = queue.submit("run", [work(1)])
    late = queue.claim(worker())
    clock.forward(LEASE * 1.5)
    queue.keep_alive([job_id])
    assert not queue.finish(late.job_id, late.lease_id, b"late")  # nobody else has it yet
    second = queue.claim(worker("w2"))
    assert second is not None
    assert not queue.finish(late.job_id, late.lease_id, b"late")
    assert not queue.give_back(late.job_id, late.lease_id)
    assert queue.leased(late.job_id, late.lease_id) is None
    assert queue.renew(worker(), [Progress(late.job_id, late.lease_id, 5)]) == [job_id]
    assert queue.finish(second.job_id, second.lease_id, b"right")
    assert [one.outcome for one in queue.finished([job_id])[0]] == [b"right"]
    assert not queue.finish(second.job_id, second.lease_id, b"again")


def test_a_job_on_which_workers_die_fails(queue, clock):
    [job_id] = queue.submit("run", [work(1)])
    for _ in range(MOST_TRIES):
        assert queue.claim(worker()) is not None
        clock.forward(LEASE * 1.5)
        queue.keep_alive([job_id])
    assert queue.claim(worker()) is None
    assert [one.outcome for one in queue.finished([job_id])[0]] == [None]


def test_a_job_that_is_given_back_has_not_been_tried(queue):
    queue.submit("run", [work(1)])
    for _ in range(MOST_TRIES + 2):
        lease = queue.claim(worker())
        assert lease is not None
        assert queue.give_back(lease.job_id, lease.lease_id)


def test_a_worker_gets_what_it_asks_for(queue):
    queue.submit("run", [work(1, "de"), work(2, "en", "f2"), work(3, None)])
    assert queue.claim(worker(languages=("fr",)), refused=["f1"]) is None
    assert queue.claim(worker(languages=("fr",))).work.episode_id == "show-00003"
    assert queue.claim(worker(languages=("en", "de")), refused=["f1"]).work.episode_id == "show-00002"
    assert queue.claim(worker(), slot="diarizer") is None
    assert queue.claim(worker(), slot="transcriber", fingerprint="f1").work.episode_id == "show-00001"


def test_jobs_of_a_silent_run_are_not_given_out(queue, clock):
    queue.submit("run", [work(1)])
    clock.forward(SUBMITTER_SILENCE)
    assert queue.claim(worker()) is None


def test_a_run_keeps_the_jobs_alive_that_another_took_over_before_it_was_killed(queue, clock):
    job_ids = queue.submit("waits", [work(1)])
    assert queue.submit("killed", [work(1)]) == job_ids
    clock.forward(SUBMITTER_SILENCE)
    assert queue.claim(worker()) is None
    queue.keep_alive(job_ids)
    assert queue.claim(worker()).job_id == job_ids[0]


def test_the_next_run_takes_over_what_a_killed_one_has_left(queue):
    old = queue.submit("killed", [work(1), work(2)])
    lease = queue.claim(worker())
    assert queue.submit("next", [work(1), work(2)]) == old
    assert queue.finish(lease.job_id, lease.lease_id, b"result")
    assert len(queue.finished(old)[0]) == 1
    assert queue.counts() == {"queued": 1, "leased": 0, "finished": 1}


def test_withdrawn_jobs_are_lost_and_outcomes_stay(queue):
    queue.submit("run", [work(1), work(2), work(3)])
    first, second = queue.claim(worker()), queue.claim(worker())
    queue.finish(first.job_id, first.lease_id, b"result")
    queue.withdraw("run")
    assert queue.renew(worker(), [Progress(second.job_id, second.lease_id, 0)]) == [second.job_id]
    assert queue.counts() == {"queued": 0, "leased": 0, "finished": 1}


def test_workers_are_listed_with_what_they_said(queue):
    queue.claim(worker("b", languages=("en",)))
    queue.claim(worker("a"))
    assert [(one.name, one.languages) for one in queue.workers()] == [("a", ()), ("b", ("en",))]
    assert queue.workers(timedelta(0)) == []


def test_devices_share_what_waits(queue):
    queue.claim(Worker("big", "host", "1", ("cuda:0", "cuda:1", "cuda:2")))
    queue.submit("run", [work(number) for number in range(9)])
    assert queue.claim(worker()).fair_share == 2


def test_those_who_change_many_jobs_at_once_do_not_wait_for_each_other(queue):
    """A renewal and the end of a run, and two renewals, in opposite orders: a deadlock on PostgreSQL before."""
    n_jobs, gate, errors = 150, Barrier(2, timeout=60), list[Exception]()

    def together(*calls) -> None:
        def call(one) -> None:
            gate.wait()
            try:
                one()
            except OperationalError as error:
                errors.append(error)

        threads = [Thread(target=call, args=(one,)) for one in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    queue.submit("run", [work(number) for number in range(n_jobs)])
    leases = [queue.claim(worker()) for _ in range(n_jobs)]
    held = [Progress(lease.job_id, lease.lease_id, 0) for lease in leases]
    for _ in range(3):
        together(lambda: queue.renew(worker("a"), held), lambda: queue.renew(worker("b"), held[::-1]))
    together(lambda: queue.renew(worker("a"), held[::-1]), lambda: queue.withdraw("run"))
    assert queue.counts()["leased"] == 0
    assert errors == []


def test_more_than_a_thousand_jobs_are_queued_at_once(queue):
    ids = queue.submit("run", [work(number) for number in range(1_100)])
    assert len(set(ids)) == 1_100
    assert queue.submit("next", [work(number) for number in range(1_100)]) == ids


def test_devices_of_a_new_worker_may_claim_at_once(queue):
    queue.submit("run", [work(number) for number in range(4)])
    leases, gate = list[str](), Barrier(4, timeout=60)

    def claim() -> None:
        gate.wait()
        leases.append(queue.claim(worker("new")).job_id)

    threads = [Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(leases)) == 4


def test_workers_that_die_lose_no_job_and_do_none_twice(url):
    """Forty workers at once; each dies with a probability of a fifth at each job."""
    queue, n_jobs, fates = JobQueue.at(url, timedelta(seconds=1)), 150, random.Random(1)
    ids = queue.submit("run", [work(number) for number in range(n_jobs)])
    finished, lock = Counter[str](), Lock()

    def take(name: str, dies_at: int) -> None:
        for count in range(10_000):
            lease = queue.claim(worker(name))
            if lease is None:
                if queue.counts()["leased"] + queue.counts()["queued"] == 0:
                    return
                time.sleep(0.1)
            elif count == dies_at:
                return
            elif queue.finish(lease.job_id, lease.lease_id, name.encode()):
                with lock:
                    finished[lease.job_id] += 1

    threads = [
        Thread(target=take, args=(f"w{index}", fates.randrange(4) if index % 5 == 0 else -1)) for index in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert set(finished.values()) == {1}
    assert set(finished) == set(ids)
    assert all(one.outcome for one in queue.finished(ids)[0])
