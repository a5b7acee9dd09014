"""Parts of episodes: they are encoded in processes that may exit, kept, and taken from the waveform where audio is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from gateway.listening.parts import EpisodeAudio, Parts, _Gate
from speech.opus_stream import encode_part
from speech.webm import Cluster

RAIN = Path(__file__).parents[2] / "demo" / "audio" / "the-sound-of-rain.flac"
SHA256 = "ab" * 32


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    made = Parts(tmp_path_factory.mktemp("cache"), limit_bytes=100_000, waveforms_bytes=10**9)
    yield made
    made.close()


def read(parts: Parts, *indices: int, is_damaged: bool = False, sha256: str = SHA256) -> list[list[Cluster]]:
    audio = EpisodeAudio(sha256, RAIN, is_damaged)

    async def all_of_them() -> list[list[Cluster]]:
        return list(await asyncio.gather(*(parts.read(audio, index) for index in indices)))

    return asyncio.run(all_of_them())


def test_a_part_is_encoded_once_and_a_damaged_file_again(parts: Parts) -> None:
    assert read(parts, 0) == [encode_part(RAIN, 0)]
    kept = parts.cache / "listening" / "ab" / f"{SHA256}.0.webm"
    content = kept.read_bytes()
    kept.write_bytes(content[:-1])
    assert read(parts, 0) == [encode_part(RAIN, 0)]
    assert kept.read_bytes() == content


def test_a_process_that_exits_is_replaced(parts: Parts) -> None:
    read(parts, 1)
    living = [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    encoders = [child for child in living if "spawn_main" in " ".join(child.cmdline())]
    assert encoders
    for child in encoders:
        child.kill()
    assert read(parts, 2, 3) == [encode_part(RAIN, 2), encode_part(RAIN, 3)]


def test_where_audio_is_lost_the_waveform_is_encoded(parts: Parts) -> None:
    ((first, *_),) = read(parts, 4, is_damaged=True, sha256="cd" * 32)
    assert first.start_ms == 40_000
    assert (parts.cache / "waveforms" / f"{'cd' * 32}.wav").exists()
    assert not (parts.cache / "waveforms" / f"{SHA256}.wav").exists()


def test_players_that_have_begun_come_first() -> None:
    order = list[str]()

    async def ask() -> None:
        gate = _Gate(1)

        async def one(name: str, *, is_urgent: bool) -> None:
            async with gate.inside(name, is_urgent=is_urgent):
                order.append(name)
                await asyncio.sleep(0)

        tasks = [
            asyncio.create_task(one(name, is_urgent=name == "urgent")) for name in ("a", "b", "c", "gone", "urgent")
        ]
        await asyncio.sleep(0)
        gate.hurry("c")
        tasks[3].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.n_free == 1

    asyncio.run(ask())
    assert order == ["a", "urgent", "c", "b"]
