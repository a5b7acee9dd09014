"""A run that waits for workers: what it queues, what it yields, and what stays when it ends early."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from threading import Event, Thread

import pytest
import sqlalchemy as sa

from resources.engines.routing import Audio, Done, WorkerIdentity
from resources.workers import host as waiting
from resources.workers.host import WorkerHost
from resources.workers.jobs import MOST_TRIES, JobQueue, Lease, Work, Worker
from resources.workers.outcomes import check_outcome, outcome_json
from speech.engines.protocols import EngineChoice, EngineSpec
from speech.errors import BadOutput, EngineCrashed, EngineUnavailable, Undecodable
from speech.types import Transcript, Word

SPEC = EngineSpec("toy", "toy", "1")
CHOICE = EngineChoice("toy", None, {"preset": "fast", "python": "/venv/bin/python"})
WORKER = Worker("gpu-1", "machine", "9.9", ("cuda:0",))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/service.db"


def audio(n: int) -> list[Audio]:
    return [Audio(f"e{i}", f"{i:064x}", Path("nowhere"), "en") for i in range(n)]


def outcome(lease: Lease) -> bytes:
    work = lease.work
    one = Audio(work.episode_id, work.audio_sha256, Path("cached"), work.language)
    if work.episode_id == "e1":
        return outcome_json(Done(one, None, Undecodable("e1 is noise")), host="machine", version="9.9")
    result = Transcript((Word(work.episode_id, 0, 400, 0.5),), speech_ms=400, engine_ms=20)
    done = Done(one, result, None, SPEC, "cuda:0 H100", 900.0, 5, 1000, 0.9)
    return outcome_json(done, host="machine", version="9.9")


@contextmanager
def worker(url: str) -> Iterator[None]:
    """Answers every job until the block ends."""
    queue, stop = JobQueue.at(url), Event()

    def work() -> None:
        while not stop.is_set():
            if lease := queue.claim(WORKER):
                queue.finish(lease.job_id, lease.lease_id, outcome(lease))
            else:
                stop.wait(0.02)

    thread = Thread(target=work)
    thread.start()
    yield
    stop.set()
    thread.join()


def run(url: str, given: list[Audio]) -> Iterator[Done]:
    return WorkerHost(url, poll_s=0.02).run("transcriber", CHOICE, SPEC, given)


def test_every_recording_comes_back_once_with_who_did_it(url):
    with worker(url):
        done = {one.audio.episode_id: one for one in run(url, audio(5))}
    assert sorted(done) == [f"e{i}" for i in range(5)]
    first = done["e0"]
    assert isinstance(first.result, Transcript)
    assert [word.text for word in first.result.words] == ["e0"]
    assert first.ran_on == WorkerIdentity("gpu-1", "machine", "9.9")
    assert (first.spec, first.device, first.peak_device_mb, first.decode_ms, first.audio_ms) == (
        SPEC, "cuda:0 H100", 900.0, 5, 1000,
    )  # fmt: skip
    assert isinstance(done["e1"].error, Undecodable)
    assert JobQueue.at(url).counts() == {"queued": 0, "leased": 0, "finished": 0}


def test_a_job_names_the_engine_without_paths_of_this_machine(url):
    with closing(run(url, audio(1))) as running:
        asking = Thread(target=lambda: next(running, None), daemon=True)
        asking.start()
        lease = _claimed(url)
        assert lease.work == Work("transcriber", EngineChoice("toy", None, {"preset": "fast"}), SPEC.fingerprint,
                                  "e0", f"{0:064x}", "en")  # fmt: skip
        JobQueue.at(url).finish(lease.job_id, lease.lease_id, outcome(lease))
        asking.join(30)


def test_a_run_that_ends_early_takes_its_jobs_back_and_keeps_outcomes(url):
    queue = JobQueue.at(url)
    with worker(url), closing(run(url, audio(3))) as running:
        next(running)
        _until(lambda: queue.counts()["finished"] == 3)
    assert queue.counts() == {"queued": 0, "leased": 0, "finished": 3}
    # The next run finds them, without a worker, also the one that may not have landed.
    assert len(list(run(url, audio(3)))) == 3
    assert queue.counts()["finished"] == 0


def test_two_runs_with_the_same_work_both_get_results(url):
    results: list[list[Done]] = []
    threads = [Thread(target=lambda: results.append(list(run(url, audio(4))))) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    with worker(url):
        for thread in threads:
            thread.join(30)
    assert [len(one) for one in results] == [4, 4]


def test_a_run_says_that_it_waits_while_many_results_land(url, monkeypatch):
    monkeypatch.setattr(waiting, "KEEP_ALIVE_S", 0.0)
    queue = JobQueue.at(url)
    queue.submit("old", [Work("transcriber", EngineChoice("toy", None, {"preset": "fast"}), SPEC.fingerprint, f"e{i}",
                              f"{i:064x}", "en") for i in range(3)])  # fmt: skip
    for _ in range(2):
        lease = queue.claim(WORKER)
        assert queue.finish(lease.job_id, lease.lease_id, outcome(lease))

    def waits_since() -> datetime:
        with queue.database.connect() as connection:
            return connection.execute(
                sa.text("select submitter_seen_at from worker_jobs where state = 'queued'")
            ).scalar()

    with closing(run(url, audio(3))) as running:
        next(running)
        _until(lambda: queue.counts()["queued"] == 1)
        before = waits_since()
        next(running)
        assert waits_since() > before


def test_a_recording_on_which_workers_die_fails(url):
    queue = JobQueue.at(url)
    [job_id] = queue.submit("old", [Work("transcriber", CHOICE, SPEC.fingerprint, "e0", f"{0:064x}", "en")])
    quick = JobQueue(queue.database, lease=waiting.SEEN_WITHIN * 0)
    for _ in range(MOST_TRIES):
        assert quick.claim(WORKER).job_id == job_id
        time.sleep(0.01)
    with closing(run(url, audio(1))) as running:
        answers: list[Done] = []
        thread = Thread(target=lambda: answers.extend(running))
        thread.start()
        _until(lambda: quick.claim(WORKER) is None and not thread.is_alive())
    assert isinstance(answers[0].error, EngineCrashed)
    assert "gpu-1" in str(answers[0].error)


def test_an_outcome_that_was_changed_in_the_database_is_refused(url):
    queue = JobQueue.at(url)
    with closing(run(url, audio(1))) as running:
        answers: list[Done] = []
        thread = Thread(target=lambda: answers.extend(running))
        thread.start()
        lease = _claimed(url)
        queue.finish(lease.job_id, lease.lease_id, outcome(lease).replace(b'\\"end_ms\\":400', b'\\"end_ms\\":-4'))
        thread.join(30)
    assert isinstance(answers[0].error, BadOutput)


def test_without_a_worker_the_run_ends_with_what_to_do(url, monkeypatch):
    monkeypatch.setattr(waiting, "KEEP_ALIVE_S", 0.05)
    monkeypatch.setattr(waiting, "WAIT_S", 0.2)
    with pytest.raises(EngineUnavailable, match="podlake worker"):
        list(run(url, audio(1)))
    assert JobQueue.at(url).counts()["queued"] == 0


def test_an_error_of_the_audio_reaches_the_run(url):
    def broken() -> Iterator[Audio]:
        yield audio(1)[0]
        raise OSError("the disk is gone")

    with worker(url), pytest.raises(OSError, match="the disk is gone"):
        list(WorkerHost(url, poll_s=0.02).run("transcriber", CHOICE, SPEC, broken()))


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b'{"host": "h", "version": "1"}',
        b'{"host": "h", "version": "1", "result": "{}", "error_class": "bug"}',
        b'{"host": "h", "version": "1", "error_class": "http_5xx"}',
        b'{"host": "h", "version": "1", "result": "{}"}',
        b'{"host": "h", "version": "1", "error_class": "bug", "message": "' + b"x" * 3000 + b'"}',
    ],
)
def test_what_is_no_outcome_is_refused(data):
    with pytest.raises(BadOutput):
        check_outcome(data, "transcriber")


def _claimed(url: str) -> Lease:
    found: list[Lease] = []

    def claim() -> bool:
        if lease := JobQueue.at(url).claim(WORKER):
            found.append(lease)
        return bool(found)

    _until(claim)
    return found[0]


def _until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
