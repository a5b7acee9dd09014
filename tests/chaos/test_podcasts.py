"""kill -9 of gateway, run and voice server in turn: no request is lost, none is made twice, each requester is told once.

CHAOS_PODCAST_KILLS processes are killed: two in every run of the suite, ten in `make chaos`. CHAOS_SEED decides when.
CHAOS_PODCAST_STORAGE is where the requests and Dagster's runs and events are: `sqlite`, or `postgres` for a server.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import feedparser
import httpx
import pytest
import yaml

from dagster_project.attempts import ATTEMPT_TAG, ATTEMPTS
from dagster_project.instance import DEFAULTS, open_instance
from dagster_project.podcasts import PODCAST_TAG
from dagster_project.settings import ROOT, Settings
from podlake.api import NewPodcast, Podcast
from podlake.client import ApiError, Client
from resources.accounts import Accounts
from resources.studio.feed import LAST_STAGE
from resources.studio.ledger import Ledger
from resources.studio.notifications import Notifications
from tests.conftest import Storage
from tests.mail_server import MailServer, mail_server
from tests.postgres import postgres_storage

KILLS = int(os.environ.get("CHAOS_PODCAST_KILLS", "2"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
STORAGE = os.environ.get("CHAOS_PODCAST_STORAGE", "sqlite")
VICTIMS = ("run", "gateway", "voices")
DELAY_S = {"run": (0.0, 4.0), "gateway": (0.0, 4.0), "voices": (0.0, 1.0)}
"""After a run has begun."""
PATIENCE_S = 300
PASSWORD = "a password"
SCRIPT = "[S1] Welcome to the garden on the roof. [S2] Thank you. I planted seeds in March. [S1] How many were there?"
SCRIPTS = {"gateway": "serve_podcasts.py", "run": "make_podcasts.py", "voices": "serve_voices.py"}


@pytest.fixture
def chosen_storage(request: pytest.FixtureRequest) -> Storage:
    """What dagster.yaml says of the storage."""
    assert STORAGE in ("sqlite", "postgres"), f"CHAOS_PODCAST_STORAGE={STORAGE}"
    return {} if STORAGE == "sqlite" else postgres_storage(request.getfixturevalue("postgres"), "podcasts")


@pytest.mark.timeout(3600)
def test_after_any_kills_every_request_is_made_once_and_told_once(tmp_path: Path, chosen_storage: Storage) -> None:
    chance = random.Random(SEED)
    users = [f"user{index}@x.test" for index in range(max(1, KILLS // 2))]
    with mail_server() as mail, place(tmp_path, mail, chosen_storage) as here:
        here.add(users)
        for name in ("voices", "gateway", "run"):
            here.start(name)
        followers = [Follower(here.url, user) for user in users]
        for index in range(KILLS):
            victim = VICTIMS[index % len(VICTIMS)]
            here.wait_for_a_run()
            time.sleep(chance.uniform(*DELAY_S[victim]))
            here.kill(victim)
            here.start(victim)
        until(lambda: all(one.requested for one in followers), here)
        outbox = Notifications.at(here.database_url)
        until(lambda: not outbox.untold(datetime.now(UTC)) and set(outbox.mails()) <= {"sent", "sending"}, here)
        until(lambda: all(one.told for one in followers), here)
        here.assert_nothing_is_lost_or_made_twice([one.requested for one in followers])
    for one in followers:
        assert one.told == [one.requested.podcast_id]
    mailed = Counter(message_from_bytes(text.encode())["Message-ID"] for text in mail.messages)
    assert set(mailed.values()) <= {1}
    assert len(mailed) >= outbox.mails().get("sent", 0)


@pytest.mark.parametrize(("at", "mails", "state"), [("RCPT", 1, "sent"), ("content", 1, "sending")])
def test_a_gateway_that_is_killed_while_it_sends_tells_once(tmp_path: Path, at: str, mails: int, state: str) -> None:
    with mail_server() as mail, place(tmp_path, mail) as here:
        here.add(["ann@x.test"])
        here.start("gateway")
        mail.at, mail.then = at, lambda: here.kill("gateway")
        follower = Follower(here.url, "ann@x.test")
        until(lambda: follower.requested is not None, here)
        here.fail(follower.requested.podcast_id)
        until(lambda: not mail.at, here)
        here.start("gateway")
        outbox = Notifications.at(here.database_url)
        until(lambda: outbox.mails() == {state: 1} and bool(follower.told), here)
        time.sleep(0 if state == "sent" else 4)  # longer than the lease: nobody sends it again
        assert (len(mail.messages), outbox.mails()) == (mails, {state: 1})
        assert follower.told == [follower.requested.podcast_id]


class Follower:
    """A user who requests a podcast, again until the answer is there, and listens for notifications of it."""

    def __init__(self, url: str, user: str) -> None:
        self.requested: Podcast | None = None
        self.told: list[str] = []
        self._client = Client(url, user=(user, PASSWORD))
        for work in (self._request, self._listen):
            Thread(target=work, daemon=True).start()

    def _request(self) -> None:
        while self.requested is None:
            with suppress(httpx.HTTPError, ApiError):
                self.requested = self._client.request_podcast(NewPodcast(SCRIPT, "A talk"), idempotency_key="click")
                return
            time.sleep(0.2)

    def _listen(self) -> None:
        for told in self._client.podcast_notifications():
            self.told.append(told.podcast_id)


class Place:
    """A home, and the processes that work on it."""

    def __init__(self, folder: Path, mail: MailServer, storage: Storage) -> None:
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = {name: free_port() for name in ("gateway", "voices")}
        self.url = f"http://127.0.0.1:{self._ports['gateway']}"
        self.database_url = f"sqlite:///{folder}/service.db"
        if storage:
            self.database_url = storage["storage"]["postgres"]["postgres_url"]
            (folder / "dagster").mkdir()
            config = f"{DEFAULTS.read_text()}\n{yaml.safe_dump(storage)}"
            (folder / "dagster" / "dagster.yaml").write_text(config)
        voice = f"openai:http://127.0.0.1:{self._ports['voices']}"
        self._environment = {
            **os.environ, "DAGSTER_HOME": str(folder / "dagster"), "PODLAKE_HOME": str(folder / "home"),
            "PODLAKE_DATABASE_URL": self.database_url, "PODLAKE_VOICES": f"S1={voice},S2={voice}",
            "PODLAKE_TRANSCRIBER": "chaos", "PODLAKE_GPUS": "0", "PODLAKE_SMTP_URL": mail.url, "TMPDIR": str(folder),
            "PODLAKE_SERVE_DAGSTER": "false", "ADMIN_USERNAME": "ana", "ADMIN_PASSWORD": PASSWORD, "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "node"), str(ROOT)]), "PODLAKE_ENGINE_IDLE_S": "5",
        }  # fmt: skip

    def add(self, users: list[str]) -> None:
        with self.instance():
            pass  # its databases are created
        for user in users:
            Accounts.at(self.database_url).set_user(user, "viewer", PASSWORD)

    def start(self, name: str) -> None:
        port = self._ports.get(name)
        arguments = {"gateway": ["--port", str(port)], "voices": [str(port)]}.get(name, [])
        script = Path(__file__).with_name(SCRIPTS[name])
        with (self._folder / "log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, str(script), *arguments], env=self._environment, stdout=log, stderr=log, start_new_session=True
            )  # fmt: skip
        until(lambda: port is None or is_open(port), self)

    def kill(self, name: str) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._processes[name].pid, signal.SIGKILL)
        self._processes[name].wait()

    def kill_all(self) -> None:
        for name in self._processes:
            self.kill(name)

    def log(self) -> str:
        return (self._folder / "log").read_text()[-5000:]

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DAGSTER_HOME", self._environment["DAGSTER_HOME"])
            with open_instance(Settings(home=self._environment["PODLAKE_HOME"])) as instance:
                yield instance

    def wait_for_a_run(self) -> None:
        """A run works, or all is done."""
        outbox = Notifications.at(self.database_url)
        with self.instance() as instance:
            until(lambda: instance.get_runs_count(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])) > 0
                  or (outbox.newest_id() > 0 and not outbox.untold(datetime.now(UTC))), self)  # fmt: skip

    def fail(self, podcast_id: str) -> None:
        """The podcast has failed in its last attempt."""
        with self.instance() as instance:
            run = instance.create_run_for_job(_nothing, tags={PODCAST_TAG: podcast_id, ATTEMPT_TAG: str(ATTEMPTS)})
            instance.report_run_failed(run, "three times")

    def assert_nothing_is_lost_or_made_twice(self, podcasts: list[Any]) -> None:
        requests = Ledger(self.database_url).requests()
        assert sorted(one.podcast_id for one in requests) == sorted(one.podcast_id for one in podcasts)
        with Client(self.url, user=("ana", PASSWORD)) as client, self.instance() as instance:
            assert {one.podcast_id: one.state for one in client.podcasts(everyone=True)} == {
                one.podcast_id: "completed" for one in podcasts
            }  # fmt: skip
            for one in podcasts:
                runs = instance.get_runs(dg.RunsFilter(tags={PODCAST_TAG: one.podcast_id}))
                assert sum(run.status is dg.DagsterRunStatus.SUCCESS for run in runs) <= 1
                last = dg.AssetRecordsFilter(dg.AssetKey(LAST_STAGE), asset_partitions=[one.podcast_id])
                # None, if the run was killed between the landing and its event.
                assert len(instance.fetch_materializations(last, limit=5).records) <= 1
                assert len(client.podcast_audio(one.podcast_id)) > 1_000
        feed = (self._folder / "home" / "podcasts" / "feed.xml").read_bytes()
        assert sorted(entry.id for entry in feedparser.parse(feed).entries) == sorted(
            one.podcast_id for one in podcasts
        )


@dg.job
def _nothing() -> None: ...


@contextmanager
def place(folder: Path, mail: MailServer, storage: Storage | None = None) -> Iterator[Place]:
    made = Place(folder, mail, storage or {})
    try:
        yield made
    finally:
        made.kill_all()


def until(is_true: Callable[[], bool], here: Place) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < until_s, here.log()
        time.sleep(0.1)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def is_open(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
