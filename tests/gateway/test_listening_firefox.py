"""The live player in Firefox, muted: it buffers, plays, jumps, and waits for a podcast that is being made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.serving import VIEWER, Served
from tests.gateway.test_listening import metric, requested, say  # noqa: F401 - a fixture
from tests.marionette import Firefox, firefox
from tests.talks import RAIN


@pytest.fixture(scope="module")
def window(talks: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firefox]:
    """A window whose user has logged in."""
    with firefox(tmp_path_factory.mktemp("firefox")) as found:
        found.open(f"{talks.url}/listen/{RAIN}")
        found.run(f"document.querySelector('[name=username]').value = '{VIEWER[0]}'")
        found.run(f"document.querySelector('[name=password]').value = '{VIEWER[1]}'")
        found.run("document.querySelector('form button').click()")
        found.wait("document.getElementById('listen') !== null")
        assert "Firefox/" in found.run("navigator.userAgent")
        yield found


def listen(window: Firefox) -> None:
    """Click, and mute: Firefox plays no sound, and nothing after it, on machines without a sound device."""
    window.run("document.getElementById('listen').click()")
    window.run("livePlayer.audio.muted = true")


def is_at(window: Firefox, seconds: float) -> None:
    window.wait(f"document.querySelector('.lp audio')?.currentTime > {seconds}")


def state(window: Firefox, text: str) -> None:
    window.wait(f"document.querySelector('.lp-status')?.textContent.startsWith('{text}')")


def test_an_episode_plays_to_its_end_without_a_gap(talks: Served, window: Firefox) -> None:
    before = metric(talks, "podlake_player_rebuffers_total")
    window.open(f"{talks.url}/listen/{RAIN}?from=40000")
    listen(window)
    is_at(window, 40.2)
    assert window.run("livePlayer.audio.buffered.start(0)") == pytest.approx(40, abs=0.05)
    state(window, "The end.")
    assert window.run("livePlayer.audio.buffered.length") == 1
    assert window.run("livePlayer.audio.currentTime") == pytest.approx(43.5, abs=0.1)
    assert window.run("livePlayer.rebuffers") == 0
    assert metric(talks, "podlake_player_rebuffers_total") == before


def test_pause_jump_and_words(talks: Served, window: Firefox) -> None:
    window.open(f"{talks.url}/listen/{RAIN}")
    listen(window)
    is_at(window, 0.3)
    assert window.wait("document.querySelector('.lp-now')?.textContent")
    window.run("document.querySelector('.lp-play').click()")
    state(window, "Paused.")
    window.run("livePlayer.seek(30200)")  # a jump plays
    is_at(window, 30.1)
    state(window, "Playing.")
    assert window.run("livePlayer.rebuffers") == 0


def test_a_lost_connection_goes_on_where_it_was(talks: Served, window: Firefox) -> None:
    window.open(f"{talks.url}/listen/{RAIN}")
    listen(window)
    is_at(window, 0.2)
    window.run("livePlayer.before = livePlayer.nextMs")
    window.run("livePlayer.socket.close()")
    window.wait("livePlayer.nextMs > livePlayer.before + 2000")
    # What has come is appended by and by.
    window.wait("Math.abs(livePlayer.audio.buffered.end(0) * 1000 - livePlayer.nextMs) < 600")
    assert window.run("livePlayer.audio.buffered.length") == 1  # without a gap, and nothing twice


def test_a_podcast_is_heard_while_it_is_made(
    talks: Served, window: Firefox, requested: str  # noqa: F811
) -> None:  # fmt: skip
    window.open(f"{talks.url}/listen/{requested}")
    listen(window)
    state(window, "Waiting for the first words")
    say(talks, requested, 0)
    say(talks, requested, 1)
    is_at(window, 0.5)
    state(window, "Buffering: what follows is being made")
    say(talks, requested, 2)
    state(window, "The end.")
    assert window.run("livePlayer.rebuffers") == 1
    assert window.run("livePlayer.audio.currentTime") == pytest.approx(5.9, abs=0.3)
