"""From a script to a podcast, to its feed, and back into the lake: real runs, voices, files and HTTP."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import feedparser
import pytest
from click.testing import CliRunner

from dagster_project.cli import main
from demo.serve import serving
from resources.lake.checks import run_checks
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import (
    PODCAST_AUDIO,
    PODCAST_HEARINGS,
    PODCAST_TURNS,
    PUBLISHER_SEGMENTS,
    SCRIPT_TURNS,
    SPEECH_LINES,
    STREAM_CLUSTERS,
    STREAM_PACKAGES,
    WORDS,
)
from resources.lake.warehouse import connect
from resources.studio.ledger import Ledger
from speech.formats.chapters import read_chapters
from speech.word_errors import normalised_words, word_error_rate
from tests.speech.engines.speech_servers import openai_server

ROOT = Path(__file__).parents[3]
SCRIPT = """[S1] Welcome to the garden on the roof. Today we talk about tomatoes, and about the people who grow them.
[S2] Thank you. I planted 40 seeds in March, and most of them became strong plants.
[S1] That is wonderful. What is your secret?
[S2] Water in the morning, and a good friend who helps on weekends."""


class Studio:
    """A home, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.home = Home.at(str(folder / "home"))
        self.lake = Lake(self.home)
        self.podcasts = folder / "home" / "podcasts"
        self.podcasts.mkdir(parents=True)
        self.script = folder / "talk.txt"
        self.script.write_text(SCRIPT)
        self.environment: Mapping[str, str] = {"PODLAKE_HOME": str(folder / "home")}

    def podlake(self, *arguments: str, fails: bool = False, **settings: str) -> str:
        """A command, in this process. What is run needs one of its own: definitions are loaded with the settings."""
        own = {**self.environment, **settings}
        if "run" in arguments:
            kept = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
            done = subprocess.run(
                [sys.executable, "-m", "dagster_project.cli", *arguments], cwd=ROOT, text=True, check=False,
                capture_output=True, env={**kept, **own},
            )  # fmt: skip
            code, said = done.returncode, done.stdout + done.stderr
        else:
            result = CliRunner().invoke(main, arguments, env={**own, "DAGSTER_HOME": None})
            code, said = result.exit_code, result.output
        assert (code != 0) == fails, said
        return said

    def submit(self, *more: str, **settings: str) -> str:
        said = self.podlake("podcast", "submit", str(self.script), "--title", "The roof garden", *more, **settings)
        return said.split()[0]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return Studio(tmp_path_factory.mktemp("studio"))


@pytest.fixture(scope="module")
def site(studio: Studio) -> Iterator[str]:
    with serving(studio.podcasts) as url:
        studio.environment = {**studio.environment, "PODLAKE_PODCASTS_URL": url, "PODLAKE_ALLOW_HOSTS": "127.0.0.1"}
        yield url


@pytest.fixture(scope="module")
def podcast(studio: Studio, site: str) -> str:
    """A finished podcast; its key."""
    podcast_id = studio.submit("--key", "click")
    assert studio.submit("--key", "click") == podcast_id  # two clicks are one job
    assert "pending, 1. in the queue" in studio.podlake("podcast", "status", podcast_id)
    said = studio.podlake("podcast", "submit", str(studio.script), "--title", "Another", fails=True)
    assert "rate_limit_exceeded: Please wait for your current podcast to complete." in said
    assert f"{podcast_id}  completed" in studio.podlake("podcast", "run")
    assert "No requested podcast is due." in studio.podlake("podcast", "run")
    return podcast_id


def test_each_turn_is_said_by_its_voice(studio: Studio, podcast: str) -> None:
    turns, lines = studio.lake.rows(SCRIPT_TURNS, podcast), studio.lake.rows(SPEECH_LINES, podcast)
    assert [turn.speaker for turn in turns] == ["S1", "S2", "S1", "S2"]
    assert [line.engine for line in lines] == ["piper", "espeak", "piper", "espeak"]
    assert "forty seeds" in turns[1].spoken_text
    assert [(change.before, change.after) for change in turns[1].changes] == [("40", "forty")]
    assert all((studio.podcasts / line.path).exists() for line in lines)
    assert not any((Path(studio.home.root) / "studio").rglob("*.wav"))


