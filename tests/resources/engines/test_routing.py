"""Which engine an episode gets: by its language, and no engine is loaded that nobody needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dagster_project.build_resources import chosen_diarizer, chosen_transcribers, second_diarizer
from dagster_project.settings import Settings
from resources.engines.devices import Devices
from resources.engines.local_host import LocalHost
from resources.engines.routing import Audio, Done, Engines, parse_transcribers
from speech.engines.protocols import EngineChoice, EngineSpec, Slot
from speech.errors import EngineUnavailable, LanguageWithoutEngine, policy_of
from speech.types import Diarization, Segment
from speech.waveforms import WaveformCache

TONE = Path(__file__).parents[2] / "audio" / "tone.flac"
"""No speech: the whole way through an engine, and not a word to decode."""


@pytest.fixture
def engines(tmp_path: Path) -> Engines:
    """English can be transcribed; for Chinese an engine is chosen whose weights are not there."""
    table = parse_transcribers("en=whisper,zh=firered:/no/such/folder")
    host = LocalHost(WaveformCache(tmp_path / "waveforms", 10**9), Devices(()), idle_s=0.0)
    return Engines(EngineChoice("campplus"), table, host)


def audio(episode_id: str, language: str | None) -> Audio:
    return Audio(episode_id, "0" * 64, TONE, language)


@pytest.mark.parametrize(
    ("setting", "language", "engine"),
    [
        ("whisper", "en", "whisper"),
        ("whisper", None, "whisper"),  # nobody said: taken for English
        ("en=whisper,zh=firered:/models/zh", "zh", "firered"),
        ("en-US=whisper, CN=firered:/models/zh", "zh", "firered"),
        ("zh=firered:/models/zh,*=nemo", "de", "nemo"),
        ("zh=firered:/models/zh,*=nemo", None, "nemo"),
    ],
)
def test_the_language_chooses(setting: str, language: str | None, engine: str) -> None:
    engines = Engines(EngineChoice("campplus"), parse_transcribers(setting), LocalHost)  # type: ignore[arg-type]
    assert engines.transcriber_for(language).name == engine


@pytest.mark.parametrize(
    ("setting", "language", "why"),
    [
        ("en=whisper", "de", "No transcriber for de: no transcriber is set for it."),
        ("whisper", "de", "No transcriber for de: whisper knows en."),
        ("zh=firered", None, "No transcriber for an episode of unknown language: no transcriber is set for it."),
    ],
)
def test_a_language_without_an_engine_says_what_to_set(setting: str, language: str | None, why: str) -> None:
    engines = Engines(EngineChoice("campplus"), parse_transcribers(setting), LocalHost)  # type: ignore[arg-type]
    with pytest.raises(LanguageWithoutEngine) as error:
        engines.transcriber_for(language)
    assert str(error.value).startswith(why)
    assert "PODLAKE_TRANSCRIBER=<language>=<engine>" in str(error.value)
    assert not policy_of(error.value.error_class).retryable


def test_a_setting_that_names_no_language_is_refused() -> None:
    with pytest.raises(ValueError, match="'klingon' names no language"):
        parse_transcribers("klingon=nemo")


def test_only_the_engines_that_a_batch_needs_are_loaded(engines: Engines) -> None:
    pytest.importorskip("faster_whisper", reason="needs the extra `embedded`: pip install 'podlake[embedded]'")
    english, unknown, german = engines.transcribe([audio("a", "en"), audio("b", "de"), audio("c", None)])
    assert (german.audio.episode_id, type(german.error)) == ("b", LanguageWithoutEngine)
    for done in (english, unknown):
        assert done.spec is not None
        assert (done.error, done.spec.name, done.device, done.peak_device_mb) == (None, "whisper", "cpu", None)
    with pytest.raises(EngineUnavailable, match="/no/such/folder was given"):
        list(engines.transcribe([audio("d", "zh")]))


def test_engines_that_need_an_environment_of_their_own_are_placed_there() -> None:
    settings = Settings(
        diarizer="nemo:/models/diarizer.nemo",
        diarizer_preset="low_latency",
        transcriber="en=whisper,zh=firered:/models/zh,*=nemo",
        nemo_python="/envs/nemo/bin/python",
    )
    nemo = {"python": "/envs/nemo/bin/python"}
    diarizer = EngineChoice("nemo", "/models/diarizer.nemo", {"preset": "low_latency", **nemo})
    assert chosen_diarizer(settings) == diarizer
    assert chosen_transcribers(settings) == {
        "en": EngineChoice("whisper"),
        "zh": EngineChoice("firered", "/models/zh", nemo),
        "*": EngineChoice("nemo", None, nemo),
    }
    here = settings.model_copy(update={"nemo_python": "", "firered_python": "/envs/zh/bin/python"})
    assert chosen_diarizer(here).options == {"preset": "low_latency"}
    assert chosen_transcribers(here)["zh"].options == {"python": "/envs/zh/bin/python"}


class EchoHost:
    """Answers each episode as soon as it has read it, and notes the engine."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, list[str]]] = []

    def run(self, slot: Slot, choice: EngineChoice, spec: EngineSpec, audio: Iterable[Audio]) -> Iterator[Done]:
        self.runs.append((choice.name, []))
        for one in audio:
            self.runs[-1][1].append(one.episode_id)
            yield Done(one, None, None, spec)


