"""Tells users of podcasts that are finished: fills the outbox, wakes WebSockets, and sends e-mails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime

from dagster_project.podcasts import statuses
from gateway.service import Service
from resources.mail import NotSent, Unanswered, send_mail
from resources.studio.notifications import Finished, Notification

LOOK_S = 1.0
log = logging.getLogger("podlake")


@asynccontextmanager
async def telling(service: Service) -> AsyncIterator[None]:
    """Tell while the application runs. Other processes may do the same."""
    last_id = await asyncio.to_thread(service.studio.outbox.newest_id)

    async def ring() -> None:
        nonlocal last_id
        newest = await asyncio.to_thread(service.studio.outbox.newest_id)
        if newest > last_id:
            service.studio.bell.ring(await asyncio.to_thread(service.studio.outbox.users_after, last_id))
            last_id = newest

    async def look() -> None:
        await asyncio.to_thread(note_finished, service, datetime.now(UTC))
        await ring()

    async def send() -> None:
        while await asyncio.to_thread(send_next_mail, service, datetime.now(UTC)):
            pass

    works = [look, send] if service.settings.smtp_url.get_secret_value() else [look]
    tasks = [asyncio.create_task(_again_and_again(work)) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        service.studio.close()


async def _again_and_again(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception:
            log.exception("Users could not be told of their podcasts; the next try is in %.0f s", LOOK_S)
        await asyncio.sleep(LOOK_S)


def note_finished(service: Service, now: datetime) -> None:
    """Take into the outbox what has ended since the last look, whoever has made it."""
    studio = service.studio
    waiting = studio.outbox.untold(now)
    if not waiting:
        return
    finished = [
        Finished(one.request, "completed" if one.state == "completed" else "failed", one.error, _address(service, one.request.user_id))
        for one in statuses(studio.instance, studio.lake, waiting)
        if one.state in ("completed", "failed")
    ]  # fmt: skip
    if finished:
        studio.outbox.put(finished, now)


def send_next_mail(service: Service, now: datetime) -> bool:
    """Send the next e-mail that is due. Returns whether there was one."""
    outbox = service.studio.outbox
    one = outbox.claim_mail(now)
    if one is None:
        return False
    message = _message(one, service.settings.smtp_from, service.serve.url.rstrip("/"))
    try:
        is_sent = send_mail(
            service.settings.smtp_url.get_secret_value(), message, lambda: outbox.begin_mail(one, datetime.now(UTC))
        )
    except NotSent as error:
        log.warning("%s: the e-mail is sent later. %s", one.podcast_id, error)
        outbox.note_refused(one, str(error), datetime.now(UTC))
    except Unanswered as error:
        log.warning("%s: the e-mail is not sent again, because it may have arrived. %s", one.podcast_id, error)
        outbox.note_unanswered(one, str(error))
    else:
        if is_sent:
            outbox.note_sent(one)
    return True


def _address(service: Service, user_id: str) -> str | None:
    """Where the user gets e-mails; None without a mail server or an address."""
    if not service.settings.smtp_url.get_secret_value():
        return None
    accounts = service.accounts
    return accounts.address(user_id) or accounts.address(user_id.removeprefix("oidc:"))


def _message(one: Notification, sender: str, url: str) -> EmailMessage:
    is_ready = one.state == "completed"
    message = EmailMessage()
    message["Subject"] = f"“{one.title}” is ready" if is_ready else f"“{one.title}” could not be made"
    message["From"], message["To"] = sender, one.address
    # Its id is the podcast's: a mailbox that drops repeated ids would show it once even if it came twice.
    message["Date"], message["Message-ID"] = format_datetime(one.at), f"<{one.podcast_id}@podlake>"
    message["Auto-Submitted"] = "auto-generated"
    said = f"Your podcast “{one.title}” is ready." if is_ready else f"Your podcast “{one.title}” could not be made."
    lines = [said, *([one.error] if one.error else []), *([f"{url}/studio#{one.podcast_id}"] if url else [])]
    message.set_content("\n\n".join(lines) + "\n")
    return message
