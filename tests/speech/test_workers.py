"""Worker processes: answers belong to tickets, a death costs one job, nothing outlives its owner."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from speech.errors import EngineCrashed
from speech.workers import Workers

ECHO = """
import os, sys, time
from speech.workers import serve

def answer(request):
    if request.get("raise"):
        raise RuntimeError("as asked")
    if request.get("exit") is not None:
        os._exit(request["exit"])
    if request.get("sleep"):
        time.sleep(60)
    if request.get("print"):
        os.write(1, b"a C library's chatter\\n")
    return {"pid": os.getpid(), "dagster": "dagster" in sys.modules, **request}

if __name__ == "__main__":
    serve(answer)
"""


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers[str]]:
    (tmp_path / "echo_worker.py").write_text(ECHO)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])]))
    started: Workers[str] = Workers("echo_worker", 2)
    yield started
    started.close()


def test_an_answer_comes_back_with_its_ticket(workers: Workers[str]) -> None:
    workers.give("a", {"n": 1})
    workers.give("b", {"n": 2})
    assert (workers.idle, workers.busy) == (0, 2)
    answers = dict(workers.take() for _ in range(2))
    assert {ticket: answer["n"] for ticket, answer in answers.items()} == {"a": 1, "b": 2}  # type: ignore[index]
    assert (workers.idle, workers.busy) == (2, 0)


def test_a_worker_stays_warm_and_knows_nothing_of_its_owner(workers: Workers[str]) -> None:
    pids = set()
    for _ in range(3):
        workers.give("a", {})
        _, answer = workers.take()
        assert isinstance(answer, dict)
        assert answer["dagster"] is False
        pids.add(answer["pid"])
    assert len(pids) == 1


@pytest.mark.parametrize(
    ("request_", "cause"), [({"exit": 3}, "exit status 3"), ({"raise": True}, "exit status 1")], ids=["exit", "raise"]
)
def test_a_death_costs_its_own_job_only(workers: Workers[str], request_: dict[str, object], cause: str) -> None:
    workers.give("bad", request_)
    workers.give("good", {})
    answers = dict(workers.take() for _ in range(2))
    assert isinstance(answers["bad"], EngineCrashed)
    assert cause in str(answers["bad"])
    assert isinstance(answers["good"], dict)
    workers.give("next", {})
    workers.give("and next", {})
    assert all(isinstance(workers.take()[1], dict) for _ in range(2))


def test_a_killed_worker_is_named_by_its_signal(workers: Workers[str]) -> None:
    workers.give("pid", {})
    _, answer = workers.take()
    assert isinstance(answer, dict)
    workers.give("doomed", {"sleep": True})
    os.kill(answer["pid"], signal.SIGKILL)
    ticket, error = workers.take()
    assert ticket == "doomed"
    assert "SIGKILL" in str(error)


def test_a_worker_that_dies_while_idle_costs_nothing(workers: Workers[str]) -> None:
    for _ in range(2):
        workers.give("pid", {})
        _, answer = workers.take()
        assert isinstance(answer, dict)
    os.kill(answer["pid"], signal.SIGKILL)
    os.waitid(os.P_PID, answer["pid"], os.WEXITED | os.WNOWAIT)
    workers.give("a", {"n": 1})
    assert isinstance(workers.take()[1], dict)


def test_what_a_library_prints_is_no_answer(workers: Workers[str]) -> None:
    workers.give("a", {"print": True})
    assert isinstance(workers.take()[1], dict)


def test_abandoned_jobs_never_answer(workers: Workers[str]) -> None:
    workers.give("old", {"sleep": True})
    workers.abandon()
    assert (workers.idle, workers.busy) == (2, 0)
    workers.give("new", {})
    assert workers.take()[0] == "new"


def test_closing_ends_every_process(workers: Workers[str]) -> None:
    pids = []
    for _ in range(2):
        workers.give("pid", {})
    for _ in range(2):
        _, answer = workers.take()
        assert isinstance(answer, dict)
        pids.append(answer["pid"])
    workers.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