class LimitedHost(EchoHost):
    """`nemo` finds four speakers, its limit, in every second episode; any other diarizer finds six."""

    def run(self, slot: Slot, choice: EngineChoice, spec: EngineSpec, audio: Iterable[Audio]) -> Iterator[Done]:
        for done in super().run(slot, choice, spec, audio):
            found = (4 if int(done.audio.episode_id) % 2 else 3) if choice.name == "nemo" else 6
            segments = tuple(Segment(f"S{i}", i * 1000, i * 1000 + 900) for i in range(found))
            yield replace(done, result=Diarization(segments, speaker_capacity=4 if choice.name == "nemo" else None))


def limited(saturated: str) -> tuple[Engines, LimitedHost]:
    settings, host = Settings(diarizer="nemo:/models/none.nemo", diarizer_saturated=saturated), LimitedHost()
    return Engines(chosen_diarizer(settings), {}, host, second_diarizer(settings)), host


def test_a_second_diarizer_repeats_the_episodes_in_which_the_first_has_reached_its_limit() -> None:
    engines, host = limited("campplus")
    done = {one.audio.episode_id: one for one in engines.diarize(audio(str(n), "en") for n in range(4))}
    assert host.runs == [("nemo", ["0", "1", "2", "3"]), ("campplus", ["1", "3"])]
    assert {key: one.spec.name for key, one in done.items()} == {
        "0": "nemo", "2": "nemo", "1": "campplus", "3": "campplus",
    }  # fmt: skip
    assert {key: one.redone_from for key, one in done.items()} == {
        "0": None, "2": None, "1": "nemo /models/none.nemo absent", "3": "nemo /models/none.nemo absent",
    }  # fmt: skip
    assert {one.fingerprint for one in done.values()} == {engines.diarizer_spec().fingerprint}
    assert engines.diarizer_spec().fingerprint != limited("keep")[0].diarizer_spec().fingerprint


def test_the_limit_is_kept_by_default() -> None:
    engines, host = limited("keep")
    done = list(engines.diarize(audio(str(n), "en") for n in range(4)))
    assert host.runs == [("nemo", ["0", "1", "2", "3"])]
    assert {(one.fingerprint, one.redone_from) for one in done} == {(None, None)}
    assert second_diarizer(Settings(diarizer="campplus", diarizer_saturated="campplus")) is None
    assert Settings().diarizer_saturated == "keep"


def test_an_engine_starts_with_its_first_episode_and_others_follow() -> None:
    read: list[str] = []

    def all_audio() -> Iterator[Audio]:
        for number, language in enumerate(("en", "zh", "de", "en", "zh")):
            read.append(f"{number}")
            yield audio(f"{number}", language)

    host = EchoHost()
    engines = Engines(EngineChoice("campplus"), parse_transcribers("en=whisper,zh=firered:/models/zh"), host)
    done = engines.transcribe(all_audio())
    assert next(done).audio.episode_id == "0"
    assert read == ["0"]
    assert [one.audio.episode_id for one in done] == ["3", "1", "4", "2"]
    assert host.runs == [("whisper", ["0", "3"]), ("firered", ["1", "4"])]


def test_a_removed_engine_names_its_replacement() -> None:
    engines = Engines(EngineChoice("mfcc"), parse_transcribers("pocketsphinx"), EchoHost())
    with pytest.raises(EngineUnavailable, match=r"'mfcc', which was removed\. Use 'campplus'"):
        engines.diarizer_spec()
    with pytest.raises(EngineUnavailable, match=r"'pocketsphinx', which was removed\. Use 'whisper'"):
        engines.transcriber_for("en")
