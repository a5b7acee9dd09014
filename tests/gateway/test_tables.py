"""Users, keys, sessions, the outbox and idempotency keys, in SQLite and PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from gateway import idempotency, webhooks
from gateway.errors import Problem
from gateway.idempotency import Once
from gateway.landings import Event
from gateway.webhooks import Webhooks
from resources import accounts
from resources.accounts import AccountRefused, Accounts
from resources.database import open_database
from tests.conftest import Storage


@pytest.fixture
def database(storage: Storage, tmp_path: Path) -> sa.Engine:
    url = storage["storage"]["postgres"]["postgres_url"] if storage else f"sqlite:///{tmp_path}/service.db"
    return open_database(url, accounts.SCHEMA, idempotency.SCHEMA, webhooks.SCHEMA)


def test_keys_and_sessions(database: sa.Engine) -> None:
    found = Accounts(database)
    key = found.add_key("reader", "viewer", ["read"])
    entry = found.key_of(key)
    assert entry is not None
    assert (entry.name, entry.role, entry.scopes, entry.last_used_at) == ("reader", "viewer", ("read",), None)
    with pytest.raises(AccountRefused, match="already"):
        found.add_key("reader", "viewer")
    with pytest.raises(AccountRefused, match="no scope lunch"):
        found.add_key("other", "viewer", ["lunch"])
    with pytest.raises(AccountRefused, match="no role chief"):
        found.add_key("other", "chief")  # type: ignore[arg-type]
    found.note_use("reader")
    assert found.all_keys()[0].last_used_at is not None
    found.revoke_key("reader")
    assert found.key_of(key) is None
    with pytest.raises(AccountRefused, match="no valid key"):
        found.revoke_key("reader")
    token = found.begin_session("ana", 1.0)
    assert found.session_user(token) == "ana"
    found.end_session(token)
    assert found.session_user(token) is None


def test_an_event_enters_the_outbox_once(database: sa.Engine) -> None:
    found = Webhooks(database)
    hook, secret = found.add("http://127.0.0.1:1/", ["landed"], [])
    at = datetime.now(UTC) + timedelta(seconds=1)
    event = Event("stamp.audio.key", "landed", "audio", "key", "feed", at)
    found.put([event, replace(event, id="stamp.audio.other", kind="failed")])
    found.put([event])
    ((due),) = found.due()
    assert (due.event_id, due.secret, due.attempts) == (event.id, secret, 0)
    found.note(hook.webhook_id, event.id, "The server answered 503.", 1, due.added_at)
    assert found.due() == []
    (listed,) = found.all()
    assert (listed.waiting, listed.last_error) == (1, "The server answered 503.")
    found.note(hook.webhook_id, event.id, None, 2, due.added_at)
    assert found.all()[0].waiting == 0
    found.put([event])
    assert found.all()[0].waiting == 0
    assert found.remove(hook.webhook_id)
    assert not found.remove(hook.webhook_id)


def test_work_is_done_once_per_key(database: sa.Engine) -> None:
    done: list[int] = []

    def work() -> int:
        done.append(1)
        return len(done)

    once = Once(database, int)
    assert [once.do("ana", "key", "content", work) for _ in range(3)] == [1, 1, 1]
    assert once.do("ben", "key", "content", work) == 2
    assert once.do("ana", None, "content", work) == 3
    with pytest.raises(Problem, match="another request"):
        once.do("ana", "key", "other content", work)

    def fail() -> int:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        once.do("ana", "failed", "content", fail)
    assert once.do("ana", "failed", "content", work) == 4

    def inside() -> int:
        return once.do("ana", "nested", "content", work)

    with pytest.raises(Problem, match="in work"):
        once.do("ana", "nested", "content", inside)
