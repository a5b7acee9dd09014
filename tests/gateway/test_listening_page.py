"""The live player in Chromium: start buffer, words, pause, jumps, lost connections, and a podcast that is being made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.gateway.serving import VIEWER, Served
from tests.gateway.test_listening import listening, metric, requested, say  # noqa: F401 - a fixture
from tests.talks import BREAD, RAIN

TIMEOUT_MS = 60_000


@pytest.fixture
def page(talks: Served, browser: Any) -> Iterator[Any]:
    """A page whose user has logged in. Errors of its scripts fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(TIMEOUT_MS)
    errors: list[str] = []
    found = context.new_page()
    found.on("pageerror", lambda error: errors.append(str(error)))
    found.goto(f"{talks.url}/listen/{RAIN}")
    found.get_by_label("Name").fill(VIEWER[0])
    found.get_by_label("Password").fill(VIEWER[1])
    found.get_by_role("button").click()
    found.wait_for_selector("#listen")
    yield found
    context.close()
    assert errors == []


def listen(page: Any, served: Served, key: str, from_ms: int = 0) -> None:
    page.goto(f"{served.url}/listen/{key}" + (f"?from={from_ms}" if from_ms else ""))
    page.click("#listen")


def is_at(page: Any, seconds: float) -> None:
    """Wait until the sound has passed this time."""
    page.wait_for_function("s => document.querySelector('.lp audio')?.currentTime > s", arg=seconds)


def state(page: Any, text: str) -> None:
    page.wait_for_function("text => document.querySelector('.lp-status')?.textContent.startsWith(text)", arg=text)


def picture(page: Any, name: str) -> None:
    if folder := os.environ.get("PODLAKE_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_an_episode_plays_with_its_words(
    talks: Served, page: Any, violations: Callable[[Any], list[str]], width: int, height: int
) -> None:
    page.set_viewport_size({"width": width, "height": height})
    listen(page, talks, RAIN)
    is_at(page, 0.5)
    assert page.evaluate("livePlayer.audio.buffered.length") == 1
    assert page.evaluate("livePlayer.rebuffers") == 0
    page.wait_for_selector(".lp-now")
    page.wait_for_selector("li[aria-current] p:has-text('Listen to the rain')")
    assert page.locator(".lp-turns li").nth(1).locator("p").inner_text().startswith("Rain, Café and <script>")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []
    picture(page, f"listen-{width}")


def test_from_a_time_to_the_end_and_again(talks: Served, page: Any) -> None:
    listen(page, talks, RAIN, 41_700)
    state(page, "The end.")
    assert page.evaluate("livePlayer.audio.currentTime") == pytest.approx(43.5, abs=0.1)
    assert page.evaluate("livePlayer.rebuffers") == 0
    page.click(".lp-play")  # play again, from the beginning
    state(page, "Playing.")
    is_at(page, 0.3)
    assert page.evaluate("livePlayer.audio.currentTime") < 20


def test_pause_and_jump(talks: Served, page: Any) -> None:
    listen(page, talks, RAIN)
    is_at(page, 0.2)
    page.click(".lp-play")
    state(page, "Paused.")
    assert page.evaluate("livePlayer.audio.paused")
    page.click(".lp-play")
    state(page, "Playing.")
    page.evaluate("livePlayer.seek(35_200)")  # what is not there yet
    is_at(page, 35)
    assert page.evaluate("livePlayer.audio.buffered.start(0)") == pytest.approx(35, abs=0.05)
    page.locator(".lp-at").first.click()  # what is not there any more
    page.wait_for_function("() => livePlayer.audio.currentTime < 30 && !livePlayer.audio.paused")
    assert page.evaluate("livePlayer.rebuffers") == 0


