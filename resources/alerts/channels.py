"""The channels that tell people of alerts: e-mail, a webhook that Slack and others understand, a command."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Protocol

import httpx

from resources.alerts.ledger import AlertLedger, RaisedAlert
from resources.mail import NotSent, Unanswered, send_mail

log = logging.getLogger("podlake")

TIMEOUT_S = 20.0


class NotTold(Exception):
    """The channel did not take the message. It is tried again at the next evaluation."""


class Channel(Protocol):
    """A way to tell people."""

    @property
    def name(self) -> str: ...

    def tell(self, raised: RaisedAlert) -> None:
        """Raises `NotTold`."""
        ...


@dataclass(frozen=True)
class Email:
    """Sends a message to each address, through an SMTP server."""

    server: str
    """`smtp://user:password@host:587`; TLS is used if the server offers it. `smtps://` uses it from the start."""
    sender: str
    recipients: tuple[str, ...]
    name: str = "email"

    def tell(self, raised: RaisedAlert) -> None:
        message = EmailMessage()
        message["Subject"] = title(raised)
        message["From"], message["To"] = self.sender, ", ".join(self.recipients)
        message["Date"], message["Message-ID"] = format_datetime(_changed_at(raised)), make_msgid(domain="podlake")
        message.set_content(text(raised))
        try:
            send_mail(self.server, message)
        except (NotSent, Unanswered) as error:
            raise NotTold(str(error)) from error


@dataclass(frozen=True)
class Webhook:
    """Posts `{"text": …}`, as Slack, Mattermost, Discord (with /slack) and others take it, and the alert's fields."""

    url: str
    name: str = "webhook"

    def tell(self, raised: RaisedAlert) -> None:
        content = {"text": f"{title(raised)}\n{raised.alert.message}", **_fields(raised)}
        try:
            httpx.post(self.url, json=content, timeout=TIMEOUT_S).raise_for_status()
        except httpx.HTTPStatusError as error:  # its text would contain the URL, which is a secret
            raise NotTold(f"The webhook answers {error.response.status_code}.") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotTold(f"The webhook cannot be reached: {type(error).__name__}") from None


@dataclass(frozen=True)
class Command:
    """Runs a command with the alert as JSON at its standard input."""

    command: str
    name: str = "command"

    def tell(self, raised: RaisedAlert) -> None:
        given = json.dumps({"title": title(raised), **_fields(raised)}, ensure_ascii=False)
        try:
            subprocess.run(
                shlex.split(self.command), input=given, text=True, timeout=TIMEOUT_S, check=True, capture_output=True
            )
        except (subprocess.SubprocessError, OSError, ValueError) as error:
            raise NotTold(f"The command {self.command!r} failed: {error}") from error


def tell_all(ledger: AlertLedger, channels: Sequence[Channel]) -> list[str]:
    """Tell of each change that a channel has not told. Returns what could not be told, and why."""
    problems = []
    for channel in channels:
        for raised in ledger.untold(channel.name):
            try:
                channel.tell(raised)
            except NotTold as error:
                problems.append(f"{title(raised)}: {error}")
                break  # the channel is down: the rest waits too
            ledger.note_told(channel.name, raised)
    return problems


def title(raised: RaisedAlert) -> str:
    """`podlake: low_disk /data`, or `podlake: over: low_disk /data`. One line."""
    said = f"podlake: {'over: ' if raised.over_at else ''}{raised.alert.name} {raised.alert.subject}"
    return " ".join(said.split())


def text(raised: RaisedAlert) -> str:
    lines = [raised.alert.message, "", f"Raised: {raised.raised_at:%Y-%m-%d %H:%M} UTC"]
    if raised.over_at:
        lines.append(f"Over: {raised.over_at:%Y-%m-%d %H:%M} UTC")
    return "\n".join(lines) + "\n"


def _fields(raised: RaisedAlert) -> dict[str, str | None]:
    return {
        "alert": raised.alert.name,
        "subject": raised.alert.subject,
        "message": raised.alert.message,
        "state": "over" if raised.over_at else "raised",
        "raised_at": raised.raised_at.isoformat(),
        "over_at": raised.over_at.isoformat() if raised.over_at else None,
    }


def _changed_at(raised: RaisedAlert) -> datetime:
    return raised.over_at or raised.raised_at
