"""The synthesizers: embedded voices, and voices behind servers that fail as the real ones do."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from speech.engines import registry
from speech.engines.hosted_engine import HostedEngine
from speech.engines.line_synthesizer import read_wav
from speech.engines.openai_speech import chunks
from speech.engines.protocols import EngineChoice
from speech.errors import (
    BadOutput,
    EngineUnavailable,
    HttpRefused,
    HttpServerError,
    NetworkError,
    PodlakeError,
    RateLimited,
)
from speech.types import Line, SpokenLine
from tests.speech.engines.speech_servers import openai_server, soulx_server, tone

TEXT = "Welcome to the garden on the roof. Today we talk about tomatoes."


def said(voice: str, folder: Path, *texts: str, seed: int = 7, name: str = "a") -> list[SpokenLine | PodlakeError]:
    lines = [Line("show", number, text, folder / f"{name}{number}.wav", seed=seed) for number, text in enumerate(texts)]
    engine = registry.load_synthesizer(EngineChoice.parse_voice(voice), "cpu")
    try:
        return [result for _, result in engine.synthesize(lines)]
    finally:
        engine.close()


@pytest.fixture
def reference(tmp_path: Path) -> str:
    (tmp_path / "alice.wav").write_bytes(tone(150))
    (tmp_path / "alice.txt").write_text("This is what Alice says in her recording.\n")
    return f"reference={tmp_path}/alice.wav&transcript={tmp_path}/alice.txt"


def test_a_voice_is_parsed_with_its_options() -> None:
    choice = EngineChoice.parse_voice("openai:http://127.0.0.1:8880/v1?voice=af_sky&model=kokoro")
    assert choice == EngineChoice("openai", "http://127.0.0.1:8880/v1", {"voice": "af_sky", "model": "kokoro"})
    assert EngineChoice.parse_voice("piper") == EngineChoice("piper")
    with pytest.raises(ValueError):
        EngineChoice.parse_voice("piper?speaker")


def test_unknown_voices_are_named_with_the_setting() -> None:
    with pytest.raises(EngineUnavailable, match=r"PODLAKE_VOICES names the synthesizer 'polly'.*piper, espeak"):
        registry.describe("synthesizer", EngineChoice("polly"))


@pytest.mark.parametrize("voice", ["piper", "espeak", "espeak?variant=f2", "espeak:en-gb?variant=f4"])
def test_embedded_voices_speak_and_repeat_themselves(voice: str, tmp_path: Path) -> None:
    (one,) = said(voice, tmp_path, TEXT)
    (again,) = said(voice, tmp_path, TEXT, name="b")
    assert isinstance(one, SpokenLine)
    assert isinstance(again, SpokenLine)
    assert 3_000 < one.duration_ms < 6_000
    assert one.samples_sha256 == again.samples_sha256
    assert np.abs(read_wav(tmp_path / "a0.wav").samples.astype(int)).max() > 5_000


def test_piper_says_it_in_another_way_with_another_seed(tmp_path: Path) -> None:
    one, two = said("piper", tmp_path, TEXT)[0], said("piper", tmp_path, TEXT, seed=8, name="b")[0]
    assert isinstance(one, SpokenLine)
    assert isinstance(two, SpokenLine)
    assert one.samples_sha256 != two.samples_sha256


def test_a_line_does_not_depend_on_the_lines_before_it(tmp_path: Path) -> None:
    alone, after = said("piper", tmp_path, TEXT)[0], said("piper", tmp_path, "Hello there.", TEXT, name="b")[1]
    assert isinstance(alone, SpokenLine)
    assert isinstance(after, SpokenLine)
    assert alone.samples_sha256 == after.samples_sha256


def test_a_line_that_is_there_is_not_said_again(tmp_path: Path) -> None:
    assert [one.was_there for one in said("espeak", tmp_path, TEXT, TEXT)] == [False, False]
    (tmp_path / "a1.wav").unlink()
    assert [one.was_there for one in said("espeak", tmp_path, TEXT, TEXT)] == [True, False]


def test_tags_of_sounds_are_not_read_aloud(tmp_path: Path) -> None:
    tagged, plain = said("espeak", tmp_path, f"<|laughter|> {TEXT}", TEXT)
    assert tagged.samples_sha256 == plain.samples_sha256


def test_a_voice_that_does_not_exist_says_so(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="no voice 'nowhere'"):
        said("espeak:nowhere", tmp_path, TEXT)
    with pytest.raises(EngineUnavailable, match=r"nowhere\.onnx is not there"):
        said("piper:/voices/nowhere.onnx", tmp_path, TEXT)


def test_an_embedded_voice_runs_in_a_host_process(tmp_path: Path) -> None:
    choice, reported = EngineChoice.parse_voice("espeak"), []
    spec = registry.describe("synthesizer", choice)
    engine = HostedEngine("synthesizer", choice, spec, "cpu", idle_s=1, threads=2)
    lines = [Line("show", n, TEXT, tmp_path / f"{n}.wav", report=reported.append) for n in range(3)]
    try:
        results = dict(engine.synthesize(lines))
    finally:
        engine.close()
    assert list(results) == lines
    assert len({one.samples_sha256 for one in results.values()}) == 1
    assert reported


def test_soulx_says_each_turn_with_the_reference_of_its_speaker(tmp_path: Path, reference: str) -> None:
    with soulx_server() as server:
        one, two = said(
            f"soulx:{server.url}?{reference}", tmp_path, "Hello.\nThis is the [second] line of it.", TEXT, seed=0
        )
    assert isinstance(one, SpokenLine)
    assert isinstance(two, SpokenLine)
    asked = server.requests[0]
    assert asked["path"] == "/generate"
    assert asked["prompt_texts"] == ["This is what Alice says in her recording."]
    assert asked["dialogue_text"] == ["[S1]Hello. This is the (second) line of it."]
    assert asked["seed"] == ["1988"]
    assert one.sample_rate_hz == 24_000


def test_soulx_can_be_asked_asynchronously(tmp_path: Path, reference: str) -> None:
    with soulx_server() as server:
        voice = f"soulx:{server.url}?{reference}&api=generate-async"
        (one,) = said(voice, tmp_path, TEXT)
        assert isinstance(one, SpokenLine)
        assert server.requests[0]["prompt_texts"] == ['["This is what Alice says in her recording."]']
        server.faults += ["failed", "lost"]
        failed, lost = said(voice, tmp_path, TEXT, TEXT, name="b")
    assert isinstance(failed, HttpServerError)
    assert "NoneType" in str(failed)
    assert isinstance(lost, NetworkError)
    assert "has lost the task" in str(lost)


def test_soulx_checks_the_reference_first(tmp_path: Path, reference: str) -> None:
    with pytest.raises(EngineUnavailable, match="exact text"):
        said("soulx:http://127.0.0.1:1", tmp_path, TEXT)
    with pytest.raises(EngineUnavailable, match="address of its server"):
        said(f"soulx?{reference}", tmp_path, TEXT)
    (tmp_path / "alice.wav").write_bytes(tone(7))
    with pytest.raises(EngineUnavailable, match=r"has 0\.5 s"):
        said(f"soulx:http://127.0.0.1:1?{reference}", tmp_path, TEXT)


def test_faults_of_servers_are_errors_of_their_line_only(tmp_path: Path, reference: str) -> None:
    faults = ["500", "", "429", "503", "silence", "cut", "endless", "page", "hang up", ""]
    wanted = [
        HttpServerError, SpokenLine, RateLimited, HttpServerError, BadOutput, BadOutput, BadOutput, BadOutput,
        NetworkError, SpokenLine,
    ]  # fmt: skip
    texts = [f"{TEXT} {TEXT}"] * len(faults)
    with soulx_server(faults=list(faults)) as server:
        results = said(f"soulx:{server.url}?{reference}", tmp_path, *texts)
    assert [type(one) for one in results] == wanted
    assert "device-side assert" in str(results[0])
    assert results[2].retry_after_s == 7
    with openai_server(faults=list(faults)) as server:
        assert [type(one) for one in said(f"openai:{server.url}", tmp_path, *texts, name="b")] == wanted
    assert sorted(path.name for path in tmp_path.glob("[ab]?.wav")) == ["a1.wav", "a9.wav", "b1.wav", "b9.wav"]


def test_openai_calls_have_at_most_300_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLAKE_SPEECH_API_KEY", "secret")
    text = " ".join([TEXT] * 12)
    with openai_server() as server:
        (one,) = said(f"openai:{server.url}/v1?voice=af_sky&model=kokoro&exaggeration=0.5", tmp_path, text)
    assert isinstance(one, SpokenLine)
    assert " ".join(asked["input"] for asked in server.requests) == text
    assert max(len(asked["input"]) for asked in server.requests) <= 300
    asked = server.requests[0]
    assert (asked["voice"], asked["model"], asked["exaggeration"]) == ("af_sky", "kokoro", 0.5)
    assert (asked["response_format"], asked["seed"], asked["key"]) == ("wav", 7, "Bearer secret")


def test_a_refused_voice_is_a_permanent_error_with_the_servers_reason(tmp_path: Path) -> None:
    with openai_server() as server:
        (one,) = said(f"openai:{server.url}?voice=nobody", tmp_path, TEXT)
    assert isinstance(one, HttpRefused)
    assert "voice nobody not found" in str(one)


def test_a_server_has_one_request_at_a_time(tmp_path: Path) -> None:
    with openai_server(work_s=0.05) as server:
        work = [
            Thread(target=said, args=(f"openai:{server.url}", tmp_path, TEXT, TEXT), kwargs={"name": name})
            for name in "abc"
        ]
        for one in work:
            one.start()
        for one in work:
            one.join()
    assert len(server.requests) == 6
    assert server.most_at_once == 1


def test_a_server_that_does_not_run_is_a_network_error(tmp_path: Path) -> None:
    (one,) = said("openai:http://127.0.0.1:9", tmp_path, TEXT)
    assert isinstance(one, NetworkError)
    assert "Is it running?" in str(one)


@pytest.mark.parametrize("text", ["word " * 200, "a" * 1000, "Yes. " * 100 + "No, " * 100, "短い文。" * 200])
def test_chunks_keep_every_character(text: str) -> None:
    parts = list(chunks(text))
    assert max(map(len, parts)) <= 300
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert len(parts) <= len(text) / 300 * 1.5 + 1