def test_a_lost_connection_goes_on_where_it_was(talks: Served, page: Any) -> None:
    listen(page, talks, RAIN)
    is_at(page, 0.2)
    page.wait_for_function("() => livePlayer.ahead() > 6")  # the new connection may take so long
    before = page.evaluate("livePlayer.nextMs")
    page.evaluate("livePlayer.socket.close()")
    page.wait_for_function("before => livePlayer.nextMs > before + 2000", arg=before)
    # What has come is appended by and by.
    page.wait_for_function("() => Math.abs(livePlayer.audio.buffered.end(0) * 1000 - livePlayer.nextMs) < 600")
    assert page.evaluate("livePlayer.audio.buffered.length") == 1  # without a gap, and nothing twice
    assert page.evaluate("livePlayer.rebuffers") == 0


def test_old_audio_is_removed(talks: Served, page: Any) -> None:
    listen(page, talks, RAIN)
    is_at(page, 0.1)
    page.evaluate("livePlayer.keptS = 0.5")  # instead of 30
    page.wait_for_function("() => livePlayer.audio.buffered.start(0) > 0.4")
    assert page.evaluate("livePlayer.audio.buffered.length") == 1
    state(page, "Playing.")


def test_a_podcast_is_heard_while_it_is_made(
    talks: Served, page: Any, requested: str, violations: Callable[[Any], list[str]]  # noqa: F811
) -> None:  # fmt: skip
    listen(page, talks, requested)
    state(page, "Waiting for the first words")
    say(talks, requested, 0)
    say(talks, requested, 1)
    is_at(page, 0.5)
    assert page.inner_text(".lp h2") == "The roof"
    state(page, "Buffering: what follows is being made")
    assert page.evaluate("livePlayer.rebuffers") == 1
    assert violations(page) == []
    picture(page, "listen-making")
    say(talks, requested, 2)
    state(page, "The end.")
    assert page.locator(".lp-turns li").count() == 3
    assert page.inner_text(".lp-time").endswith(" / 0:06")
    page.get_by_label("Place in the audio").fill("1")  # by keys, as by the mouse
    page.wait_for_function("() => livePlayer.audio.currentTime < 5")
    state(page, "The end.")
    assert page.evaluate("livePlayer.audio.currentTime") == pytest.approx(5.9, abs=0.3)


def test_the_studio_has_the_player(talks: Served, page: Any, requested: str) -> None:  # noqa: F811
    say(talks, requested, 0)
    say(talks, requested, 1)
    page.goto(f"{talks.url}/studio#{requested}")
    page.get_by_role("button", name="Listen live").click()
    is_at(page, 0.5)
    page.wait_for_selector("#live-player .lp-now")


def test_the_reading_page_leads_here(talks: Served, page: Any, violations: Callable[[Any], list[str]]) -> None:
    page.goto(f"{talks.url}/corpus/episodes/{RAIN}.html#ms=5600")
    assert violations(page) == []
    page.wait_for_function("() => document.getElementById('audio').currentTime > 5")
    page.get_by_role("link", name="Listen from here").click()
    page.wait_for_url(f"**/listen/{RAIN}?from=5600")
    assert page.inner_text("#from") == "from 00:05"
    page.click("#listen")
    is_at(page, 5.6)
    page.goto(f"{talks.url}/corpus/episodes/{BREAD}.html")  # its audio is not kept
    assert page.get_by_role("link", name="Listen from here").count() == 0


def test_errors_are_said(talks: Served, page: Any) -> None:
    listen(page, talks, BREAD)
    page.wait_for_selector(".lp-bad")
    assert "not fetched yet" in page.inner_text(".lp-status")
    listen(page, talks, RAIN)
    is_at(page, 0.1)
    path = page.evaluate("livePlayer.path")
    with listening(talks, path) as other:  # the same token in another window
        other.audio(1)
        state(page, "You listen in another window.")


def test_the_player_reports_when_sound_begins(talks: Served, page: Any) -> None:
    before = metric(talks, "podlake_player_start_seconds_count")
    listen(page, talks, RAIN, 30_000)
    is_at(page, 30.1)
    page.wait_for_function("() => livePlayer.hasStarted && livePlayer.socket.bufferedAmount === 0")
    assert metric(talks, "podlake_player_start_seconds_count") == before + 1