def test_audio_has_its_place_loudness_tags_and_chapters(studio: Studio, podcast: str) -> None:
    (audio,) = studio.lake.rows(PODCAST_AUDIO, podcast)
    day = podcast.split("-")[1]
    assert audio.mp3_path == f"{day[:4]}/{day[4:6]}/{podcast}.mp3"
    assert audio.loudness_lufs == pytest.approx(-19, abs=0.5)
    assert audio.true_peak_dbtp <= -1
    for path in (audio.mp3_path, audio.opus_path):
        with av.open(str(studio.podcasts / path)) as file:
            assert (file.metadata | file.streams.audio[0].metadata)["title"] == "The roof garden"
            assert len(file.chapters()) == audio.n_chapters == 4
    turns = studio.lake.rows(PODCAST_TURNS, podcast)
    lines = studio.lake.rows(SPEECH_LINES, podcast)
    for turn, line in zip(turns, lines, strict=True):
        assert turn.end_ms - turn.start_ms == pytest.approx(line.duration_ms, abs=2)
    assert turns[-1].end_ms < audio.duration_ms


def test_our_own_transcriber_understands_it(studio: Studio, podcast: str) -> None:
    (heard,) = studio.lake.rows(PODCAST_HEARINGS, podcast)
    assert heard.n_script_words == 53
    assert heard.word_error_rate is not None
    assert heard.word_error_rate <= 0.15, heard.heard_text


def test_the_stream_can_be_sent_from_any_cluster(studio: Studio, podcast: str) -> None:
    (package,), clusters = studio.lake.rows(STREAM_PACKAGES, podcast), studio.lake.rows(STREAM_CLUSTERS, podcast)
    content = (studio.podcasts / package.path).read_bytes()
    assert sum(one.size_bytes for one in clusters) == len(content) == package.size_bytes
    header, *rest = clusters
    assert (header.cluster_idx, header.offset_bytes) == (-1, 0)
    assert all(one.end_ms > one.start_ms for one in rest)
    assert [one.start_ms for one in rest[1:]] == [one.end_ms for one in rest[:-1]]
    late = content[: header.size_bytes] + content[rest[10].offset_bytes :]
    with av.open(io.BytesIO(late)) as file:
        frame = next(iter(file.decode(audio=0)))
        assert float(frame.pts * frame.time_base) == pytest.approx(rest[10].start_ms / 1000, abs=0.03)


def test_the_feed_is_read_by_other_parsers(studio: Studio, podcast: str, site: str) -> None:
    feed = feedparser.parse(f"{site}/feed.xml")
    assert not feed.bozo
    assert feed.feed.title == "podlake studio"
    (entry,) = feed.entries
    (audio,) = studio.lake.rows(PODCAST_AUDIO, podcast)
    assert (entry.id, entry.title) == (podcast, "The roof garden")
    assert dict(entry.enclosures[0]) == {
        "href": f"{site}/{audio.mp3_path}",
        "length": str(audio.mp3_bytes),
        "type": "audio/mpeg",
    }
    assert entry.podcast_transcript["type"] in ("text/vtt", "application/json")
    assert entry.podcast_chapters["url"].endswith(".chapters.json")
    chapters = read_chapters((studio.podcasts / entry.podcast_chapters["url"].removeprefix(f"{site}/")).read_bytes())
    assert [chapter.title for chapter in chapters][2] == "S1: That is wonderful. What is your secret?"


