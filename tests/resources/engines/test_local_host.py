"""What overlaps with the engine's work, and how a batch ends: with an engine whose every step the test decides."""

from __future__ import annotations

import threading
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue

import pytest

from resources.engines.devices import Devices
from resources.engines.local_host import DECODED_AHEAD, DECODERS, LocalHost
from resources.engines.routing import Audio
from speech.engines import registry
from speech.engines.protocols import ON_CPU, DeviceUse, EngineChoice, EngineSpec
from speech.errors import EngineFailed, EngineUnavailable, NotAudio, PodlakeError
from speech.types import Recording, Transcript
from speech.waveforms import WaveformCache

AT_MOST_S = 30
"""For what must happen: reached only by a test that fails."""
CHOICE, SPEC = EngineChoice("steps"), EngineSpec("steps", "steps", "1")


@dataclass
class Steps:
    """A transcriber that says what it begins, and goes no further than it is told."""

    began: Queue[str] = field(default_factory=Queue)
    may_go_on: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    breaks_at: str = ""
    is_closed: bool = False
    spec: EngineSpec = SPEC

    def transcribe(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Transcript | PodlakeError]]:
        for recording in recordings:
            self.began.put(recording.episode_id)
            assert self.may_go_on.acquire(timeout=AT_MOST_S)
            if recording.episode_id == self.breaks_at:
                raise RuntimeError("the engine broke")
            yield recording, Transcript((), speech_ms=0, engine_ms=1)

    def device_use(self) -> DeviceUse:
        return ON_CPU

    def close(self) -> None:
        self.is_closed = True


engines: list[Steps] = []
"""That of the test that runs is the last."""


def load(choice: EngineChoice, device: str) -> Steps:
    if choice.model == "missing":
        raise EngineUnavailable("there are no weights")
    return engines[-1]


@pytest.fixture(autouse=True)
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    """No test leaves a thread behind, and each closes its engine."""
    engines.append(Steps())
    monkeypatch.setitem(registry.TRANSCRIBERS, "steps", __name__)
    before = set(threading.enumerate())
    yield engines[-1]
    assert set(threading.enumerate()) <= before


@pytest.fixture
def host(tmp_path: Path) -> LocalHost:
    return LocalHost(WaveformCache(tmp_path / "waveforms", 10**9), Devices(()))


def audio(folder: Path, n: int) -> Audio:
    path = folder / f"{n}.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes(bytes(2 * 160 * (n + 20)))
    return Audio(f"e{n}", f"{n:064d}", path, "en")


def held(folder: Path, probe: str) -> list[str]:
    """Waveforms that an eviction leaves: to make one more in a cache without room evicts all that nobody holds."""
    with WaveformCache(folder / "waveforms", 0).using(probe * 64, audio(folder, 99).path):
        return sorted(path.stem[-1] for path in (folder / "waveforms").glob("0*.wav"))


def test_the_engine_works_on_the_next_while_its_caller_lands_the_last(
    host: LocalHost, steps: Steps, tmp_path: Path
) -> None:
    results = host.run("transcriber", CHOICE, SPEC, [audio(tmp_path, n) for n in range(3)])
    steps.may_go_on.release()
    assert next(results).audio.episode_id == "e0"
    assert [steps.began.get(timeout=AT_MOST_S) for _ in range(2)] == ["e0", "e1"]  # nobody has asked for e1 yet
    steps.may_go_on.release(2)
    last = list(results)
    assert [done.audio.episode_id for done in last] == ["e1", "e2"]
    assert [done.audio_ms for done in last] == [210, 220]
    assert all(0 <= (done.utilization or -1) <= 1 for done in last)
    assert steps.is_closed


def test_recordings_are_decoded_ahead_but_not_further_than_is_said(
    host: LocalHost, steps: Steps, tmp_path: Path
) -> None:
    asked: Queue[int] = Queue()

    def all_audio() -> Iterator[Audio]:
        for n in range(20):
            asked.put(n)
            yield audio(tmp_path, n)

    results = host.run("transcriber", CHOICE, SPEC, all_audio())
    steps.may_go_on.release()
    assert next(results).audio.episode_id == "e0"
    assert steps.began.get(timeout=AT_MOST_S) == "e0"
    assert steps.began.get(timeout=AT_MOST_S) == "e1"
    furthest = 1 + DECODED_AHEAD + DECODERS
    while asked.get(timeout=AT_MOST_S) != furthest:
        pass
    assert asked.empty()
    steps.may_go_on.release(19)
    assert len(list(results)) == 19


