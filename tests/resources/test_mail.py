"""E-mails through a real SMTP server, with its faults."""

from __future__ import annotations

from email import policy
from email.message import EmailMessage

import pytest

from resources.mail import NotSent, Unanswered, send_mail
from tests.mail_server import mail_server


@pytest.fixture
def message() -> EmailMessage:
    made = EmailMessage()
    made["From"], made["To"], made["Subject"] = "podlake@x.test", "ann@x.test", "Tomatoes"
    made.set_content("One line.\n.\nÜber.\n")
    return made


def test_a_message_arrives_whole(message: EmailMessage) -> None:
    with mail_server() as server:
        assert send_mail(server.url, message)
        assert server.messages == [message.as_bytes(policy=policy.SMTP).decode()]


def test_nothing_is_sent_if_it_is_not_wanted_any_more(message: EmailMessage) -> None:
    with mail_server() as server:
        assert not send_mail(server.url, message, lambda: False)
        assert server.messages == []


def test_a_refusal_is_told_apart_from_an_answer_that_is_missing(message: EmailMessage) -> None:
    begun: list[bool] = []
    with mail_server("451 later") as server, pytest.raises(NotSent, match="451"):
        send_mail(server.url, message, lambda: not begun.append(True))
    assert begun == [True]
    with mail_server("hang up") as server, pytest.raises(Unanswered):
        send_mail(server.url, message)
    with pytest.raises(NotSent):
        send_mail("smtp://127.0.0.1:9", message)
