"""Notifications of finished podcasts: by WebSocket over lost connections, by e-mail, and from several services."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from dagster_project.cli.service import users
from dagster_project.settings import Settings
from gateway.notices import send_next_mail
from gateway.service import Service
from gateway.settings import ServeSettings
from podlake.api import NewPodcast
from podlake.client import Client
from resources.accounts import Accounts
from resources.studio.ledger import Asked, Limits
from resources.studio.notifications import Finished
from tests.gateway.serving import ADMIN, OPERATOR, VIEWER, Served, basic, served
from tests.mail_server import MailServer, mail_server
from tests.podcasts import SCRIPT

PATH = "/api/v1/notifications"


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server() as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, _dagster_home: None, mail: MailServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Services of this home send e-mails to `mail`."""
    monkeypatch.setenv("PODLAKE_SMTP_URL", mail.url)
    return tmp_path / "home"


@pytest.fixture
def studio(home: Path) -> Iterator[Served]:
    with served(home, url="https://podlake.example.org/") as found:
        found.service.accounts.set_address(VIEWER[0], "vic@x.test")
        yield found


def finished(studio: Served, user: tuple[str, str] = VIEWER, title: str = "A talk", state: Any = "completed") -> str:
    """A podcast that is requested, and ends at once."""
    shared = studio.service.studio
    with studio.api(user) as client:
        podcast_id = client.request_podcast(NewPodcast(SCRIPT, title)).podcast_id
    request = shared.ledger.request(podcast_id)
    assert request
    address = studio.service.accounts.address(request.user_id)
    shared.outbox.put(
        [Finished(request, state, "No voice." if state == "failed" else None, address)], datetime.now(UTC)
    )
    shared.ledger.cancel(podcast_id)  # so that the user may request the next one
    return podcast_id


def listening(studio: Served, user: tuple[str, str] = VIEWER, query: str = "", **headers: str) -> ClientConnection:
    own = {"Authorization": basic(user), **headers}
    return connect(f"ws://127.0.0.1:{studio.port}{PATH}{query}", additional_headers=own, proxy=None, open_timeout=60)


def next_one(socket: ClientConnection) -> dict[str, Any]:
    return json.loads(socket.recv(timeout=60))


def until(is_true: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 60
    while not is_true():
        assert time.monotonic() < until_s
        time.sleep(0.05)


def test_each_client_hears_each_podcast_of_its_user_once(studio: Served) -> None:
    with listening(studio) as first, listening(studio) as second, listening(studio, OPERATOR) as other:
        podcast = finished(studio)
        told = next_one(first)
        assert next_one(second) == told
        assert (told["type"], told["podcast_id"], told["title"], told["state"], told["error"]) == (
            "notification", podcast, "A talk", "completed", None,
        )  # fmt: skip
        finished(studio, OPERATOR, "Another", "failed")
        theirs = next_one(other)
        assert (theirs["title"], theirs["state"], theirs["error"]) == ("Another", "failed", "No voice.")
        finished(studio, title="Third")
        assert next_one(first)["title"] == next_one(second)["title"] == "Third"


def test_nothing_is_lost_or_told_twice_over_reconnects(studio: Served) -> None:
    outbox = studio.service.studio.outbox
    one = finished(studio)  # while nobody listens
    with listening(studio) as socket:
        first = next_one(socket)
    with listening(studio) as socket:
        assert next_one(socket) == first, "it was not acknowledged"
        socket.send(json.dumps({"type": "ack", "id": first["id"]}))
        until(lambda: outbox.acknowledged("vic") == first["id"])
    finished(studio, title="Second")
    with listening(studio) as socket:
        second = next_one(socket)
        assert second["title"] == "Second"
    third = finished(studio, title="Third")
    with listening(studio, query=f"?after={second['id']}") as socket:
        assert next_one(socket)["podcast_id"] == third
    with listening(studio, query="?after=0") as socket:
        assert [next_one(socket)["podcast_id"] for _ in range(3)][::2] == [one, third]


def test_the_typed_client_connects_again(home: Path) -> None:
    with served(home) as before:
        finished(before)
        port = before.port
        client = Client(before.url, user=VIEWER)
        coming = client.podcast_notifications()
        assert next(coming).title == "A talk"
        finished(before, title="Second")
        assert next(coming).title == "Second"
        finished(before, title="Third")
    with served(home, port=port), client, closing(coming):
        assert next(coming).title == "Third"


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        ({"Authorization": "Bearer plk_wrong"}, "", 401),
        ({"Origin": "https://evil.example"}, "", 403),
        ({"Sec-Fetch-Site": "cross-site"}, "", 403),
        ({}, "?after=-1", 403),
        ({}, "?after=99999999999", 403),
        ({}, "?after=x", 403),
    ],
)
def test_who_is_refused(studio: Served, headers: dict[str, str], query: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused:
        listening(studio, query=query, **headers)
    assert refused.value.response.status_code == status


def test_a_key_of_another_scope_and_a_crowd_are_refused(home: Path) -> None:
    with served(home, notification_clients=2) as studio:
        key = studio.service.accounts.add_key("prometheus", "viewer", ["metrics"])
        with pytest.raises(InvalidStatus) as refused:
            listening(studio, Authorization=f"Bearer {key}")
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body)["title"] == "Forbidden"
        with listening(studio), listening(studio, OPERATOR):
            until(lambda: studio.service.studio.bell.count() == 2)
            with pytest.raises(InvalidStatus) as refused:
                listening(studio, ADMIN)
            assert refused.value.response.status_code == 503
        until(lambda: studio.service.studio.bell.count() == 0)


