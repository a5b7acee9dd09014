"""From a video to its published dub: real runs, engines, files and checks, offline. One process runs all commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from demo.make_lesson import Spoken, make_lesson, read_dialogue
from resources.lake.checks import run_checks
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables.lessons import (
    DUB_AUDIO,
    DUB_HEARINGS,
    DUB_LINES,
    DUB_TIMES,
    DUBBED_VIDEOS,
    LESSON_SENTENCES,
    LESSON_STEMS,
    LESSON_SUBTITLES,
    LESSON_TRANSCRIPTS,
    LESSON_TRANSLATIONS,
    LESSON_WORDS,
    PUBLISHED_VIDEOS,
)
from resources.lake.warehouse import connect
from speech.word_errors import normalised_words, word_error_rate

ROOT = Path(__file__).parents[3]
N_LINES = 3
COMMANDS = """
import sys
from dagster_project.cli import main
from dagster_project.instance import database_url
from dagster_project.settings import Settings
from resources.studio.lessons import LessonLedger

def podlake(*arguments):
    try:
        main(list(arguments), standalone_mode=False)
    except SystemExit as end:
        assert not end.code, arguments

podlake("lesson", "add", sys.argv[1], "--title", "Plants", "--source", "en", "--target", "es", "--course", "biology")
key = LessonLedger(database_url(Settings())).lessons()[0].lesson_id
podlake("lesson", "run")
podlake("review", "approve", key, "--by", "Ann")
podlake("lesson", "run")
podlake("lesson", "list", "--course", "biology")
podlake("review", "approve", key, "--by", "Bob", "--note", "Good.")
podlake("lesson", "run")
podlake("lesson", "run")
podlake("lesson", "list", "--course", "biology")
podlake("lesson", "status", key)
"""

pytestmark = pytest.mark.skipif(not shutil.which("apertium"), reason="needs apertium and apertium-eng-spa")


@dataclass(frozen=True)
class Dubbed:
    """A lesson after all commands."""

    key: str
    lake: Lake
    said: list[str]
    lines: list[Spoken]
    source: Path

    def path(self, uri: str) -> Path:
        return Path(self.lake.home.path(uri))


@pytest.fixture(scope="module")
def dubbed(tmp_path_factory: pytest.TempPathFactory) -> Dubbed:
    folder = tmp_path_factory.mktemp("dubbing")
    source = folder / "lesson.mp4"
    lines = make_lesson(source, read_dialogue(ROOT / "demo" / "dialogues" / "lesson.txt")[:N_LINES])
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, str(source)], cwd=ROOT, text=True, check=False, capture_output=True,
        env={**environment, "PODLAKE_HOME": str(folder / "home")},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    return Dubbed(said[0].split()[0], Lake(Home.at(str(folder / "home"))), said, lines, source)


def test_the_lesson_waits_at_each_gate(dubbed: Dubbed) -> None:
    assert dubbed.said[1:-4] == [
        f"{dubbed.key}  content_review, look at lesson_video, then approve or reject it",
        f"content_review of {dubbed.key} is approved by Ann.",
        f"{dubbed.key}  voiceover_review, look at dubbed_video, then approve or reject it",
        f"{dubbed.key}  voiceover_review  en→es   biology  Plants",
        "The course biology is not available yet.",
        f"voiceover_review of {dubbed.key} is approved by Bob.",
        f"{dubbed.key}  published",
        "No lesson is due. `podlake lesson list` shows which ones wait for a review.",
        f"{dubbed.key}  published         en→es   biology  Plants",
        "The course biology is available.",
        f"{dubbed.key}  published",
    ]
    assert dubbed.said[-3].startswith("  voiceover_review approved by Bob at ")
    assert dubbed.said[-3].endswith("UTC: Good.")
    (video,), (published,) = dubbed.lake.rows(DUBBED_VIDEOS, dubbed.key), dubbed.lake.rows(PUBLISHED_VIDEOS, dubbed.key)
    assert dubbed.said[-2:] == [f"  dubbed: {dubbed.path(video.uri)}", f"  published: {published.location}"]


def test_words_have_times_and_speakers_and_become_sentences(dubbed: Dubbed) -> None:
    (transcript,) = dubbed.lake.rows(LESSON_TRANSCRIPTS, dubbed.key)
    words, sentences = dubbed.lake.rows(LESSON_WORDS, dubbed.key), dubbed.lake.rows(LESSON_SENTENCES, dubbed.key)
    heard = normalised_words([row.word for row in words], "en")
    written = normalised_words([line.text for line in dubbed.lines], "en")
    assert word_error_rate(heard, written) < 0.2
    assert transcript.n_speakers == 2
    assert [row.speaker for row in words[:2]] == ["S1", "S1"]
    assert sum(row.n_words for row in sentences) == len(words)
    end_ms = max(one.span.end_ms for one in dubbed.lines)
    for row in sentences:
        assert any(one.span.start_ms - 300 <= row.start_ms <= one.span.end_ms for one in dubbed.lines)
        assert row.start_ms < row.end_ms <= end_ms + 300


def test_every_sentence_is_translated_said_and_placed(dubbed: Dubbed) -> None:
    sentences = dubbed.lake.rows(LESSON_SENTENCES, dubbed.key)
    translations, lines = dubbed.lake.rows(LESSON_TRANSLATIONS, dubbed.key), dubbed.lake.rows(DUB_LINES, dubbed.key)
    times = dubbed.lake.rows(DUB_TIMES, dubbed.key)
    assert len(sentences) == len(translations) == len(lines) == len(times)
    assert "agua" in " ".join(row.text for row in translations)
    voices = {row.voice: row.voice_fingerprint for row in lines}
    assert set(voices) == {"S1", "S2"}
    assert voices["S1"] != voices["S2"]
    assert len({row.samples_sha256 for row in lines}) == len(lines)
    assert all(dubbed.path(row.uri).exists() for row in lines)
    for sentence, row in zip(sentences, times, strict=True):
        assert sentence.start_ms <= row.start_ms
        assert 1.0 <= row.speed <= 1.401


def test_the_video_has_both_sounds_and_subtitles_beside_the_same_picture(dubbed: Dubbed) -> None:
    (video,) = dubbed.lake.rows(DUBBED_VIDEOS, dubbed.key)
    assert abs(video.duration_ms - video.source_ms) <= 500
    with av.open(str(dubbed.path(video.uri))) as file:
        assert [(stream.type, stream.metadata.get("language")) for stream in file.streams] == [
            ("video", "und"), ("audio", "spa"), ("audio", "eng"), ("subtitle", "spa"), ("subtitle", "eng"),
        ]  # fmt: skip
    pictures = []
    for path in (dubbed.path(video.uri), dubbed.source):
        with av.open(str(path)) as file:
            pictures.append([bytes(one) for one in file.demux(video=0) if one.size])
    assert pictures[0] == pictures[1]


def test_the_dub_is_heard_where_it_was_placed(dubbed: Dubbed) -> None:
    (video,), (stems,) = dubbed.lake.rows(DUBBED_VIDEOS, dubbed.key), dubbed.lake.rows(LESSON_STEMS, dubbed.key)
    assert (stems.method, stems.background_uri) == ("duck", None)
    with av.open(str(dubbed.path(video.uri))) as file:
        sound = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in file.decode(audio=0)])
    times = dubbed.lake.rows(DUB_TIMES, dubbed.key)
    for row in times:
        assert np.sqrt(np.mean(sound[row.start_ms * 48 : row.end_ms * 48] ** 2)) > 0.02
    assert np.sqrt(np.mean(sound[: (times[0].start_ms - 100) * 48] ** 2)) < 0.01


def test_subtitles_are_files_in_both_languages(dubbed: Dubbed) -> None:
    rows = dubbed.lake.rows(LESSON_SUBTITLES, dubbed.key)
    assert sorted((row.kind, row.format) for row in rows) == [
        (kind, suffix) for kind in ("bilingual", "source", "target") for suffix in ("srt", "vtt")
    ]
    target = next(row for row in rows if (row.kind, row.format) == ("target", "srt"))
    text = dubbed.path(target.uri).read_text()
    assert text.count("-->") == target.n_cues
    assert "agua" in text


def test_it_is_published_with_its_subtitles(dubbed: Dubbed) -> None:
    (row,), (video,) = dubbed.lake.rows(PUBLISHED_VIDEOS, dubbed.key), dubbed.lake.rows(DUBBED_VIDEOS, dubbed.key)
    assert (row.service, row.sha256) == ("folder", video.sha256)
    path = Path(row.location)
    assert path.parent == Path(dubbed.lake.home.path("published", "biology"))
    assert path.read_bytes() == dubbed.path(video.uri).read_bytes()
    assert len(list(path.parent.glob("*.srt"))) == 2
    with connect(dubbed.lake.home) as lake:
        assert lake.execute("select * from courses").fetchall() == [("biology", "es", 1, 1, True)]


def test_the_checks_pass_and_what_was_measured_is_reported(dubbed: Dubbed) -> None:
    (audio,), (hearing,) = dubbed.lake.rows(DUB_AUDIO, dubbed.key), dubbed.lake.rows(DUB_HEARINGS, dubbed.key)
    assert 0 <= audio.unstretched_share <= 1
    assert abs(audio.duration_ms - audio.source_ms) <= 500
    assert hearing.word_error_rate is None  # the packaged transcriber knows English only
    assert "No transcriber for es" in str(hearing.absent_reason)
    with connect(dubbed.lake.home) as lake:
        failed = {row.check_name: row.examples for row in run_checks(lake) if row.n_wrong and row.is_error}
    assert failed == {}
