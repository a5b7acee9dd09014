"""The studio's pages in a real browser: the editor, the button's states, progress by turn, the player, the admin view."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pytest

from dagster_project.attempts import ATTEMPT_TAG
from dagster_project.podcasts import PODCAST_TAG
from podlake.api import NewPodcast
from tests.gateway.serving import ADMIN, OPERATOR, VIEWER, Served, served
from tests.gateway.test_podcasts import _nothing, failed
from tests.podcasts import SCRIPT, finish, say_lines

DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture
def studio(tmp_path, _dagster_home: None) -> Iterator[Served]:
    with served(tmp_path / "home") as found:
        yield found


@contextmanager
def opened(browser: Any, studio: Served, user: tuple[str, str] = VIEWER, path: str = "/studio") -> Iterator[Any]:
    """The page of a user who logs in at the form. Errors in its console fail the test."""
    errors: list[str] = []
    context = browser.new_context(viewport=DESK)
    page = context.new_page()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{studio.url}/login")
    page.fill("[name=username]", user[0])
    page.fill("[name=password]", user[1])
    page.click("button")
    page.wait_for_selector("#totals dd")
    errors.clear()  # the form itself is an answer 401
    page.goto(f"{studio.url}{path}")
    page.wait_for_selector("#state:not(:has-text('Loading'))")
    yield page
    assert [one for one in errors if "status of 4" not in one] == []
    context.close()


def assert_looks_right(page: Any, violations: Callable[[Any], list[str]], name: str) -> None:
    """No violation and nothing beyond the window: on a desk in light colours, and on a phone in dark ones."""
    for scheme, size in (("light", DESK), ("dark", PHONE)):
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        if folder := os.environ.get("PODLAKE_SCREENSHOTS"):
            page.screenshot(path=f"{folder}/{name}-{scheme}.png", full_page=True)
    page.set_viewport_size(DESK)


def requested(studio: Served, user: tuple[str, str] = VIEWER, title: str = "A talk") -> str:
    with studio.api(user) as client:
        return client.request_podcast(NewPodcast(SCRIPT, title)).podcast_id


def begun(studio: Served, podcast_id: str) -> None:
    """A run of the podcast works."""
    instance = studio.service.studio.instance
    run = instance.create_run_for_job(_nothing, tags={PODCAST_TAG: podcast_id, ATTEMPT_TAG: "1"})
    instance.report_dagster_event(dg.DagsterEvent(dg.DagsterEventType.PIPELINE_START.value, "nothing"), run.run_id)


def test_from_a_script_to_a_player(studio: Served, browser: Any, violations: Callable[[Any], list[str]]) -> None:
    shared = studio.service.studio
    with opened(browser, studio) as page:
        make = page.locator("#make")
        assert (make.get_attribute("data-state"), make.inner_text()) == ("idle", "Make the podcast")
        assert page.locator("#own").inner_text() == "You have requested no podcast yet."
        page.fill("#title", "The roof")
        page.click("#tags button:has-text('[S1]')")
        page.keyboard.type("Welcome to the roof.")
        page.click("#tags button:has-text('[S2]')")
        page.wait_for_selector("#script-error:not([hidden])")
        assert page.locator("#script-error").inner_text().startswith("Turn 2, by S2, says nothing.")
        assert page.locator("#script").get_attribute("aria-invalid") == "true"
        assert_looks_right(page, violations, "studio-invalid")
        page.keyboard.type("I planted seeds.")
        page.wait_for_selector("#script-error", state="hidden")
        assert page.locator("#script").input_value() == "[S1] Welcome to the roof.\n[S2] I planted seeds."
        assert page.locator("#script-count").inner_text() == "47 of 9,999 characters, 2 turns"
        page.evaluate("() => { document.getElementById('make').click(); document.getElementById('make').click() }")
        page.wait_for_selector("#make[data-state=queued]")
        assert page.locator("#make").inner_text() in ("In the queue", "In the queue: place 1")
        page.wait_for_selector("#current-state:has-text('in the queue, place 1')")
        (request,) = shared.ledger.requests()
        assert page.locator("#make").is_disabled()

        begun(studio, request.podcast_id)
        say_lines(shared.files, request.podcast_id, 1)
        page.wait_for_selector("#make[data-state=processing]")
        assert page.locator("#make").inner_text() == "Being made: 1 of 2 lines"
        assert [line.split("\n")[0] for line in page.locator("#turns li").all_inner_texts()] == ["✓ said", "waits"]
        assert page.locator("#progress").evaluate("bar => [bar.value, bar.max]") == [1, 2]
        page.click("#listen")
        page.wait_for_selector("#live-player .lp-status")
        assert_looks_right(page, violations, "studio-processing")

        page.evaluate("livePlayer.stop()")
        finish(studio.service.lake, shared.files, request.podcast_id)
        page.wait_for_selector("#make[data-state=ready]")
        page.wait_for_selector("#notices > div")
        assert page.locator("#notices span").all_inner_texts() == ["“The roof” is ready."]
        assert page.locator("#audio").is_visible()
        page.locator("#turns button").nth(1).click()
        while page.locator("#audio").evaluate("audio => audio.currentTime") < 0.5:
            page.wait_for_timeout(50)
        page.wait_for_selector("#turns [aria-current]")
        with page.expect_download() as saved:
            page.click("#save-mp3")
        assert saved.value.suggested_filename == "The roof.mp3"
        assert_looks_right(page, violations, "studio-ready")
        page.reload()
        page.wait_for_selector("#make[data-state=ready]")
        assert page.locator("#notices > div").count() == 0, "it was acknowledged"
    assert len(shared.ledger.requests()) == 1


def test_a_failure_is_told_and_can_be_tried_again(
    studio: Served, browser: Any, violations: Callable[[Any], list[str]]
) -> None:
    podcast = requested(studio)
    with opened(browser, studio) as page:
        page.wait_for_selector("#make[data-state=queued]")
        failed(studio, podcast)
        page.wait_for_selector("#make[data-state=failed]")
        page.wait_for_selector("#notices > div.failed")
        assert page.locator("#current-error").inner_text() == "No voice is set for S2."
        assert page.locator("#script").input_value() == SCRIPT
        assert_looks_right(page, violations, "studio-failed")
        page.click("#make")
        page.wait_for_selector("#make[data-state=queued]")
        page.click("#cancel")
        page.wait_for_selector("#make[data-state=idle]")
        assert page.locator("#own .badge").all_inner_texts() == ["cancelled", "failed"]


def test_a_refused_request_says_why_and_a_draft_outlives_a_reload(studio: Served, browser: Any) -> None:
    with opened(browser, studio) as page:
        page.fill("#title", "<b>bold</b>")
        page.fill("#script", "Hello")
        page.fill("#language", "xx9")
        page.wait_for_selector("#language-error:not([hidden])")
        page.click("#make")
        page.wait_for_selector("#make[data-state=idle]:not(:disabled)")
        assert page.locator("#language-error").inner_text() == "This names no language: use a tag such as en or de."
        page.fill("#language", "en")
        page.click("#make")
        page.wait_for_selector("#script-error:has-text('begin each turn')")
        page.reload()
        page.wait_for_selector("#tags button")
        assert page.locator("#script").input_value() == "Hello"
        requested(studio)  # meanwhile, in another window
        page.fill("#script", SCRIPT)
        page.click("#make")
        page.wait_for_selector("#refusal:has-text('Please wait for your current podcast to complete.')")


def test_an_administrator_sees_and_cancels_everything(
    studio: Served, browser: Any, violations: Callable[[Any], list[str]]
) -> None:
    mine, other = requested(studio, title="<i>mine</i>"), requested(studio, OPERATOR, "Another")
    failed(studio, other)
    with opened(browser, studio, ADMIN, "/studio/all") as page:
        page.wait_for_selector("#all td")
        rows = [line.split("\t") for line in page.locator("#all tbody tr").all_inner_texts()]
        assert [(row[0], row[1]) for row in rows] == [("olga", "Another"), ("vic", "<i>mine</i>")]
        assert page.locator("#users tbody tr").count() == 2
        assert page.locator("#all small").inner_text() == "No voice is set for S2."
        assert_looks_right(page, violations, "studio-all")
        page.on("dialog", lambda dialog: dialog.accept())
        page.click("#all button")
        page.wait_for_selector("#all .cancelled")
        assert studio.service.studio.ledger.request(mine).cancelled_at
        page.fill("#user", "olga")
        page.press("#user", "Enter")
        page.wait_for_selector("#all tbody tr:only-child")
    with studio.client(VIEWER) as client:
        assert client.get("/studio/all").status_code == 403
