"""The channels against real servers on loopback, with their faults, and a real command."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from resources.alerts.channels import Command, Email, NotTold, Webhook
from resources.alerts.ledger import Alert, RaisedAlert
from tests.mail_server import mail_server, running

AT = datetime(2026, 11, 27, 12, tzinfo=UTC)
RAISED = RaisedAlert(Alert("stalled_feed", "show\r\nBcc: all@x.test", "No poll — 404.\n.\nQUIT"), AT)
OVER = RaisedAlert(RAISED.alert, AT, AT)


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.server.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def smtp(fault: str = "") -> Iterator[tuple[Email, list[str]]]:
    with mail_server(fault) as server:
        yield Email(server.url, "podlake@x.test", ("a@x.test", "b@x.test")), server.messages


@contextmanager
def hook(status: int = 200) -> Iterator[tuple[Webhook, list[dict[str, str]]]]:
    server = HTTPServer(("127.0.0.1", 0), _Hook)
    server.status, server.posts = status, []  # type: ignore[attr-defined]
    with running(server) as port:
        yield Webhook(f"http://127.0.0.1:{port}/services/secret"), server.posts  # type: ignore[attr-defined]


def test_an_email_says_what_and_adds_no_header():
    with smtp() as (email, messages):
        email.tell(RAISED)
        email.tell(OVER)
    first, second = (message_from_bytes(text.encode(), policy=policy.default) for text in messages)
    assert first["Subject"] == "podlake: stalled_feed show Bcc: all@x.test"
    assert first["Bcc"] is None
    assert first["To"] == "a@x.test, b@x.test"
    assert "No poll — 404." in first.get_content()
    assert second["Subject"].startswith("podlake: over: stalled_feed")


@pytest.mark.parametrize("fault", ["451 later", "554 refused", "421 closing"])
def test_a_mail_server_that_refuses_is_asked_again_later(fault):
    with smtp(fault) as (email, messages), pytest.raises(NotTold, match=fault[:3]):
        email.tell(RAISED)
    assert messages == []


def test_no_mail_server():
    with pytest.raises(NotTold):
        Email("smtp://127.0.0.1:9", "a@x.test", ("b@x.test",)).tell(RAISED)


def test_a_webhook_gets_text_and_fields():
    with hook() as (webhook, posts):
        webhook.tell(OVER)
    [post] = posts
    assert post["text"].startswith("podlake: over: stalled_feed show")
    assert (post["state"], post["subject"]) == ("over", RAISED.alert.subject)


@pytest.mark.parametrize("status", [404, 429, 500])
def test_a_webhook_that_refuses_does_not_show_its_url(status):
    with hook(status) as (webhook, _), pytest.raises(NotTold) as error:
        webhook.tell(RAISED)
    assert str(status) in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("url", ["https://[secret", "secret", "http://127.0.0.1:9/secret"])
def test_a_webhook_that_is_not_reached_does_not_show_its_url(url):
    with pytest.raises(NotTold) as error:
        Webhook(url).tell(RAISED)
    assert "secret" not in str(error.value)


def test_a_command_gets_json(tmp_path):
    code = f"import sys; open({str(tmp_path / 'said')!r}, 'w').write(sys.stdin.read())"
    Command(f'{sys.executable} -c "{code}"').tell(RAISED)
    said = json.loads((tmp_path / "said").read_text())
    assert (said["alert"], said["state"]) == ("stalled_feed", "raised")


@pytest.mark.parametrize("command", ["false", "/nowhere/notify", 'unbalanced "'])
def test_a_command_that_fails_is_tried_again_later(command):
    with pytest.raises(NotTold):
        Command(command).tell(RAISED)
