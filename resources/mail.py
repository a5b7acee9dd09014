"""Sends an e-mail through an SMTP server, and tells what is known when the connection breaks."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from email import policy
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

TIMEOUT_S = 20.0


class NotSent(Exception):
    """The server has not taken the message. It can be sent again."""


class Unanswered(Exception):
    """The connection broke after the message and before the answer. The server may have taken it."""


def send_mail(server: str, message: EmailMessage, before_content: Callable[[], bool] = lambda: True) -> bool:
    """Send the message from its `From` to its `To`. Raises `NotSent` or `Unanswered`.

    `server` is `smtp://user:password@host:587`; TLS is used if the server offers it. `smtps://` uses it from the start.
    `before_content` is called when the server has accepted sender and recipients. If it returns False, nothing is sent,
    and so does this.
    """
    host = urlsplit(server).hostname
    is_given = is_taken = False
    try:
        with _connected(server) as connection:
            _name(connection, message)
            if not before_content():
                return False
            is_given = True
            code, answer = connection.data(message.as_bytes(policy=policy.SMTP))
            if code != 250:
                raise smtplib.SMTPDataError(code, answer)
            is_taken = True
    except (smtplib.SMTPException, OSError) as error:
        if is_taken:  # the end of the connection failed, which concerns nobody
            return True
        if is_given and not isinstance(error, smtplib.SMTPResponseException):
            raise Unanswered(f"The mail server {host} has not answered: {error}") from error
        raise NotSent(f"The mail server {host} does not take the message: {error}") from error
    return True


def _connected(server: str) -> smtplib.SMTP:
    """A connection that is logged in."""
    parts, context = urlsplit(server), ssl.create_default_context()
    host, port = parts.hostname or "localhost", parts.port or 0
    if parts.scheme == "smtps":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=context)
    else:
        connection = smtplib.SMTP(host, port, timeout=TIMEOUT_S)
    try:
        connection.ehlo()
        if parts.scheme == "smtp" and connection.has_extn("starttls"):
            connection.starttls(context=context)
            connection.ehlo()
        if parts.username:
            connection.login(unquote(parts.username), unquote(parts.password or ""))
    except BaseException:
        connection.close()
        raise
    return connection


def _name(connection: smtplib.SMTP, message: EmailMessage) -> None:
    """Name the sender and the recipients. Raises `SMTPException` if the server refuses all of them."""
    sender = message["From"].addresses[0].addr_spec
    code, answer = connection.mail(sender)
    if code != 250:
        raise smtplib.SMTPSenderRefused(code, answer, sender)
    answers = [connection.rcpt(one.addr_spec) for one in message["To"].addresses]
    if all(code >= 300 for code, _ in answers):
        raise smtplib.SMTPResponseException(*answers[0])