def test_podlake_subscribes_to_its_own_podcast(studio: Studio, podcast: str, site: str) -> None:
    """The circle: the words that come back are those of the script, by the two speakers of the feed's transcript."""
    studio.podlake("add", f"{site}/feed.xml")
    studio.podlake("run")
    with connect(studio.home) as lake:
        ((key,),) = lake.execute("select episode_id from episodes where guid = ?", [podcast]).fetchall()
    words = [row.word for row in studio.lake.rows(WORDS, key)]
    reference = normalised_words([SCRIPT.replace("[S1]", "").replace("[S2]", "")], "en")
    assert word_error_rate(normalised_words(words, "en"), reference) <= 0.15
    published = studio.lake.rows(PUBLISHER_SEGMENTS, key)
    assert published[0].speaker == "S1"
    assert {row.speaker for row in published} == {"S1", "S2"}
    assert " ".join(row.text for row in published).split() == SCRIPT.replace("[S1]", "").replace("[S2]", "").split()


def test_the_checks_of_the_lake_pass(studio: Studio, podcast: str) -> None:
    with connect(studio.home) as lake:
        results = {row.check_name: row for row in run_checks(lake)}
    studios = {name: row.n_wrong for name, row in results.items() if name.startswith("podcast")}
    assert studios == {
        "podcast_words_understood": 0, "podcast_loudness": 0, "podcast_turns_are_the_script": 0,
        "podcast_lines_are_said": 0,
        **{name: 0 for name in studios if "unique" in name or "key" in name},
    }  # fmt: skip


def test_a_silent_voice_is_a_failure_that_is_tried_three_times(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    with openai_server(faults=["silence"] * 99) as server:
        voices = {"PODLAKE_VOICES": f"S1=espeak,S2=openai:{server.url}"}
        podcast = studio.submit(**voices)
        said = studio.podlake("podcast", "run", fails=True, **voices)
        assert f"{podcast}  pending, 1. in the queue, attempt 1, at speech_lines" in said
        assert "answered with silence" in said
        assert "The next attempt begins at" in said
        assert "No requested podcast is due" in studio.podlake("podcast", "run", **voices)
        assert not (studio.podcasts / "feed.xml").exists()
        assert studio.lake.rows(SPEECH_LINES, podcast) == []


def test_a_refused_voice_is_not_tried_again_and_the_user_may_ask_again(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    with openai_server() as server:
        voices = {"PODLAKE_VOICES": f"S1=espeak,S2=openai:{server.url}?voice=nobody"}
        podcast = studio.submit(**voices)
        said = studio.podlake("podcast", "run", fails=True, **voices)
        assert f"{podcast}  failed, attempt 1, at speech_lines" in said
        assert "voice nobody not found" in said
    second = studio.submit()
    assert second != podcast
    assert f"{second}  cancelled" in studio.podlake("podcast", "cancel", second)
    assert "No requested podcast is due" in studio.podlake("podcast", "run")
    listed = studio.podlake("podcast", "list")
    assert [line.split()[1] for line in listed.splitlines()] == ["cancelled", "failed"]


def test_a_podcast_that_is_cancelled_while_it_is_made_stops(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    with openai_server(work_s=0.5) as server:
        voices = {"PODLAKE_VOICES": f"S1=openai:{server.url},S2=openai:{server.url}"}
        podcast = studio.submit(**voices)
        with ThreadPoolExecutor(1) as pool:
            made = pool.submit(studio.podlake, "podcast", "run", fails=True, **voices)
            while not server.requests:
                time.sleep(0.05)
            Ledger(f"sqlite:///{studio.home.root}/service.db").cancel(podcast)
            assert f"{podcast}  cancelled" in made.result()
        assert len(server.requests) < 4
    assert studio.lake.rows(SPEECH_LINES, podcast) == []


def test_a_script_that_the_voices_cannot_say_is_refused(tmp_path: Path) -> None:
    studio = Studio(tmp_path)
    said = studio.podlake(
        "podcast", "submit", str(studio.script), "--title", "A", "--language", "de", fails=True,
        PODLAKE_VOICES="S1=piper,S2=espeak",
    )  # fmt: skip
    assert "no_voice: The voice of S1, piper, speaks en, not de." in said
    studio.script.write_text("Hello")
    assert "no_speaker" in studio.podlake("podcast", "submit", str(studio.script), "--title", "A", fails=True)
