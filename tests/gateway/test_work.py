"""Workers: real processes that take jobs of a real service, and what the service refuses."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

import httpx
import pytest

from resources.engines.routing import Audio, Done
from resources.fetch.audio_store import AudioStore
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import TABLES
from resources.workers.connection import LEASE_HEADER, PATH
from resources.workers.host import WorkerHost
from resources.workers.jobs import LEASE, JobQueue, Work
from speech.engines.protocols import EngineChoice, EngineSpec
from speech.errors import BadOutput, StorageError
from speech.types import Transcript
from tests.gateway.serving import OPERATOR, VIEWER, Served, served
from tests.landings import land

ROOT = Path(__file__).parents[2]
AUDIO = (ROOT / "demo" / "audio" / "the-sound-of-rain.flac").read_bytes()
SHA256 = hashlib.sha256(AUDIO).hexdigest()
SPEC = EngineSpec("parrot", "parrot", "1")
AT_MOST_S = 300
MACHINE = {"host": "here", "version": "1", "devices": ["cpu"]}

ENGINE = '''
"""A transcriber that says the episode's name, after the file `go` is there."""
import time
from pathlib import Path
from speech.engines.protocols import ON_CPU, EngineSpec
from speech.types import Transcript, Word

FOLDER = Path(__file__).parent

def describe(choice):
    return EngineSpec("parrot", "parrot", "1")

def load(choice, device):
    return Parrot()

class Parrot:
    spec = describe(None)

    def transcribe(self, recordings):
        for recording in recordings:
            (FOLDER / "began").touch()
            while not (FOLDER / "go").exists():
                time.sleep(0.02)
            recording.report(recording.duration_ms)
            said = "x" * 4000 if (FOLDER / "long").exists() else recording.episode_id
            word = Word(said, 0, recording.duration_ms, 0.5)
            yield recording, Transcript((word,), speech_ms=recording.duration_ms, engine_ms=3)

    def device_use(self):
        return ON_CPU

    def close(self):
        pass