def test_a_thousand_malformed_messages_do_no_harm(studio: Served) -> None:
    chance = random.Random(7)
    deep, long = "[" * 900, '{"type": "ack", "id": ' + "9" * 900 + "}"
    fixed: list[str | bytes] = [
        "", "null", "17", "[]", "{}", "NaN", '{"type": "ack"}', '{"type": "ack", "id": null}', '{"type": "ack", "id": "1"}',
        '{"type": "ack", "id": true}', '{"type": "ack", "id": 1.0}', '{"type": "ack", "id": -1}', '{"type": "ack", "id": 2147483648}',
        '{"type": "ack", "id": 2000000000}', '{"type": ["ack"], "id": 1}', deep, long, "x" * 100_000, b"\x00\xff", b"", "\ud7ff\u0000",
    ]  # fmt: skip
    sent = 0
    with listening(studio) as good:
        while sent < 1_000:
            with listening(studio, OPERATOR) as bad:
                for _ in range(10):
                    random_bytes = chance.randbytes(chance.randrange(50))
                    bad.send(chance.choice([*fixed, random_bytes, random_bytes.decode("latin-1")]))
                    sent += 1
                with pytest.raises(ConnectionClosed) as closed:
                    bad.recv(timeout=60)
                assert closed.value.rcvd
                assert closed.value.rcvd.code == 1008
        podcast = finished(studio)
        assert next_one(good)["podcast_id"] == podcast
    until(lambda: studio.service.studio.bell.count() == 0)
    assert studio.service.studio.outbox.acknowledged("olga") == 0


def test_an_email_says_what_and_where(studio: Served, mail: MailServer) -> None:
    ready, wrong = finished(studio), finished(studio, title='Über "x"', state="failed")
    until(lambda: len(mail.messages) == 2)
    first, second = (message_from_bytes(text.encode(), policy=policy.default) for text in mail.messages)
    assert (first["Subject"], first["To"], first["Message-ID"]) == (
        "“A talk” is ready",
        "vic@x.test",
        f"<{ready}@podlake>",
    )
    assert f"https://podlake.example.org/studio#{ready}" in first.get_content()
    assert second["Subject"] == '“Über "x"” could not be made'
    assert "No voice." in second.get_content()
    assert wrong in second.get_content()


def test_a_user_without_an_address_gets_no_email_and_a_name_that_is_one_is_used(
    studio: Served, mail: MailServer
) -> None:
    studio.service.accounts.set_user("ann@x.test", "viewer", "a password")
    finished(studio, OPERATOR)
    finished(studio, ("ann@x.test", "a password"))
    until(lambda: studio.service.studio.outbox.mails() == {"none": 1, "sent": 1})
    assert [message_from_bytes(text.encode())["To"] for text in mail.messages] == ["ann@x.test"]


def test_the_command_line_sets_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/service.db"
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path))
    monkeypatch.setenv("PODLAKE_DATABASE_URL", url)
    done = CliRunner().invoke(users, ["add", "ben", "--email", "ben@x.test", "--password", "a password"])
    assert done.output == "ben can log in as viewer.\n"
    accounts = Accounts.at(url)
    assert accounts.address("ben") == "ben@x.test"
    accounts.remove_user("ben")
    assert accounts.address("ben") is None
    wrong = CliRunner().invoke(
        users, ["add", "ben", "--email", "ben@x.test\nBcc: all@x.test", "--password", "a password"]
    )
    assert (wrong.exit_code, accounts.users()) == (2, [])


def test_two_services_tell_once(home: Path, mail: MailServer) -> None:
    with served(home) as one, served(home) as other:
        one.service.accounts.set_address(VIEWER[0], "vic@x.test")
        with listening(one) as at_one, listening(other) as at_other:
            for index in range(5):
                finished((one, other)[index % 2], title=f"Talk {index}")
            heard = [[next_one(socket)["title"] for _ in range(5)] for socket in (at_one, at_other)]
        assert heard[0] == heard[1] == [f"Talk {index}" for index in range(5)]
        until(lambda: one.service.studio.outbox.mails() == {"sent": 5})
    assert len(mail.messages) == 5


def test_a_mail_server_that_hangs_up_is_not_asked_twice_and_one_that_refuses_is(home: Path, mail: MailServer) -> None:
    settings = Settings(home=str(home), database_url=f"sqlite:///{home}/service.db")
    service, now = Service.of(settings, ServeSettings(_env_file=None)), datetime.now(UTC)
    ledger, outbox = service.studio.ledger, service.studio.outbox

    def put() -> None:
        podcast_id = ledger.admit(Asked("vic@x.test", SCRIPT, "A talk"), Limits(at_once=9), lambda _: ()).podcast_id
        request = ledger.request(podcast_id or "")
        assert request
        outbox.put([Finished(request, "completed", address="vic@x.test")], now)

    put()
    mail.fault = "hang up"
    assert send_next_mail(service, now)
    assert (outbox.mails(), len(mail.messages)) == ({"sending": 1}, 1)
    put()
    mail.fault = "451 later"
    assert send_next_mail(service, now)
    assert outbox.mails() == {"sending": 1, "waiting": 1}
    mail.fault = ""
    assert not send_next_mail(service, datetime.now(UTC)), "it waits ten seconds"
    assert send_next_mail(service, now + timedelta(minutes=1))
    assert not send_next_mail(service, now + timedelta(days=1))
    assert (outbox.mails(), len(mail.messages)) == ({"sending": 1, "sent": 1}, 2)
