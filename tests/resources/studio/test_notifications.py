"""The outbox of notifications: once for each podcast, in order, and each e-mail by one process, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from resources.database import open_database
from resources.studio.ledger import SCHEMA, Asked, Ledger, Limits, Request
from resources.studio.notifications import KEPT, MAIL_GIVEN_UP, MAIL_LEASE, Finished, Notifications
from tests.conftest import Storage

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
LATER = NOW + MAIL_LEASE + timedelta(seconds=1)


@pytest.fixture
def url(storage: Storage, tmp_path: Path) -> str:
    return storage["storage"]["postgres"]["postgres_url"] if storage else f"sqlite:///{tmp_path}/service.db"


@pytest.fixture
def outbox(url: str) -> Notifications:
    open_database(url, SCHEMA)
    return Notifications.at(url)


def request(url: str, user: str = "ann", title: str = "A talk") -> Request:
    ledger = Ledger(url)
    answer = ledger.admit(Asked(user, "[S1] Hello.", title), Limits(), lambda _: (), now=NOW)
    found = ledger.request(answer.podcast_id or "")
    assert found
    return found


def test_each_podcast_is_told_once_in_order(url: str, outbox: Notifications) -> None:
    first, second, third = request(url), request(url, "bob"), request(url, title="Another")
    assert [one.podcast_id for one in outbox.untold(NOW)] == sorted(
        one.podcast_id for one in (first, second, third)
    )  # fmt: skip
    outbox.put([Finished(second, "failed", "No voice."), Finished(first, "completed")], NOW)
    outbox.put([Finished(first, "failed"), Finished(third, "completed")], NOW)
    assert outbox.untold(NOW) == []
    told, last = outbox.after("ann", 0)
    assert [(one.podcast_id, one.title, one.state) for one in (told, last)] == [
        (first.podcast_id, "A talk", "completed"), (third.podcast_id, "Another", "completed"),
    ]  # fmt: skip
    assert outbox.after("ann", told.id) == [last]
    assert [one.error for one in outbox.after("bob", 0)] == ["No voice."]
    assert outbox.newest_id() == last.id
    assert outbox.users_after(told.id) == {"ann"}
    outbox.put([], NOW + KEPT + timedelta(days=1))
    assert outbox.after("ann", 0) == []


def test_a_cancelled_request_is_not_told(url: str, outbox: Notifications) -> None:
    Ledger(url).cancel(request(url).podcast_id)
    assert outbox.untold(NOW) == []


def test_many_processes_tell_of_one_podcast_once(url: str, outbox: Notifications) -> None:
    one = request(url)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: outbox.put([Finished(one, "completed", address="ann@x.test")], NOW), range(6)))
        claimed = list(pool.map(lambda _: outbox.claim_mail(NOW), range(6)))
    assert len(outbox.after("ann", 0)) == 1
    assert sum(mail is not None for mail in claimed) == 1


def test_what_is_acknowledged_only_grows_and_is_ones_own(url: str, outbox: Notifications) -> None:
    outbox.put([Finished(request(url), "completed"), Finished(request(url, "bob"), "completed")], NOW)
    outbox.put([Finished(request(url), "completed")], NOW)
    first, second = outbox.after("ann", 0)
    assert outbox.acknowledged("ann") == 0
    assert outbox.acknowledge("ann", second.id)
    assert outbox.acknowledge("ann", first.id)
    assert outbox.acknowledged("ann") == second.id
    for wrong in (outbox.after("bob", 0)[0].id, 10**6, -1, 0):
        assert not outbox.acknowledge("ann", wrong)
    assert outbox.acknowledged("ann") == second.id


def test_an_email_of_a_killed_process_is_sent_by_another_unless_its_content_may_have_been(
    url: str, outbox: Notifications
) -> None:
    outbox.put(
        [Finished(request(url), "completed", address="ann@x.test"), Finished(request(url, "bob"), "failed")], NOW
    )
    killed = outbox.claim_mail(NOW)
    assert killed
    assert killed.address == "ann@x.test"
    assert outbox.claim_mail(NOW) is None
    second = outbox.claim_mail(LATER)
    assert second
    assert not outbox.begin_mail(killed, LATER)
    assert outbox.begin_mail(second, LATER)
    assert outbox.claim_mail(LATER + MAIL_LEASE * 2) is None
    outbox.note_sent(killed)
    assert outbox.mails() == {"none": 1, "sending": 1}
    outbox.note_sent(second)
    assert outbox.mails() == {"none": 1, "sent": 1}


def test_a_refused_email_is_tried_for_three_days(url: str, outbox: Notifications) -> None:
    outbox.put([Finished(request(url), "completed", address="ann@x.test")], NOW)
    now = NOW
    while mail := outbox.claim_mail(now):
        assert outbox.begin_mail(mail, now)
        outbox.note_refused(mail, "451", now)
        assert outbox.claim_mail(now + timedelta(seconds=9)) is None
        now += timedelta(hours=4)
    assert outbox.mails() == {"given_up": 1}
    assert MAIL_GIVEN_UP < now - NOW <= MAIL_GIVEN_UP + timedelta(hours=8)
