"""The reading page: what stands in it, and how it behaves in a real browser."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import av
import pytest

from pages.episode import EpisodePage, PageSpeaker, PageTurn, PageWord, load_episode
from pages.render import data_uri, episode_html
from partitions.keys import feed_of
from resources.lake.lake import Lake
from resources.lake.tables import CHAPTERS, EPISODES, REMOVED_AUDIO, SPEAKER_LINKS
from resources.lake.warehouse import connect
from speech.errors import PodlakeError
from speech.opus_copy import MEDIA_TYPE, opus_copy
from tests.landings import NOON, land
from tests.talks import ARABIC, AUDIO, RAIN, land_talks


@pytest.fixture(scope="module")
def rain(store):
    lake = Lake(store.home)
    notes = "With <b>Ann</b>.\nhttps://example.org/" + "long" * 50
    rows = [
        {**row, "description_text": notes} if row["episode_id"] == RAIN else row
        for row in lake.read(EPISODES, feed_of(RAIN)).to_pylist()
    ]
    land(lake, EPISODES, feed_of(RAIN), rows)
    chapters = [{"idx": 0, "start_ms": 0, "title": "Intro"}, {"idx": 1, "start_ms": 2_800, "title": "<i>Rain</i>"}]
    land(lake, CHAPTERS, RAIN, chapters)
    with connect(store.home) as connection:
        return load_episode(connection, RAIN)


@pytest.fixture
def opened(rain, browser, tmp_path):
    """The page of an episode with its audio within, in a tab; errors of its script fail the test."""
    path = tmp_path / "page.html"
    path.write_text(
        episode_html(rain, audio_src=data_uri(opus_copy(AUDIO), MEDIA_TYPE), links={"TXT": "data:text/plain,x"})
    )
    page = browser.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    page.wait_for_function("document.getElementById('audio').readyState >= 1")
    yield page
    page.close()
    assert errors == []


def test_turns_speakers_and_facts_come_from_the_lake(rain) -> None:
    assert [(turn.speaker, turn.start_ms, turn.end_ms) for turn in rain.turns] == [
        ("S1", 0, 2_700), ("S2", 2_800, 5_500), ("S1", 5_600, 5_900),
    ]  # fmt: skip
    assert [(one.label, one.colour, one.spans_ms) for one in rain.speakers] == [
        ("S1", 0, ((0, 2_700), (5_600, 5_900))),
        ("S2", 1, ((2_800, 5_500),)),
    ]
    assert (rain.n_words, rain.language, rain.title[:22]) == (15, "en", RAIN)


def test_a_voice_that_has_a_name_is_called_by_it(tmp_path) -> None:
    store = land_talks(tmp_path)
    links = [
        {"episode_id": RAIN, "audio_sha256": "ab" * 32, "speaker": label, "voice_id": f"v-{label}", "name": name, "method": "centroid",
         "speech_ms": 1, "diarization_version": "d"}
        for label, name in (("S1", "Ada <i>Lovelace</i>"), ("S2", None))
    ]  # fmt: skip
    land(Lake(store.home), SPEAKER_LINKS, "show", links)
    with connect(store.home) as connection:
        page = load_episode(connection, RAIN)
    assert [page.name_of(turn.speaker) for turn in page.turns] == ["Ada <i>Lovelace</i>", "S2", "Ada <i>Lovelace</i>"]
    assert "Ada &lt;i&gt;" in episode_html(page, audio_src="", links={})


def test_word_times_follow_each_other_and_mark_what_is_uncertain() -> None:
    words = (PageWord("Hi", 100, 300, 0.9), PageWord("👋", 500, 600, 0.1), PageWord("you", 700, 800, None))
    assert PageTurn(0, "S1", words).word_times == "100,200,2 400,100,-2 200,100,3"


def test_the_copy_is_played_of_audio_that_retention_has_removed(tmp_path) -> None:
    home = land_talks(tmp_path).home
    row = {"audio_sha256": "ab" * 32, "copy_uri": "audio/cd/cd.opus", "landed_at": NOON + timedelta(days=1)}
    land(Lake(home), REMOVED_AUDIO, "all", [row])
    with connect(home) as connection:
        assert load_episode(connection, RAIN).audio_uri == "audio/cd/cd.opus"
    land(Lake(home), REMOVED_AUDIO, "all", [{**row, "landed_at": NOON - timedelta(days=1)}])
    with connect(home) as connection:
        assert load_episode(connection, RAIN).audio_uri == f"audio/ab/{'ab' * 32}.flac", "it was fetched again"


def test_an_unknown_episode_and_one_without_transcript_are_named(store) -> None:
    with connect(store.home) as connection, pytest.raises(PodlakeError, match="There is no episode nothing"):
        load_episode(connection, "nothing")


def test_text_of_feeds_and_speech_is_not_markup(opened) -> None:
    assert opened.title().startswith(RAIN)
    assert "<script>" in opened.inner_text("#t1 p")


def test_a_click_on_a_word_plays_from_it(opened) -> None:
    opened.click("#t0 span[data-s='2000']")
    assert opened.evaluate("document.getElementById('audio').currentTime") >= 2
    opened.wait_for_function("document.querySelector('.now')")
    opened.evaluate("document.getElementById('audio').pause()")
    opened.click("#t2 .at")
    assert opened.evaluate("document.getElementById('audio').currentTime") >= 5.6
    assert opened.get_attribute("#t2", "aria-current") == "true"


def test_uncertain_words_are_marked(opened) -> None:
    assert opened.locator(".low").all_inner_texts() == ["roof."]


def test_keys_move_by_word_and_by_turn(opened) -> None:
    def time() -> float:
        return round(opened.evaluate("document.getElementById('audio').currentTime"), 3)

    opened.keyboard.press("ArrowRight")
    assert time() == 0.4
    opened.keyboard.press("ArrowDown")
    assert time() == 2.8
    opened.keyboard.press("ArrowLeft")
    assert time() == 2.4
    opened.keyboard.press("j")
    assert time() == 0
    opened.keyboard.press("?")
    assert opened.is_visible("#help")


def test_chapters_seek_and_show_notes_are_text(opened) -> None:
    assert opened.locator(".chapters button").all_inner_texts() == ["0:00 Intro", "0:02 <i>Rain</i>"]
    opened.click(".chapters button >> nth=1")
    assert opened.evaluate("document.getElementById('audio').currentTime") >= 2.8
    assert opened.get_attribute("#t1", "aria-current") == "true"
    opened.click(".notes summary")
    assert opened.inner_text(".notes p").startswith("With <b>Ann</b>.\nhttps://example.org/long")


def test_search_ignores_case_and_accents_and_steps_through_the_turns(opened) -> None:
    opened.keyboard.press("/")
    opened.keyboard.type("CAFE")
    opened.wait_for_function("document.getElementById('found').textContent === '1 of 1'")
    assert opened.get_attribute("#t1", "class").split()[-2:] == ["found", "here"]
    opened.fill("#search", "rain")
    opened.wait_for_function("document.getElementById('found').textContent === '1 of 2'")
    opened.click("#next")
    assert opened.inner_text("#found") == "2 of 2"


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_no_rule_of_accessibility_is_broken(opened, violations, width, scheme) -> None:
    opened.set_viewport_size({"width": width, "height": 800})
    opened.emulate_media(color_scheme=scheme)
    opened.click(".notes summary")
    assert violations(opened) == []
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


def test_arabic_runs_from_the_right(store, browser, tmp_path, violations) -> None:
    with connect(store.home) as connection:
        page = load_episode(connection, ARABIC)
    path = tmp_path / "page.html"
    path.write_text(episode_html(page, audio_src="", links={}))
    tab = browser.new_page()
    tab.goto(path.as_uri())
    assert tab.evaluate("getComputedStyle(document.querySelector('#t0 p')).direction") == "rtl"
    assert tab.get_attribute("#transcript", "lang") == "ar"
    assert violations(tab) == []
    tab.close()


def test_ten_hours_make_elements_only_for_the_words_in_view(browser, tmp_path) -> None:
    words = [PageWord(f"word{i}", i * 360, i * 360 + 300, 0.9) for i in range(100_000)]
    turns = tuple(PageTurn(i, "S1", tuple(words[i * 25 : i * 25 + 25])) for i in range(4_000))
    speaker = PageSpeaker("S1", "S1", 0, 36_000_000, 1.0, ((0, 36_000_000),))
    page = EpisodePage("e", "f", "Feed", "Long", None, "en", 36_000_000, None, "", (), 100_000, (speaker,), turns)
    path = tmp_path / "page.html"
    path.write_text(episode_html(page, audio_src="", links={}))
    tab = browser.new_page()
    tab.goto(path.as_uri())
    tab.wait_for_selector("span[data-s]")
    assert tab.locator("span[data-s]").count() < 1_000
    tab.evaluate("document.getElementById('t3900').scrollIntoView()")
    tab.wait_for_selector("#t3900 span[data-s='35100000']")
    tab.close()
    assert path.stat().st_size < 4_000_000


def test_the_copy_of_the_audio_is_as_long_as_the_audio(tmp_path: Path) -> None:
    path = tmp_path / "copy.ogg"
    path.write_bytes(opus_copy(AUDIO))
    with av.open(str(path)) as copy, av.open(str(AUDIO)) as audio:
        assert copy.streams.audio[0].codec_context.name == "opus"
        assert abs(copy.duration - audio.duration) < 30_000  # microseconds
    assert path.stat().st_size < AUDIO.stat().st_size / 4
