"""The request ledger: one atomic decision, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from resources.studio.ledger import Asked, Ledger, Limits, Request
from speech.script import ScriptRefused
from tests.conftest import Storage

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SCRIPT = "[S1] Hello. [S2] Hi!"


def nothing_is_open(requests: Sequence[Request]) -> Collection[str]:
    return ()


def all_are_open(requests: Sequence[Request]) -> Collection[str]:
    return [one.podcast_id for one in requests]


def asked(user: str = "ann", script: str = SCRIPT) -> Asked:
    return Asked(user, script, "A talk")


@pytest.fixture
def ledger(storage: Storage, tmp_path: Path) -> Ledger:
    return Ledger(storage["storage"]["postgres"]["postgres_url"] if storage else f"sqlite:///{tmp_path}/service.db")


def test_a_request_is_admitted_and_kept(ledger: Ledger) -> None:
    answer = ledger.admit(asked(), Limits(), nothing_is_open, now=NOON)
    assert (answer.status, answer.code) == (202, "admitted")
    assert answer.podcast_id is not None
    assert answer.podcast_id.startswith("studio-20261127-")
    request = ledger.request(answer.podcast_id)
    assert request == Request(answer.podcast_id, "ann", "A talk", "en", SCRIPT, 0, NOON, None)
    assert ledger.requests("ann") == [request]
    assert ledger.requests("bob") == []


def test_titles_of_any_script_are_admitted(ledger: Ledger) -> None:
    for number, title in enumerate(("Pourquoi\u00a0?", "می\u200cخواهم", "\N{MAN}\u200d\N{EAR OF RICE}")):
        assert ledger.admit(Asked(f"user{number}", SCRIPT, title), Limits(), nothing_is_open, now=NOON).status == 202
    assert ledger.admit(Asked("bob", SCRIPT, "two\nlines"), Limits(), nothing_is_open, now=NOON).code == "bad_title"


def test_a_user_has_one_open_request(ledger: Ledger) -> None:
    assert ledger.admit(asked(), Limits(), all_are_open, now=NOON).status == 202
    second = ledger.admit(asked(), Limits(), all_are_open, now=NOON)
    assert (second.status, second.code) == (429, "rate_limit_exceeded")
    assert second.message == "Please wait for your current podcast to complete."
    assert ledger.admit(asked(), Limits(at_once=2), all_are_open, now=NOON).status == 202
    assert ledger.admit(asked("bob"), Limits(), all_are_open, now=NOON).status == 202


def test_a_cancelled_request_is_not_open(ledger: Ledger) -> None:
    first = ledger.admit(asked(), Limits(), all_are_open, now=NOON)
    assert first.podcast_id is not None
    assert ledger.cancel(first.podcast_id, NOON)
    assert not ledger.cancel("studio-20261127-00000000")
    assert ledger.request(first.podcast_id).cancelled_at == NOON
    assert ledger.admit(asked(), Limits(), all_are_open, now=NOON).status == 202


def test_a_user_has_five_requests_in_a_day_of_utc(ledger: Ledger) -> None:
    evening = NOON.replace(hour=23, minute=59)
    for _ in range(5):
        assert ledger.admit(asked(), Limits(), nothing_is_open, now=evening).status == 202
    sixth = ledger.admit(asked(), Limits(), nothing_is_open, now=evening)
    assert (sixth.status, sixth.code, sixth.retry_after_s) == (429, "daily_limit_exceeded", 60)
    assert ledger.admit(asked(), Limits(), nothing_is_open, now=evening + timedelta(minutes=1)).status == 202


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (" \n ", "empty_script"),
        ("[S1] " + "a" * 9_995, "script_too_long"),
        ("Hello.", "no_speaker"),
        ("[S3] Hello. [S4] Hi.", "no_speaker"),
        ("Hello. [S1] Hi.", "text_before_first_speaker"),
        ("[S1] Hello. [S2] [S1] Hi.", "empty_turn"),
        ("[S1] Hello. [S2] <|laughter|> ...", "empty_turn"),
        ("[S1] a [S2] b [S3] c [S4] d [S5] e", "too_many_speakers"),
        ("[S1] a\x00b", "not_text"),
        ("[S1] a\ufffeb", "not_text"),
        ("[S1] a\ud800b", "not_text"),
    ],
)
def test_scripts_against_the_rules_are_refused(ledger: Ledger, script: str, code: str) -> None:
    answer = ledger.admit(asked(script=script), Limits(), nothing_is_open, now=NOON)
    assert (answer.status, answer.code, answer.podcast_id) == (400, code, None)
    assert ledger.requests() == []


def test_a_script_of_9999_characters_is_admitted(ledger: Ledger) -> None:
    script = ("[S1] " + "a" * 9_994)[:9_999]
    assert ledger.admit(asked(script=script), Limits(), nothing_is_open, now=NOON).status == 202


def test_the_voices_may_refuse_a_turn(ledger: Ledger) -> None:
    def check(turns: object, language: str) -> None:
        raise ScriptRefused("turn_too_long", "Turn 2 is too long for its voice.")

    answer = ledger.admit(asked(), Limits(), nothing_is_open, check_turns=check, now=NOON)
    assert (answer.status, answer.code) == (400, "turn_too_long")


def test_the_same_key_gets_the_same_answer(ledger: Ledger) -> None:
    first = ledger.admit(asked(), Limits(), all_are_open, key="k1", now=NOON)
    assert first.status == 202
    assert ledger.admit(asked(), Limits(), all_are_open, key="k1", now=NOON) == first
    assert len(ledger.requests()) == 1
    refused = ledger.admit(asked(), Limits(), all_are_open, key="k2", now=NOON)
    assert refused.code == "rate_limit_exceeded"
    assert ledger.admit(asked(), Limits(), nothing_is_open, key="k2", now=NOON) == refused
    other = ledger.admit(asked(script="[S1] Else."), Limits(), nothing_is_open, key="k1", now=NOON)
    assert (other.status, other.code) == (422, "idempotency_key_reused")
    assert ledger.admit(asked("bob"), Limits(), nothing_is_open, key="k1", now=NOON).podcast_id != first.podcast_id
    assert ledger.admit(asked(), Limits(), nothing_is_open, key="k1", now=NOON + timedelta(days=2)) != first


def test_a_key_that_is_being_decided_gets_409(ledger: Ledger) -> None:
    ledger.request("")  # makes the tables
    ledger._reserve(asked(), "k1", NOON)
    now = NOON + timedelta(seconds=5)
    answer = ledger.admit(asked(), Limits(), nothing_is_open, key="k1", now=now)
    assert (answer.status, answer.code) == (409, "request_in_progress")
    late = NOON + timedelta(seconds=61)  # the process that reserved it has exited
    assert ledger.admit(asked(), Limits(), nothing_is_open, key="k1", now=late).status == 202


def test_clicks_at_once_are_one_job(ledger: Ledger) -> None:
    ledger.request("")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ledger.admit(asked(), Limits(), all_are_open, now=NOON), range(16)))
    assert sorted(answer.status for answer in answers) == [202, *[429] * 15]
    with ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda _: ledger.admit(asked("bob"), Limits(), all_are_open, key="k", now=NOON), range(16))
        )
    assert {answer.podcast_id for answer in answers if answer.status == 202} == {ledger.requests("bob")[0].podcast_id}
    assert {answer.status for answer in answers} <= {202, 409}


def test_an_attempt_is_claimed_once(ledger: Ledger) -> None:
    ledger.request("")
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda _: ledger.claim("studio-1", 1, NOON), range(8)))
    assert sorted(claims) == [*[False] * 7, True]
    assert ledger.claim("studio-1", 2, NOON)
    assert not ledger.claim("studio-1", 1, NOON + timedelta(seconds=119))
    assert ledger.claim("studio-1", 1, NOON + timedelta(seconds=121))