def test_what_cannot_be_decoded_fails_alone(host: LocalHost, steps: Steps, tmp_path: Path) -> None:
    page = tmp_path / "page.mp3"
    page.write_text("<html>not found, but 200</html>")
    good = [audio(tmp_path, n) for n in range(3)]
    steps.may_go_on.release(3)
    done = list(host.run("transcriber", CHOICE, SPEC, [good[0], Audio("page", "a" * 64, page, "en"), *good[1:]]))
    assert {one.audio.episode_id: type(one.error) for one in done} == {
        "e0": type(None), "e1": type(None), "e2": type(None), "page": NotAudio
    }  # fmt: skip


def test_an_engine_that_breaks_has_given_what_it_had(host: LocalHost, steps: Steps, tmp_path: Path) -> None:
    steps.breaks_at = "e2"
    steps.may_go_on.release(3)
    seen: list[str] = []
    results = host.run("transcriber", CHOICE, SPEC, [audio(tmp_path, n) for n in range(9)])
    with pytest.raises(EngineFailed, match="e2: the engine broke"):
        seen.extend(done.audio.episode_id for done in results)
    assert seen == ["e0", "e1"]
    assert steps.is_closed


def test_an_engine_that_cannot_load_says_so_to_the_caller(host: LocalHost, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match="there are no weights"):
        list(host.run("transcriber", EngineChoice("steps", "missing"), SPEC, [audio(tmp_path, 0)]))


def test_a_caller_that_goes_away_ends_the_engine_and_holds_no_waveform(
    host: LocalHost, steps: Steps, tmp_path: Path
) -> None:
    results = host.run("transcriber", CHOICE, SPEC, [audio(tmp_path, n) for n in range(20)])
    steps.may_go_on.release()
    assert next(results).audio.episode_id == "e0"
    assert steps.began.get(timeout=AT_MOST_S) == "e0"
    assert steps.began.get(timeout=AT_MOST_S) == "e1"
    assert "1" in held(tmp_path, "a")
    steps.may_go_on.release()
    results.close()
    assert steps.is_closed
    assert steps.began.empty()
    assert held(tmp_path, "b") == []


ON_A_GPU = EngineSpec("together", "together", "1", needs_gpu=True)


@dataclass
class Together:
    """A transcriber on a GPU that answers once as many as there are devices are at work, each on its own."""

    device: str
    barrier: threading.Barrier
    at_work: list[str]
    spec: EngineSpec = ON_A_GPU

    def transcribe(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Transcript]]:
        for recording in recordings:
            assert self.device not in self.at_work
            self.at_work.append(self.device)
            self.barrier.wait(timeout=AT_MOST_S)
            self.at_work.remove(self.device)
            yield recording, Transcript((), speech_ms=0, engine_ms=1)

    def device_use(self) -> DeviceUse:
        return DeviceUse(self.device)

    def close(self) -> None:
        """Nothing is held."""


def test_as_many_batches_as_devices_run_side_by_side_each_on_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = Devices(("cuda:0", "cuda:1", "cuda:2"), tmp_path / "leases")
    host = LocalHost(WaveformCache(tmp_path / "waveforms", 10**9), devices)
    barrier, at_work = threading.Barrier(len(devices.names)), list[str]()
    monkeypatch.setattr(
        "resources.engines.local_host.load", lambda slot, choice, device: Together(device, barrier, at_work)
    )
    used: list[str | None] = []

    def batch(n: int) -> None:
        used.extend(done.device for done in host.run("transcriber", CHOICE, ON_A_GPU, [audio(tmp_path, n)]))

    batches = [threading.Thread(target=batch, args=(n,)) for n in range(2 * len(devices.names))]
    for thread in batches:
        thread.start()
    for thread in batches:
        thread.join(AT_MOST_S)
    assert sorted(map(str, used)) == sorted(2 * devices.names)
    assert devices.holders() == {}
