"""`lesson_video` of an episode of the catalogue, and of lessons that cannot be dubbed; and its dub without a picture."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import av

from assets.dubbing.dubbed_video import dubbed_video
from assets.dubbing.lesson_video import lesson_video
from pipeline.records import Run
from pipeline.stage import Batch, Failure, Landing, Outcome
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import ACQUISITIONS
from resources.lake.tables.lessons import (
    DUB_AUDIO,
    DUBBED_VIDEOS,
    LESSON_SENTENCES,
    LESSON_SUBTITLES,
    LESSON_TRANSLATIONS,
    LESSONS,
)
from resources.studio.dub_settings import DubSettings
from resources.studio.lesson_files import LessonFiles
from resources.studio.lessons import LessonLedger, NewLesson
from speech.errors import BadLesson, StorageError, UpstreamMissing
from speech.sound_files import write_blocks
from speech.videos import LessonLimits, probe
from tests.landings import land, land_outcome
from tests.videos import tone

AUDIO = Path(__file__).parents[2] / "audio" / "vbr.mp3"
EPISODE = "show-20260101-00000001"
LIMITS = LessonLimits(1_000_000_000, 3_600_000)


class Episodes:
    """A home with an episode, and a ledger."""

    def __init__(self, folder: Path) -> None:
        self.lake = Lake(Home.at(str(folder / "home")))
        self.files = LessonFiles(self.lake.home, folder / "cache")
        self.ledger = LessonLedger(f"sqlite:///{folder}/service.db")
        self.lake.home.add(AUDIO, "audio", "ab", "abc.mp3")
        row = {"audio_sha256": "abc", "storage_uri": "audio/ab/abc.mp3", "fetched_at": datetime.now(UTC)}
        land(self.lake, ACQUISITIONS, EPISODE, [row])

    def add(self, episode: str = EPISODE) -> str:
        new = NewLesson("A talk", "en", "es", "ann", episode_id=episode)
        return self.ledger.add(self.ledger.new_key(new), new, None).lesson_id

    def probed(self, key: str, limits: LessonLimits = LIMITS) -> Outcome:
        (outcome,) = lesson_video.work(
            Batch((key,), {}), lake=self.lake, lesson_ledger=self.ledger, lesson_files=self.files, lesson_limits=limits
        )
        land_outcome(self.lake, lesson_video, outcome, Run("run", "run", datetime.now(UTC), 1))
        return outcome


def test_an_episode_is_a_lesson_without_a_picture(tmp_path: Path) -> None:
    here = Episodes(tmp_path)
    key = here.add()
    assert isinstance(here.probed(key), Landing)
    (row,) = here.lake.rows(LESSONS, key)
    assert (row.episode_id, row.video_codec, row.audio_codec) == (EPISODE, None, "mp3")
    assert row.source_sha256 == hashlib.sha256(AUDIO.read_bytes()).hexdigest()
    assert row.duration_ms == probe(AUDIO).duration_ms

    dub = here.files.work(key, "dub.m4a")
    sound = tone(row.duration_ms / 1000).reshape(1, -1).repeat(2, axis=0)
    write_blocks(dub, [sound], codec="aac", bit_rate=128_000)
    land(here.lake, DUB_AUDIO, key, [{"uri": here.files.add(key, "dub.m4a", dub)}])
    land(here.lake, LESSON_SENTENCES, key, [{"start_ms": 100, "end_ms": 900, "text": "Hello."}])
    land(here.lake, LESSON_TRANSLATIONS, key, [{"text": "Hola."}])
    land(here.lake, LESSON_SUBTITLES, key, [])
    batch = Batch((key,), {name: here.lake.runs(name, [key]) for name in dubbed_video.inputs})
    (outcome,) = dubbed_video.work(
        batch, lake=here.lake, lesson_files=here.files, dub_settings=DubSettings("burnt")
    )  # fmt: skip
    land_outcome(here.lake, dubbed_video, outcome, Run("run", "run", datetime.now(UTC), 1))
    (video,) = here.lake.rows(DUBBED_VIDEOS, key)
    assert (video.container, video.subtitles) == ("mp4", "none")
    assert abs(video.duration_ms - row.duration_ms) <= 100
    with av.open(here.lake.home.path(video.uri)) as file:
        assert [(stream.type, stream.metadata["language"]) for stream in file.streams] == [
            ("audio", "spa"), ("audio", "eng"),
        ]  # fmt: skip


def test_lessons_that_cannot_be_probed_say_why(tmp_path: Path) -> None:
    here = Episodes(tmp_path)
    for key, limits, error, message in (
        ("lesson-20260101-00000000", LIMITS, BadLesson, "The ledger has no lesson"),
        (here.add("show-20260101-00000002"), LIMITS, UpstreamMissing, "has no audio yet"),
        (here.add(), LessonLimits(1, 1), BadLesson, "PODLAKE_LESSON_MAX_MINUTES allows"),
    ):
        outcome = here.probed(key, limits)
        assert isinstance(outcome, Failure)
        assert isinstance(outcome.error, error)
        assert message in outcome.message
    here.lake.home.remove("audio", "ab", "abc.mp3")
    outcome = here.probed(here.add())
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, StorageError)
