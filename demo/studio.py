"""`make demo-studio`: a script becomes a podcast, and podlake subscribes to it and writes its words down again."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

from rich.markup import escape

from dagster_project.build_resources import build_resources, voices
from dagster_project.instance import open_instance
from dagster_project.podcasts import limits, open_requests, run_due, statuses
from dagster_project.run import Selection, run
from dagster_project.settings import Settings
from demo.__main__ import log_to_console, out, subscribe
from demo.serve import HOST, serving
from resources.lake.home import Home
from resources.lake.warehouse import ask, connect
from resources.studio.files import FOLDER
from resources.studio.ledger import Asked
from speech.spoken_text import spoken_text
from speech.word_errors import normalised_words, word_error_rate

SCRIPT = Path(__file__).parent / "dialogues" / "studio.txt"
TITLE = "The roof garden"
PORT = 8478
"""A feed is known by its URL: the same port in every run is the same feed in every run."""


def main() -> None:
    """Make a podcast of the script, subscribe to its feed, transcribe it, and compare its words with the script."""
    os.environ["PODLAKE_ALLOW_HOSTS"] = f"{Settings().allow_hosts},{HOST}"
    os.environ["PODLAKE_PODCASTS_URL"] = f"http://{HOST}:{PORT}"
    settings = Settings()
    log_to_console()
    given = build_resources(settings)
    lake, folder = given["lake"], Path(given["home"].root) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with open_instance(settings) as instance, serving(folder, PORT):
        ledger = given["ledger"]
        asked = Asked(f"demo-{uuid.uuid4().hex[:8]}", SCRIPT.read_text(), TITLE)
        answer = ledger.admit(
            asked, limits(settings), lambda own: open_requests(instance, lake, own),
            check_turns=voices(settings).check,
        )  # fmt: skip
        if not answer.podcast_id:
            raise SystemExit(f"{answer.code}: {answer.message}")
        run_due(instance, given)
        request = ledger.request(answer.podcast_id)
        assert request
        (made,) = statuses(instance, lake, [request])
        made_s = time.monotonic() - started
        if made.state != "completed":
            raise SystemExit(f"{made.request.podcast_id} is {made.state}: {made.error}")
        url = f"http://{HOST}:{PORT}/feed.xml"
        feed_id = subscribe(given["catalogue"], url, given["fetch_policy"])
        run(instance, settings, lake, given["engines"], Selection(feeds=(feed_id,), newest=1))
    _report(given["home"], answer.podcast_id, feed_id, asked.script, made_s, time.monotonic() - started)


def _report(home: Home, podcast_id: str, feed_id: str, script: str, made_s: float, took_s: float) -> None:
    with connect(home) as lake:
        ((duration_ms, loudness, peak, mp3),) = ask(
            lake, "select duration_ms, loudness_lufs, true_peak_dbtp, mp3_path from podcast_audio where podcast_id = $id",
            {"id": podcast_id},
        )  # fmt: skip
        ((own_rate,),) = ask(
            lake, "select word_error_rate from podcast_hearings where podcast_id = $id", {"id": podcast_id}
        )
        asked = {"feed": feed_id, "guid": podcast_id}
        heard = ask(lake, HEARD, asked)
        published = ask(lake, PUBLISHED, asked)
    out.print(f"\n[bold]{TITLE}[/] ({podcast_id}): {duration_ms / 1000:.1f} s, {loudness:.1f} LUFS, {peak:.1f} dBTP")
    out.print(f"  {Path(home.root) / FOLDER / mp3}", soft_wrap=True)
    out.print(f"  made and in the feed after {made_s:.1f} s; its words differ from the script by {own_rate:.1%}")
    if not heard:
        raise SystemExit("  subscribed to, but not transcribed: podlake status says why.")
    words = [str(word) for (word,) in heard]
    said, _ = spoken_text(" ".join(words), "en")  # the transcriber writes figures
    reference = normalised_words([_without_tags(script)], "en")
    rate = word_error_rate(normalised_words([said], "en"), reference)
    out.print(
        f"  subscribed to as {feed_id} and transcribed after {took_s:.1f} s: {len(words)} words, {rate:.1%} differ"
    )
    out.print(
        f"  its feed's own transcript: {len(published)} captions by {len({row[0] for row in published})} speakers"
    )
    out.print(f"\n  heard: {escape(' '.join(words))}", soft_wrap=True)


def _without_tags(script: str) -> str:
    return " ".join(part for part in script.split() if not part.startswith("[S"))


HEARD = """
select w.word from words w join episodes e using (episode_id)
where e.feed_id = $feed and e.guid = $guid order by w.word_idx
"""
PUBLISHED = """
select s.speaker from publisher_segments s join episodes e using (episode_id)
where e.feed_id = $feed and e.guid = $guid
"""

if __name__ == "__main__":
    main()
