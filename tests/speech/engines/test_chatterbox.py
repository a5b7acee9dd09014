"""Chatterbox's service: clone modes, short calls one by one, and its faults as errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from speech.engines import registry
from speech.engines.line_synthesizer import LineSynthesizer, read_wav
from speech.engines.protocols import EngineChoice
from speech.errors import BadOutput, EngineUnavailable, HttpServerError, PodlakeError
from speech.types import Line, SpokenLine
from tests.speech.engines.speech_servers import Seen, chatterbox_server, tone

TEXT = "Las plantas beben agua por la mañana."


def say(seen: Seen, tmp_path: Path, text: str = TEXT, reference: Path | None = None, **options: str) -> Any:
    choice = EngineChoice("chatterbox", seen.url, options)
    engine = registry.load_synthesizer(choice, "cpu")
    assert isinstance(engine, LineSynthesizer)
    ((_, result),) = engine.synthesize([Line("lesson", 3, text, tmp_path / "a.wav", "es", reference=reference)])
    engine.close()
    return result


def test_without_a_clone_the_text_goes_alone(tmp_path: Path) -> None:
    with chatterbox_server() as seen:
        result = say(seen, tmp_path, exaggeration="0.7")
    assert isinstance(result, SpokenLine)
    (asked,) = seen.requests
    assert asked["path"] == "/api/tts/generate"
    assert (asked["text"], asked["language"], asked["exaggeration"], asked["cfg_weight"]) == (TEXT, "es", 0.7, 0.4)
    assert read_wav(tmp_path / "a.wav").sample_rate_hz == 24_000


@pytest.mark.parametrize("clone", ["one", "segment"])
def test_a_clone_has_the_recording_of_the_line(tmp_path: Path, clone: str) -> None:
    (tmp_path / "ann.wav").write_bytes(tone(60, 1))
    with chatterbox_server() as seen:
        assert isinstance(say(seen, tmp_path, reference=tmp_path / "ann.wav", clone=clone), SpokenLine)
        (tmp_path / "a.wav").unlink()
        missing = say(seen, tmp_path, clone=clone)
    assert [one["path"] for one in seen.requests] == ["/api/tts/generate-file"]
    assert seen.requests[0]["reference_audio"] == tone(60, 1).hex()[:400]
    assert isinstance(missing, BadOutput)
    assert "no recording of its speaker" in str(missing)


def test_a_reference_of_the_settings_is_used_for_all_lines(tmp_path: Path) -> None:
    (tmp_path / "ann.wav").write_bytes(tone(60, 1))
    with chatterbox_server() as seen:
        choice = EngineChoice("chatterbox", seen.url, {"clone": "one", "reference": str(tmp_path / "ann.wav")})
        engine = registry.load_synthesizer(choice, "cpu")
        ((_, result),) = engine.synthesize([Line("lesson", 3, TEXT, tmp_path / "b.wav", "es")])
    assert isinstance(result, SpokenLine)


def test_a_long_line_is_said_in_calls_of_300_characters(tmp_path: Path) -> None:
    text = "Las plantas beben agua por la mañana y por la tarde. " * 12
    with chatterbox_server() as seen:
        assert isinstance(say(seen, tmp_path, text), SpokenLine)
    assert len(seen.requests) == 3
    assert max(len(one["text"]) for one in seen.requests) <= 300
    assert " ".join(one["text"] for one in seen.requests) == text.strip()
    assert seen.most_at_once == 1


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("503", HttpServerError, "not currently loaded"),
        ("500", HttpServerError, "CUDA error"),
        ("silence", BadOutput, "answered with silence"),
        ("cut", BadOutput, "too short"),
        ("page", BadOutput, "audio"),
        ("not loaded", HttpServerError, "has not loaded its model"),
    ],
)
def test_faults_are_errors_of_the_line(tmp_path: Path, fault: str, error: type[PodlakeError], message: str) -> None:
    (tmp_path / "ann.wav").write_bytes(tone(60, 1))
    with chatterbox_server(faults=[fault]) as seen:
        result = say(seen, tmp_path, reference=tmp_path / "ann.wav", clone="segment")
    assert isinstance(result, error)
    assert message in str(result)
    assert not (tmp_path / "a.wav").exists()


def test_empty_text_is_never_sent(tmp_path: Path) -> None:
    with chatterbox_server() as seen:
        assert isinstance(say(seen, tmp_path, " "), BadOutput)
    assert seen.requests == []


def test_other_clone_modes_and_missing_references_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="clone modes none, one, segment"):
        registry.load_synthesizer(EngineChoice("chatterbox", "http://127.0.0.1:1", {"clone": "two"}), "cpu")
    with pytest.raises(EngineUnavailable, match="does not exist"):
        registry.load_synthesizer(EngineChoice("chatterbox", "http://127.0.0.1:1", {"reference": "/none.wav"}), "cpu")
