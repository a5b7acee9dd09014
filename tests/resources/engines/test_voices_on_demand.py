"""A voice or translator whose service is on a GPU server wakes it before it works."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.engines.devices import Devices
from resources.engines.translators import Translators
from resources.engines.voices import Said, Voices
from resources.gpu_server.errors import ServerFailed
from resources.gpu_server.servers import GpuServers
from speech.engines.protocols import EngineChoice
from speech.types import Line, SpokenLine
from tests.resources.gpu_server.clouds import on_demand, running_cloud
from tests.speech.engines.speech_servers import chatterbox_server, openai_server

pytestmark = pytest.mark.filterwarnings(
    "ignore:Support for InfluxDB", "ignore:The _compute_attributes", "ignore:The 'service_type'"
)  # openstacksdk's own

REFERENCE = Path(__file__).parents[2] / "nemo" / "pod_solo.flac"


def said(servers: GpuServers, voice_url: str, folder: Path) -> list[Said]:
    choice = EngineChoice("openai", voice_url)
    lines = [Line("show", number, "Hello there, everyone.", folder / f"{number}.wav") for number in range(2)]
    return list(Voices({"S1": choice}, Devices([]), 0.0, servers).say([(choice, line) for line in lines]))


def test_the_server_is_woken_and_then_the_lines_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_cloud() as cloud, openai_server() as voice:
        found = said(on_demand(cloud, tmp_path, monkeypatch), voice.url, tmp_path)
    assert [type(one.result) for one in found] == [SpokenLine, SpokenLine]
    assert cloud.actions == ["unshelve"]


def test_a_cloned_voice_of_a_dub_wakes_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_cloud() as cloud, chatterbox_server() as voice:
        choice = EngineChoice("chatterbox", voice.url, {"clone": "one"})
        line = Line("lesson-1", 0, "Hola a todos.", tmp_path / "0.wav", "es", reference=REFERENCE)
        voices = Voices({"S1": choice}, Devices([]), 0.0, on_demand(cloud, tmp_path, monkeypatch))
        (said,) = voices.say([(choice, line)])
    assert isinstance(said.result, SpokenLine), said.result
    assert cloud.actions == ["unshelve"]


def test_a_server_that_does_not_start_is_the_error_of_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_cloud(status="ERROR") as cloud, openai_server() as voice:
        found = said(on_demand(cloud, tmp_path, monkeypatch), voice.url, tmp_path)
        elsewhere = said(
            on_demand(cloud, tmp_path, monkeypatch), voice.url.replace("127.0.0.1", "localhost"), tmp_path / "b"
        )
    assert [type(one.result) for one in found] == [ServerFailed, ServerFailed]
    assert [type(one.result) for one in elsewhere] == [SpokenLine, SpokenLine]
    assert cloud.actions == []


def test_a_chat_model_on_the_server_is_woken_for_a_lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_cloud() as cloud:
        servers = on_demand(cloud, tmp_path, monkeypatch)
        chat = EngineChoice("ollama", "http://127.0.0.1:11434", {"model": "m"})
        with Translators(chat, tmp_path, gpu_servers=servers).loaded():
            assert cloud.is_healthy
        with Translators(
            EngineChoice("ollama", "http://localhost:11434", {"model": "m"}), tmp_path, gpu_servers=servers
        ).loaded():
            pass
    assert cloud.actions == ["unshelve"]
