"""The corpus site: as files, and served."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn

from pages.site import corpus_site
from pages.static_site import search_words, write_site
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES
from resources.lake.warehouse import connect
from resources.search import SearchIndex
from speech.formats.registry import FORMATS
from tests.landings import land
from tests.talks import AUDIO, BREAD, RAIN, SCRIPT, land_talk


@pytest.fixture(scope="module")
def address(store, tmp_path_factory) -> Iterator[str]:
    index = SearchIndex(tmp_path_factory.mktemp("index"))
    app = corpus_site(store, index, ui_url="http://ui.test")
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def files(store, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("site")
    with connect(store.home) as connection:
        episodes = write_site(connection, out, audio_src=lambda page: page.audio_url)
        assert len(list(episodes.pages)) == episodes.total == 3
    return out


def test_a_visitor_goes_from_the_corpus_to_a_word(address, browser, violations) -> None:
    page = browser.new_page()
    page.goto(address)
    assert page.locator(".totals b").all_inner_texts()[:2] == ["2", "3"]
    assert violations(page) == []
    page.click("text=The <b>Show</b>")
    assert violations(page) == []
    page.click(f"text={RAIN}")
    assert page.inner_text("#t2 p") == "Yes."
    assert page.get_attribute("audio", "src") == f"../audio/{'ab' * 32}.flac"
    links = page.locator(".links a")
    assert links.last.get_attribute("href") == f"http://ui.test/assets/turns?partition={RAIN}"
    with page.expect_download() as download:
        links.first.click()
    assert download.value.suggested_filename == f"{RAIN}.srt"
    assert "Listen to the rain" in download.value.path().read_text()
    page.click("#t1 .at")
    page.wait_for_selector("#t1[aria-current]")
    page.close()


@pytest.mark.parametrize("is_served", [True, False])
def test_search_finds_turns_and_links_to_their_time(address, files, browser, violations, is_served) -> None:
    page = browser.new_page()
    page.goto(f"{address}/search.html" if is_served else (files / "search.html").as_uri())
    page.fill("#words", "rain CAFE")
    page.keyboard.press("Enter")
    page.wait_for_selector("#found:text-is('1 turn')")
    assert page.locator("mark").all_inner_texts() == ["Rain", "Café", "rain"]
    assert SCRIPT.split()[0] in page.inner_text(".hit p")
    assert violations(page) == []
    page.click(".hit a")
    page.wait_for_selector("#t1[aria-current]")
    page.go_back()
    page.goto(page.url.split("?")[0] + "?q=rain")
    page.wait_for_selector("#found:text-is('3 turns')")
    page.close()


def test_a_static_site_finds_words_of_scripts_without_spaces(tmp_path, browser) -> None:
    lake = Lake(Home.at(str(tmp_path / "home")))
    land(lake, EPISODES, "show", [{"episode_id": "show-1", "title": "天气"}])
    land_talk(lake, "show-1", [("S1", "今天 我们 来谈 天气 ok"), ("S2", "天 空气"), ("S1", "สวัสดี")], "a1")
    with connect(lake.home) as connection:
        list(write_site(connection, tmp_path / "site", audio_src=lambda _: "").pages)
    page = browser.new_page()
    for query, marked in (("谈天气 OK", ["谈", "天", "气", "ok"]), ("空", ["空"]), ("สวัสดี", ["ส", "วั", "ส", "ดี"])):
        page.goto((tmp_path / "site" / "search.html").as_uri() + f"?q={query}")
        page.wait_for_selector("#found:text-is('1 turn')")
        assert page.locator("mark").all_inner_texts() == marked
    page.close()


def test_the_search_says_what_it_does_not_understand(address) -> None:
    answer = httpx.get(f"{address}/search.json", params={"q": "rain AND ("})
    assert (answer.status_code, "is not understood" in answer.json()["detail"]) == (400, True)
    assert httpx.get(f"{address}/search.json", params={"q": "rain", "since": "soon"}).status_code == 400
    found = httpx.get(f"{address}/search.json", params={"q": "rain", "speaker": "s2", "feed": "show"}).json()
    assert {hit["episode_id"] for hit in found["hits"]} == {RAIN, BREAD}


def test_every_transcript_format_is_served(address) -> None:
    for form in FORMATS.values():
        answer = httpx.get(f"{address}/exports/{RAIN}.{form.SUFFIX}")
        assert answer.status_code == 200
        assert answer.headers["content-disposition"] == f'attachment; filename="{RAIN}.{form.SUFFIX}"'
        assert answer.text
    for name in (f"{RAIN}.exe", "nothing.srt", RAIN):
        assert httpx.get(f"{address}/exports/{name}").status_code == 404


def test_a_static_site_has_the_files_beside_its_pages(files, browser) -> None:
    page = browser.new_page()
    page.goto((files / "episodes" / f"{RAIN}.html").as_uri())
    hrefs = [link.get_attribute("href") for link in page.locator(".links a").all()]
    assert hrefs == [f"../exports/{RAIN}.{suffix}" for suffix in ("srt", "vtt", "txt", "json")]
    assert all((files / "episodes" / href).is_file() for href in hrefs)
    page.close()


def test_audio_is_answered_in_ranges_and_nothing_else_is(address, store) -> None:
    url = f"{address}/audio/{'ab' * 32}.flac"
    part = httpx.get(url, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content, part.headers["content-type"]) == (
        206,
        AUDIO.read_bytes()[4:8],
        "audio/flac",
    )
    copy = store.home.path("audio", "ef", f"{'ef' * 32}.opus")
    Path(copy).parent.mkdir()
    Path(copy).write_bytes(b"Opus")
    assert httpx.get(f"{address}/audio/{'ef' * 32}.opus").headers["content-type"] == "audio/ogg"
    assert part.headers["content-security-policy"].startswith("default-src 'none'")
    for name in ("..%2f..%2fetc%2fpasswd", f"{'cd' * 32}.flac", "x", f"{'ab' * 32}.flac%2f.."):
        assert httpx.get(f"{address}/audio/{name}").status_code == 404
    for path in ("episodes/nothing.html", "feeds/nothing.html"):
        assert httpx.get(f"{address}/{path}").status_code == 404


def test_words_are_split_as_the_script_splits_them() -> None:
    assert search_words("Café, l'Été: 42_x Ärger") == ["cafe", "l", "ete", "42", "x", "arger"]
    assert search_words("谈天气ok。が") == ["谈", "天", "气", "谈天", "天气", "ok", "か"]
