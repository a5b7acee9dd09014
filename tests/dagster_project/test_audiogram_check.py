"""What this machine has no voice or font for is refused when it is asked for, and the message says what to do."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from dagster_project.audiogram_check import check_audiogram
from dagster_project.cli import main
from dagster_project.instance import database_url
from dagster_project.settings import Settings
from resources.engines.devices import Devices
from resources.engines.voices import Voices, parse_voices
from resources.studio.ledger import Asked, Ledger, Limits
from resources.studio.lessons import LessonLedger
from resources.studio.video_ledger import AskedVideo, AudiogramRefused
from speech.audiogram import fonts
from speech.engines import espeak_library
from tests.videos import tone, write_video


def voices(setting: str) -> Voices:
    return Voices(parse_voices(setting), Devices(()))


@pytest.fixture
def pillow_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without fonts: Pillow's own font has the letters of ASCII."""
    monkeypatch.setattr(fonts, "found_fonts", lambda *, is_bold: ())


@pytest.mark.parametrize(
    ("setting", "language", "message"),
    [
        ("S1=piper", "es", r"piper, speaks en, not es. Set another one: PODLAKE_VOICES=es.S1=espeak"),
        ("S1=espeak", "tl", r"speaks \d+ languages, not tl. Set another one: PODLAKE_VOICES=tl.S1=a service"),
        ("de.S1=espeak", "en", r"No voice is set for S1. Set one: PODLAKE_VOICES=S1=piper"),
    ],
)
def test_a_language_without_a_voice_is_refused(setting: str, language: str, message: str) -> None:
    with pytest.raises(AudiogramRefused, match=message) as refused:
        check_audiogram(voices(setting), AskedVideo("ana", "Hola.", language=language))
    assert refused.value.code == "no_voice"


@pytest.mark.parametrize("language", ["en", "es", "de", "fr", "zh", "no", "ru", "ar"])
def test_espeak_has_a_voice_for_these(language: str) -> None:
    check_audiogram(voices("S1=espeak"), AskedVideo("ana", "Hola.", language=language))
    check_audiogram(voices("S1=espeak:en-gb"), AskedVideo("ana", "Hola.", language="tl"))  # it was chosen


def test_espeak_speaks_the_languages_that_it_names() -> None:
    known = espeak_library.languages()
    assert known
    assert {"es", "pt-br", "cmn", "nb"} <= known
    for language in ("es", "cmn", "nb", "ru"):
        assert espeak_library.ipa("a", language)


@pytest.mark.usefixtures("pillow_only")
@pytest.mark.parametrize(
    ("text", "package"),
    [("你好，世界", "fonts-noto-cjk"), ("こんにちは", "fonts-noto-cjk"), ("नमस्ते", "fonts-noto-core")],
)
def test_letters_without_a_font_are_refused(text: str, package: str) -> None:
    with pytest.raises(AudiogramRefused, match=f"sudo apt-get install {package}") as refused:
        check_audiogram(voices("S1=espeak"), AskedVideo("ana", text, language="zh"))
    assert refused.value.code == "no_font"
    assert f" {text[0]}" in str(refused.value) or text[1] in str(refused.value)


@pytest.mark.usefixtures("pillow_only")
def test_signs_without_a_font_are_not_refused() -> None:
    check_audiogram(voices("S1=espeak"), AskedVideo("ana", "Good morning, 2 € ⿰ 🎉"))


def test_the_command_refuses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", "")  # put back after what the command sets
    monkeypatch.delenv("DAGSTER_HOME")
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    (tmp_path / "talk.txt").write_text("Hola a todos.")
    command = ["video", "submit", str(tmp_path / "talk.txt"), "--kind", "audiogram", "--language"]
    monkeypatch.setenv("PODLAKE_VOICES", "S1=piper")
    refused = CliRunner().invoke(main, [*command, "es"])
    assert refused.exit_code == 1
    assert "no_voice: The voice of S1, piper, speaks en, not es." in refused.output
    assert CliRunner().invoke(main, [*command, "en"]).exit_code == 0


def test_a_lesson_whose_target_language_has_no_voice_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PODLAKE_VOICES", "S1=piper")
    video = str(write_video(tmp_path / "talk.mp4", tone(0.5)))
    command = ["lesson", "add", video, "--title", "Mitosis", "--source", "de", "--target"]
    refused = CliRunner().invoke(main, [*command, "es"])
    assert refused.exit_code == 1
    assert "no_voice: The voice of S1, piper, speaks en, not es." in refused.output
    assert "PODLAKE_VOICES=es.S1=espeak" in refused.output
    assert LessonLedger(database_url(Settings(home=str(tmp_path / "home")))).lessons() == []
    assert CliRunner().invoke(main, [*command, "en"]).exit_code == 0


def test_a_podcast_whose_language_has_no_voice_is_refused(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/service.db")
    asked = Asked("ana", "[S1] Kumusta kayo, at maligayang pagdating.", "A talk", "tl")
    answer = ledger.admit(asked, Limits(), lambda _: [], check_turns=voices("S1=espeak").check)
    assert (answer.status, answer.code) == (400, "no_voice")
    assert "PODLAKE_VOICES=tl.S1=" in answer.message