'''


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Six episodes with the same audio."""
    folder = tmp_path_factory.mktemp("workers")
    lake = Lake(Home.at(str(folder)))
    copy = folder / "fetched"
    copy.write_bytes(AUDIO)
    uri = AudioStore(lake.home, folder, 10**9).keep(copy, SHA256, "https://a.test/rain.flac", "audio/flac")
    for number in range(6):
        row = {"audio_sha256": SHA256, "storage_uri": uri, "content_type": "audio/flac"}
        land(lake, TABLES["acquisitions"], f"show-{number}", [row])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(folder / "dagster"))
        with served(folder) as found:
            yield found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The worker's machine, with the engine."""
    (tmp_path / "parrot.py").write_text(ENGINE)
    (tmp_path / "sitecustomize.py").write_text(
        "from speech.engines import registry\nregistry.TRANSCRIBERS['parrot'] = 'parrot'\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    monkeypatch.setenv("PODLAKE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PODLAKE_ENGINE_IDLE_S", "1")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return tmp_path


def token(service: Served, name: str) -> str:
    return service.service.accounts.add_key(name, "operator", ["work"])


def start(service: Served, secret: str, *options: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "dagster_project.cli",
        "worker",
        "--server",
        service.url,
        "--gpus",
        "none",
        *options,
    ]
    environment = {**os.environ, "PODLAKE_WORKER_TOKEN": secret}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )


def run(service: Served, numbers: range) -> list[Done]:
    """What a run gets that waits for workers."""
    audio = [Audio(f"show-{number}", SHA256, Path("at the service"), "en") for number in numbers]
    host = WorkerHost(service.service.settings.database_url, poll_s=0.05)
    return list(host.run("transcriber", EngineChoice("parrot"), SPEC, audio))


def in_background(service: Served, numbers: range) -> tuple[Thread, list[Done]]:
    answers: list[Done] = []
    thread = Thread(target=lambda: answers.extend(run(service, numbers)), daemon=True)
    thread.start()
    return thread, answers


def until(condition) -> None:
    deadline_s = time.monotonic() + AT_MOST_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def ended(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=AT_MOST_S)[0]
    finally:
        process.kill()


def test_a_worker_does_all_jobs_and_keeps_no_audio(service, folder, monkeypatch):
    monkeypatch.setenv("PODLAKE_LOG_FORMAT", "json")
    (folder / "go").touch()
    waiting, answers = in_background(service, range(4))
    queue = JobQueue(service.service.database)
    until(lambda: queue.counts()["queued"] == 4)
    worker = start(service, token(service, "gpu-1"), "--once", "--languages", "en")
    said = ended(worker)
    waiting.join(AT_MOST_S)
    assert worker.returncode == 0, said
    assert sorted(one.audio.episode_id for one in answers) == [f"show-{number}" for number in range(4)]
    for one in answers:
        assert isinstance(one.result, Transcript), (one.error, said)
        assert one.result.words[0].text == one.audio.episode_id
        assert one.ran_on is not None
        assert one.ran_on.name == "gpu-1"
    records = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    done = [one for one in records if one["message"].endswith(": done")]
    assert sorted(one["key"] for one in done) == [f"show-{number}" for number in range(4)]
    assert {(one["worker"], one["device"], one["slot"]) for one in done} == {
        (socket.gethostname(), "cpu", "transcriber")
    }
    assert list((folder / "cache" / "jobs" / "cpu").iterdir()) == []
    assert [one.name for one in queue.workers()] == ["gpu-1"]
    listed = subprocess.run(
        [sys.executable, "-m", "dagster_project.cli", "workers"], capture_output=True, text=True, cwd=ROOT, check=True,
        env={**os.environ, "PODLAKE_DATABASE_URL": service.service.settings.database_url},
    )  # fmt: skip
    assert "gpu-1" in listed.stdout
    assert "0 jobs wait, 0 are at workers." in listed.stdout


def test_the_jobs_of_a_killed_worker_go_to_another(service, folder, monkeypatch):
    waiting, answers = in_background(service, range(4, 6))
    first = start(service, token(service, "killed"))
    until((folder / "began").exists)
    first.send_signal(signal.SIGKILL)
    ended(first)
    later = LEASE * 1.5
    monkeypatch.setattr("resources.workers.jobs._now", lambda: datetime.now(UTC).replace(tzinfo=None) + later)
    (folder / "go").touch()
    second = start(service, token(service, "second"))
    waiting.join(AT_MOST_S)
    second.send_signal(signal.SIGTERM)
    said = ended(second)
    assert second.returncode == 0, said
    assert [one.ran_on.name for one in answers if one.ran_on] == ["second", "second"]


def test_a_worker_that_is_stopped_gives_its_jobs_back(service, folder):
    waiting, answers = in_background(service, range(1))
    worker = start(service, token(service, "stopped"))
    until((folder / "began").exists)
    worker.send_signal(signal.SIGTERM)
    said = ended(worker)
    assert worker.returncode == 0, said
    assert JobQueue(service.service.database).counts()["queued"] == 1
    (folder / "go").touch()
    ended(start(service, token(service, "next"), "--once"))
    waiting.join(AT_MOST_S)
    assert [one.ran_on.name for one in answers if one.ran_on] == ["next"]


def test_audio_that_the_service_does_not_have_is_an_error_of_the_episode(service, folder):
    audio = Audio("show-1", "0" * 64, Path("at the service"), "en")
    host = WorkerHost(service.service.settings.database_url, poll_s=0.05)
    answers: list[Done] = []
    run_ = Thread(target=lambda: answers.extend(host.run("transcriber", EngineChoice("parrot"), SPEC, [audio])))
    run_.start()
    until(lambda: JobQueue(service.service.database).counts()["queued"] == 1)
    said = ended(start(service, token(service, "without-audio"), "--once"))
    run_.join(AT_MOST_S)
    assert [type(one.error) for one in answers] == [StorageError], said
    assert "has no audio with this hash" in str(answers[0].error)


def test_a_result_that_the_service_refuses_is_an_error_of_the_episode(service, folder, monkeypatch):
    monkeypatch.setattr("gateway.guard.Guard._most_bytes", lambda *_: 2000)
    for name in ("go", "long"):
        (folder / name).touch()
    waiting, answers = in_background(service, range(1))
    until(lambda: JobQueue(service.service.database).counts()["queued"] == 1)
    said = ended(start(service, token(service, "too-long"), "--once"))
    waiting.join(AT_MOST_S)
    assert [type(one.error) for one in answers] == [BadOutput], said
    assert "The body is larger than" in str(answers[0].error)


@pytest.mark.parametrize(("path", "words"), [("/wrong", "Compare the URL"), ("", "role operator")])
def test_a_worker_that_cannot_take_jobs_ends_with_what_to_do(service, folder, path, words):
    key = service.service.accounts.add_key(f"viewer{len(path)}", "operator" if path else "viewer", ["work"])
    worker = start(service, key, "--server", service.url + path)
    said = ended(worker)
    assert worker.returncode == 1
    assert words in said
    assert "Traceback" not in said


def test_a_server_without_a_scheme_is_refused(service, folder):
    said = ended(start(service, "plk_any", "--server", "localhost:8000"))
    assert "give one such as http://localhost:8000" in " ".join(said.split())


def test_a_worker_without_a_valid_token_ends_with_what_to_do(service, folder):
    worker = start(service, "plk_wrong")
    said = ended(worker)
    assert worker.returncode == 1
    assert "podlake keys add" in said
    assert "Traceback" not in said


def test_jobs_of_another_engine_are_left_to_others(service, folder):
    queue = JobQueue(service.service.database)
    other = Work("transcriber", EngineChoice("parrot"), "f" * 16, "show-0", SHA256, "en")
    [job_id] = queue.submit("run", [other])
    said = ended(start(service, token(service, "other-engine"), "--once"))
    assert "another one than the job's" in said
    assert queue.counts()["queued"] == 1
    queue.remove([job_id])


def test_the_service_refuses_what_is_not_the_workers(service):
    queue = JobQueue(service.service.database)
    [job_id] = queue.submit("run", [Work("transcriber", EngineChoice("parrot"), SPEC.fingerprint, "show-1", SHA256)])
    with (
        service.client(key=token(service, "honest")) as worker,
        service.client(key=service.service.accounts.add_key("reader", "operator", ["read"])) as reader,
        service.client(OPERATOR) as person,
        service.client(VIEWER) as viewer,
        service.client() as nobody,
    ):
        claim = {"machine": MACHINE}
        assert nobody.post(f"{PATH}/claim", json=claim).status_code == 401
        assert viewer.post(f"{PATH}/claim", json=claim).status_code == 403
        assert reader.post(f"{PATH}/claim", json=claim).status_code == 403
        assert worker.post(f"{PATH}/claim", json={"machine": {}}).status_code == 422
        lease = worker.post(f"{PATH}/claim", json=claim).json()
        assert worker.post(f"{PATH}/claim", json=claim).status_code == 204
        right = {LEASE_HEADER: lease["lease_id"]}
        audio = worker.get(f"{PATH}/{job_id}/audio", headers={**right, "Range": "bytes=10-19"})
        assert (audio.status_code, audio.content) == (206, AUDIO[10:20])
        for headers, status in (({LEASE_HEADER: "wrong"}, 409), ({}, 422)):
            assert worker.get(f"{PATH}/{job_id}/audio", headers=headers).status_code == status
            assert worker.post(f"{PATH}/{job_id}/give-back", headers=headers).status_code == status
            assert _put(worker, job_id, headers, b"{}").status_code == status
        assert _put(worker, job_id, right, b'{"host": "here"}').status_code == 422
        assert queue.leased(job_id, lease["lease_id"]) is not None  # a wrong result takes nothing away
        # Other credentials, and other routes for the worker's.
        assert _put(reader, job_id, right, b"{}").status_code == 403
        for path in ("/api/v1/episodes", "/corpus/", "/graphql"):
            assert worker.get(path).status_code in (403, 404), path
        assert person.post(f"{PATH}/{job_id}/give-back", headers=right).status_code in (204, 403)
    queue.remove([job_id])


def _put(client: httpx.Client, job_id: str, headers: dict[str, str], data: bytes) -> httpx.Response:
    return client.put(f"{PATH}/{job_id}/outcome", headers=headers, content=data)
