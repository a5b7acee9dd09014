"""Takes the README's pictures of the reading page and the corpus site, from the lake of the demo: `make pictures`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from dagster_project.settings import Settings
from pages.episode import EpisodePage, load_episode
from pages.render import data_uri, episode_html
from pages.static_site import write_site
from resources.lake.home import Home
from resources.lake.warehouse import connect
from speech.opus_copy import MEDIA_TYPE, opus_copy

DOCS = Path(__file__).parents[1] / "docs"
TITLE = "The last train home"
BROWSERS = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
SIZE = {"width": 1100, "height": 720}


def main() -> None:
    home = Home.at(Settings().home)
    browser_path = next((path for path in BROWSERS if Path(path).exists()), None)
    with connect(home) as connection, tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        found = connection.execute("select episode_id from episodes where title = ? limit 1", [TITLE]).fetchone()
        if found is None:
            raise SystemExit("The lake has no episode of the demo: run `make demo` first.")
        site = Path(folder)
        for _ in write_site(connection, site, audio_src=lambda page: page.audio_url).pages:
            pass
        page_path = site / "page.html"
        page_path.write_text(_with_audio(load_episode(connection, found[0]), home), encoding="utf-8")
        browser = started.chromium.launch(executable_path=browser_path, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]
        tab.goto(page_path.as_uri())
        tab.wait_for_function("document.getElementById('audio').readyState >= 1")
        tab.click("#t2 .at")
        tab.evaluate("document.getElementById('audio').pause()")
        tab.evaluate("scrollTo(0, 0)")
        tab.wait_for_timeout(300)
        tab.screenshot(path=DOCS / "reading-page.png")
        tab.goto((site / "index.html").as_uri())
        tab.screenshot(path=DOCS / "corpus-site.png")
        browser.close()


def _with_audio(page: EpisodePage, home: Home) -> str:
    audio = Path(home.path(page.audio_uri or ""))
    return episode_html(
        page, audio_src=data_uri(opus_copy(audio), MEDIA_TYPE), links={"Dagster": "http://127.0.0.1:3000"}
    )


if __name__ == "__main__":
    main()
