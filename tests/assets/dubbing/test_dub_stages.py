"""The stages that translate, speak and place: what is too long, silent, missing, or cloned. Real voices and servers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import av
import pytest

from assets.dubbing.dub_audio import dub_audio
from assets.dubbing.dub_lines import dub_lines
from assets.dubbing.dub_voices import voice_name
from assets.dubbing.dubbed_video import dubbed_video
from assets.dubbing.subtitles import subtitles
from assets.dubbing.translation import translation
from pipeline.records import Run
from pipeline.stage import Batch, Failure, Landing, Outcome, Stage
from resources.engines.devices import Devices, visible
from resources.engines.translators import Translators, parse_translator
from resources.engines.voices import Voices, parse_voices
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables.lessons import (
    DUB_AUDIO,
    DUB_LINES,
    DUB_TIMES,
    DUBBED_VIDEOS,
    LESSON_SENTENCES,
    LESSON_STEMS,
    LESSON_SUBTITLES,
    LESSON_TERMS,
    LESSON_TRANSCRIPTS,
    LESSON_TRANSLATIONS,
    LESSONS,
)
from resources.studio.dub_settings import DubSettings
from resources.studio.lesson_files import LessonFiles
from speech.errors import BadOutput, LanguageWithoutEngine, LineTooLong, VoiceUnavailable
from speech.sound_files import write_blocks
from tests.landings import land, land_outcome
from tests.speech.engines.chat_servers import chat_server
from tests.speech.engines.speech_servers import chatterbox_server, openai_server
from tests.videos import tone, write_video

KEY = "lesson-20261127-00000001"
SECONDS = 7
SENTENCES = (("S1", 0, 3_200, "Plants drink water."), ("S2", 3_500, 6_800, "The sun is hot."))
LONG = "Las plantas beben muchísima agua durante todos los días del verano, y también durante las noches largas del invierno, cuando nadie las mira y la tierra de los jardines está muy fría."
SHORT = ("Las plantas beben agua.", "El sol es caliente.")


class Lesson:
    """A lesson whose stages have landed until the translation."""

    def __init__(
        self, folder: Path, texts: Sequence[str] = SHORT, voices: str = "S1=espeak,S2=espeak?variant=f2", *,
        sound_begins_s: float = 0.0,
    ) -> None:  # fmt: skip
        self.lake = Lake(Home.at(str(folder / "home")))
        self.files = LessonFiles(self.lake.home, folder / "cache")
        self.voices = Voices(parse_voices(voices), Devices(visible("none")))
        uri = self.files.add(
            KEY, "source.mp4", write_video(folder / "a.mp4", tone(SECONDS), sound_begins_s=sound_begins_s)
        )
        languages = {
            "source_language": "en", "target_language": "es", "video_codec": "h264", "audio_codec": "aac",
        }  # fmt: skip
        self.land(
            LESSONS, [{"source_uri": uri, "duration_ms": SECONDS * 1_000, "added_at": datetime.now(UTC), **languages}]
        )
        self.land(LESSON_TRANSCRIPTS, [{"audio_ms": SECONDS * 1_000}])
        self.land(LESSON_STEMS, [{"method": "duck"}])
        self.land(LESSON_TERMS, [])
        self.land(LESSON_SENTENCES, [
            {"sentence_idx": index, "speaker": speaker, "start_ms": start_ms, "end_ms": end_ms, "text": text}
            for index, (speaker, start_ms, end_ms, text) in enumerate(SENTENCES)
        ])  # fmt: skip
        self.land(LESSON_TRANSLATIONS, [{"sentence_idx": index, "text": text} for index, text in enumerate(texts)])

    def land(self, table, rows) -> None:
        land(self.lake, table, KEY, rows)

    def run(self, stage: Stage, translator: str = "apertium") -> Outcome:
        """The outcome of a stage, which lands."""
        known = {
            "lake": self.lake, "voices": self.voices, "lesson_files": self.files,
            "dub_settings": DubSettings("muxed"),
            "translators": Translators(parse_translator(translator), self.files.cache / "translations"),
        }  # fmt: skip
        batch = Batch((KEY,), {name: self.lake.runs(name, [KEY]) for name in stage.inputs})
        (outcome,) = stage.work(batch, **{name: known[name] for name in stage.needs})
        land_outcome(self.lake, stage, outcome, Run("run", "run", datetime.now(UTC), 1))
        return outcome


def test_subtitles_follow_a_sound_that_begins_after_the_picture(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path, sound_begins_s=2.0)
    assert isinstance(lesson.run(subtitles), Landing)
    (uri,) = [row.uri for row in lesson.lake.rows(LESSON_SUBTITLES, KEY) if (row.kind, row.format) == ("target", "vtt")]
    # AAC has a frame of silence ahead of the sound.
    assert lesson.lake.home.read(*uri.split("/")).decode().split("\n\n")[:2] == [
        "WEBVTT",
        "00:00:01.978 --> 00:00:05.478\n<v S1>Las plantas beben agua.</v>",
    ]
    dub = lesson.files.work(KEY, "dub.m4a")
    write_blocks(dub, [tone(SECONDS).reshape(1, -1).repeat(2, axis=0)], codec="aac", bit_rate=128_000)
    lesson.land(DUB_AUDIO, [{"uri": lesson.files.add(KEY, "dub.m4a", dub)}])
    assert isinstance(lesson.run(dubbed_video), Landing)
    (video,) = lesson.lake.rows(DUBBED_VIDEOS, KEY)
    with av.open(lesson.lake.home.path(video.uri)) as file:
        begins = [next(float(one.pts * one.time_base) for one in file.demux(stream) if one.size > 2)
                  for stream in (file.streams.audio[0], file.streams.subtitles[0])]  # fmt: skip
    assert begins == pytest.approx([2.0, 2.0], abs=0.05)


def failure(outcome: Outcome, error: type[Exception]) -> str:
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, error), outcome.error
    return str(outcome.error)


def test_a_line_that_is_too_long_is_shortened_and_said_again(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path, (LONG, SHORT[1]))
    assert isinstance(lesson.run(dub_lines), Landing)
    with chat_server(lambda text, task: "Las plantas beben agua.") as server:
        assert isinstance(lesson.run(dub_audio, f"ollama:{server.url}?model=m"), Landing)
    (audio,), times = lesson.lake.rows(DUB_AUDIO, KEY), lesson.lake.rows(DUB_TIMES, KEY)
    assert audio.n_shortened == 1
    assert [(row.text, row.is_shortened) for row in times] == [(SHORT[0], True), (SHORT[1], False)]
    assert times[0].spoken_ms < lesson.lake.rows(DUB_LINES, KEY)[0].duration_ms
    assert (times[0].start_ms, times[1].start_ms) == (0, 3_500)
    assert abs(audio.duration_ms - SECONDS * 1_000) <= 50


@pytest.mark.skipif(not shutil.which("apertium"), reason="needs apertium")
def test_a_line_that_cannot_be_shortened_fails_by_name(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path, (LONG, SHORT[1]))
    lesson.run(dub_lines)
    message = failure(lesson.run(dub_audio), LineTooLong)
    assert message.startswith(f"{KEY}: sentence 0 does not fit into its time")
    assert "Apertium cannot shorten" in message
    assert lesson.lake.rows(DUB_AUDIO, KEY) == []


def test_a_translator_that_shortens_too_little_is_asked_three_times(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path, (LONG * 3, SHORT[1]))
    lesson.run(dub_lines)
    with chat_server(lambda text, task: LONG * 2) as server:
        message = failure(lesson.run(dub_audio, f"ollama:{server.url}?model=m&reflect=no"), LineTooLong)
    assert "sentence 0" in message or "0 ('Las plantas" in message


def test_a_silent_voice_fails_the_lesson_and_nothing_lands(tmp_path: Path) -> None:
    with openai_server(faults=["silence"] * 9) as server:
        lesson = Lesson(tmp_path, voices=f"S1=espeak,S2=openai:{server.url}")
        message = failure(lesson.run(dub_lines), BadOutput)
    assert "turn 1" in message
    assert "answered with silence" in message
    assert lesson.lake.rows(DUB_LINES, KEY) == []


def test_lines_of_an_interrupted_run_are_not_said_again(tmp_path: Path) -> None:
    with openai_server() as server:
        lesson = Lesson(tmp_path, voices=f"S1=openai:{server.url},S2=openai:{server.url}")
        first = lesson.run(dub_lines)
        assert lesson.run(dub_lines).rows["dub_lines"][0].samples_sha256 == first.rows["dub_lines"][0].samples_sha256
        assert len(server.requests) == 2


def test_each_speaker_is_cloned_from_the_lesson(tmp_path: Path) -> None:
    with chatterbox_server() as server:
        lesson = Lesson(
            tmp_path, voices=f"S1=chatterbox:{server.url}?clone=segment,S2=chatterbox:{server.url}?clone=one"
        )
        assert isinstance(lesson.run(dub_lines), Landing)
        references = [request["reference_audio"] for request in server.requests]
        assert [request["language"] for request in server.requests] == ["es", "es"]
    assert len(set(references)) == 2
    assert [row.clone for row in lesson.lake.rows(DUB_LINES, KEY)] == ["segment", "one"]


def test_a_missing_voice_is_named(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path, voices="S1=espeak,en.S2=espeak")
    assert "No voice is set for S2" in failure(lesson.run(dub_lines), VoiceUnavailable)


def test_sentences_without_a_translation_are_named(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path)
    with chat_server(lambda text, task: "Plants drink water." if "Plants" in text else "El sol es caliente.") as server:
        message = failure(lesson.run(translation, f"ollama:{server.url}?model=m&reflect=no"), BadOutput)
    assert f"{KEY}: 1 of 2 sentences have no translation: 0 ('Plants drink water.')" in message


@pytest.mark.skipif(not shutil.which("apertium"), reason="needs apertium")
def test_a_pair_that_nobody_has_is_named(tmp_path: Path) -> None:
    lesson = Lesson(tmp_path)
    (row,) = lesson.lake.rows(LESSONS, KEY)
    values = {name: getattr(row, name) for name in type(row).__dataclass_fields__}
    lesson.land(LESSONS, [{**values, "target_language": "ru"}])
    assert "Apertium has no pair from en to ru" in failure(lesson.run(translation), LanguageWithoutEngine)


def test_there_are_four_voices_for_all_speakers() -> None:
    assert [voice_name(one) for one in ("S1", "S4", "S5", "S10", None)] == ["S1", "S4", "S1", "S2", "S1"]
