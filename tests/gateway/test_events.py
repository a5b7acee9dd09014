"""Landings and failures as server-sent events, and webhooks: signed, repeated until accepted, once per landing."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from gateway import webhooks
from gateway.landings import Event, Landings, watching
from gateway.webhooks import Webhooks
from podlake.api import NewWebhook
from podlake.client import ApiError
from resources.database import open_database
from resources.fetch.addresses import AllowedHosts
from resources.lake.home import Home
from resources.lake.lake import Lake
from tests.gateway.serving import ADMIN, VIEWER, Served, served
from tests.landings import land_failed_try, land_stage


class Receiver:
    """A server that accepts a body after having refused it twice."""

    def __init__(self, refusals: int = 2) -> None:
        self.accepted: list[tuple[dict[str, str], bytes]] = []
        self.tries = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.tries += 1
                is_accepted = receiver.tries > refusals
                if is_accepted:
                    receiver.accepted.append((dict(self.headers), body))
                self.send_response(204 if is_accepted else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def _until(is_true, seconds: float = 60.0) -> None:
    until_s = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < until_s
        time.sleep(0.1)


def test_clients_follow_landings_and_failures(empty: Served) -> None:
    lake = empty.service.lake
    found, failed, connected = [], [], threading.Barrier(3)

    def follow(into: list, **choice) -> None:
        with empty.api(VIEWER) as client:
            events = client.events(**choice)
            threading.Timer(1.0, connected.wait).start()
            into.append(next(events))

    threads = [
        threading.Thread(target=follow, args=(found,), kwargs={"stages": ["hashes"]}),
        threading.Thread(target=follow, args=(failed,), kwargs={"kinds": ["failed"]}),
    ]
    for thread in threads:
        thread.start()
    connected.wait(30)
    _until(lambda: empty.service.landings.n_listeners == 2)
    land_stage(lake, "audio", "events-20260101-00000001", {})
    commit = land_stage(lake, "hashes", "events-20260101-00000001", {})
    land_failed_try(lake, "diarization", "events-20260101-00000001")
    for thread in threads:
        thread.join(30)
    assert [(one.kind, one.stage, one.key) for one in found] == [("landed", "hashes", commit.key)]
    assert found[0].id == f"{commit.stamp}.hashes.{commit.key}"
    assert [(one.kind, one.stage) for one in failed] == [("failed", "diarization")]
    with empty.api(VIEWER) as client:  # a client that connects again
        again = client.events(after="0")
        assert [next(again).stage for _ in range(3)] == ["audio", "hashes", "diarization"]
        with pytest.raises(ApiError, match="no stage lunch"):
            next(client.events(stages=["lunch"]))


def test_a_webhook_is_told_once_per_landing_also_after_refusals_and_restarts(tmp_path, monkeypatch, receiver) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setattr("gateway.webhooks.RETRY_S", (0.2, 1.0))
    key, home = "hooked-20260101-00000001", tmp_path / "home"
    with served(home) as found, found.api(ADMIN) as admin:
        hook = admin.add_webhook(NewWebhook(receiver.url, stages=("audio", "hashes")))
        assert hook.secret
        first = land_stage(found.service.lake, "audio", key, {})
        _until(lambda: len(receiver.accepted) == 1)
        assert receiver.tries == 3
        _until(lambda: admin.webhooks()[0].waiting == 0)
    second = land_stage(found.service.lake, "hashes", key, {}, finished_at=first.landed_at)  # while no service runs
    with served(home):
        _until(lambda: len(receiver.accepted) == 2)
        time.sleep(2.5)
    headers, body = receiver.accepted[0]
    assert [one["X-Podlake-Event"] for one, _ in receiver.accepted] == [
        f"{first.stamp}.audio.{key}",
        f"{second.stamp}.hashes.{key}",
    ]
    assert json.loads(body)["key"] == key
    signed = f"{headers['X-Podlake-Timestamp']}.".encode() + body
    expected = hmac.new(hook.secret.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["X-Podlake-Signature"] == f"sha256={expected}"


def test_webhooks_do_not_reach_private_addresses_that_are_not_allowed(tmp_path, monkeypatch, receiver) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    monkeypatch.setattr("gateway.background.AllowedHosts.parse", lambda _: AllowedHosts())
    with served(tmp_path / "home") as found, found.api(ADMIN) as admin:
        admin.add_webhook(NewWebhook(receiver.url))
        land_stage(found.service.lake, "audio", "hooked-20260101-00000002", {})
        _until(lambda: admin.webhooks()[0].last_error is not None)
        assert "not a public address" in (admin.webhooks()[0].last_error or "")
        admin.remove_webhook(admin.webhooks()[0].webhook_id)
        assert Webhooks(found.service.database).all() == []
        for url in ("file:///etc/passwd", "http://user:pass@127.0.0.1/", "gopher://x/"):
            with pytest.raises(ApiError, match="400"):
                admin.add_webhook(NewWebhook(url))
    assert receiver.tries == 0


def test_a_client_that_connects_again_gets_what_was_published_after_its_last_event(tmp_path) -> None:
    landings = Landings(Lake(Home.at(str(tmp_path))))
    late, newest = (
        Event(f"2026010{day}T000000.audio.show-{day}", "landed", "audio", f"show-{day}", "show", datetime.now(UTC))
        for day in (1, 2)
    )
    landings.publish([newest])
    landings.publish([late])  # its stamp is earlier, and its commit was written later

    async def missed(after: str) -> list[Event]:
        async with landings.listening(after) as queue:
            return [queue.get_nowait() for _ in range(queue.qsize())]

    assert asyncio.run(missed(newest.id)) == [late]
    assert asyncio.run(missed(late.id)) == []
    assert asyncio.run(missed("2026")) == [newest, late]


def test_events_that_could_not_be_delivered_are_delivered_later(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("gateway.landings.LOOK_S", 0.05)
    lake = Lake(Home.at(str(tmp_path)))
    delivered: list[str] = []
    tries = iter([OSError("the database is locked")])

    def deliver(events: list[Event]) -> None:
        if error := next(tries, None):
            raise error
        delivered.extend(event.key for event in events)

    async def watch() -> None:
        async with watching(Landings(lake), deliver):
            await asyncio.to_thread(land_stage, lake, "audio", "late-20260101-00000001", {})
            until_s = time.monotonic() + 30
            while not delivered and time.monotonic() < until_s:
                await asyncio.sleep(0.05)

    asyncio.run(watch())
    assert delivered == ["late-20260101-00000001"]


def test_a_webhook_that_is_down_does_not_keep_others_waiting(storage, tmp_path) -> None:
    url = storage["storage"]["postgres"]["postgres_url"] if storage else f"sqlite:///{tmp_path}/service.db"
    hooks = Webhooks(open_database(url, webhooks.SCHEMA))
    down, _ = hooks.add("https://down.test/", ["failed"], [])
    up, _ = hooks.add("https://up.test/", ["landed"], [])
    at = datetime.now(UTC)
    hooks.put([Event(f"{n}", "failed", "audio", "show-1", "show", at) for n in range(50)])
    hooks.put([Event(f"{n}", "landed", "audio", "show-1", "show", at) for n in range(2)])
    assert [row.webhook_id for row in hooks.due()][:5] == [down.webhook_id, up.webhook_id] * 2 + [down.webhook_id]


def test_a_folder_that_does_not_change_is_listed_twice_and_then_no_more(tmp_path) -> None:
    lake = Lake(Home.at(str(tmp_path)))
    landings = Landings(lake)
    for number in range(2):
        land_stage(lake, "audio", f"still-20260101-0000000{number}", {})
        assert [landings._may_have_changed("audio") for _ in range(4)] == [True, True, False, False]


def test_a_look_that_fails_midway_loses_no_events(tmp_path) -> None:
    class Flaky(Home):
        """A home whose listing of one folder fails while `down` is set."""

        def names(self, *folder: str) -> list[str]:
            if down and folder[-1] == "hashes":
                raise OSError("503 Slow Down")
            return super().names(*folder)

    plain, down = Home.at(str(tmp_path)), list[bool]()
    lake = Lake(Flaky(plain.uri, plain.filesystem, plain.root))
    landings = Landings(lake)
    assert landings.look() == []
    for stage in ("audio", "hashes"):
        land_stage(lake, stage, "flaky-20260101-00000001", {})
    down.append(True)
    for _ in range(3):
        with pytest.raises(OSError, match="503"):
            landings.look()
    down.clear()
    assert [event.stage for event in landings.look()] == ["audio", "hashes"]
    assert landings.look() == []
