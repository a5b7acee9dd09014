"""What overlaps with the engine's work, and how a batch ends: with an engine whose every step the test decides."""

from __future__ import annotations

import threading
import wave
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue

import pytest

from resources.engines.local_host import DECODED_AHEAD, DECODERS, RESULTS_AHEAD, work
from resources.engines.routing import Audio, Done
from resources.engines.run_ahead import run_ahead
from speech.engines.protocols import ON_CPU, DeviceUse, EngineSpec
from speech.errors import EngineFailed, NotAudio, PodlakeError
from speech.types import Recording, Transcript
from speech.waveforms import WaveformCache

AT_MOST_S = 30
"""For what must happen: reached only by a test that fails."""
SPEC = EngineSpec("steps", "steps", "1")


@dataclass
class Steps:
    """A transcriber that says what it begins, and goes no further than it is told."""

    began: Queue[str] = field(default_factory=Queue)
    may_go_on: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    breaks_at: str = ""
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
        """Nothing is held."""


@pytest.fixture
def steps() -> Iterator[Steps]:
    """No test leaves a thread behind."""
    before = set(threading.enumerate())
    yield Steps()
    assert set(threading.enumerate()) <= before


def run(steps: Steps, folder: Path, audio: Iterable[Audio]) -> Generator[Done]:
    """As the local host does with an engine that is loaded."""
    waveforms = WaveformCache(folder / "waveforms", 10**9)
    return run_ahead(work("transcriber", steps, waveforms, audio), name="engine", most=RESULTS_AHEAD)


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


def test_the_engine_works_on_the_next_while_its_caller_lands_the_last(steps: Steps, tmp_path: Path) -> None:
    results = run(steps, tmp_path, [audio(tmp_path, n) for n in range(3)])
    steps.may_go_on.release()
    assert next(results).audio.episode_id == "e0"
    assert [steps.began.get(timeout=AT_MOST_S) for _ in range(2)] == ["e0", "e1"]  # nobody has asked for e1 yet
    steps.may_go_on.release(2)
    last = list(results)
    assert [done.audio.episode_id for done in last] == ["e1", "e2"]
    assert [done.audio_ms for done in last] == [210, 220]
    assert all(0 <= (done.utilization or -1) <= 1 for done in last)


def test_recordings_are_decoded_ahead_but_not_further_than_is_said(steps: Steps, tmp_path: Path) -> None:
    asked: Queue[int] = Queue()

    def all_audio() -> Iterator[Audio]:
        for n in range(20):
            asked.put(n)
            yield audio(tmp_path, n)

    results = run(steps, tmp_path, all_audio())
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


def test_what_cannot_be_decoded_fails_alone(steps: Steps, tmp_path: Path) -> None:
    page = tmp_path / "page.mp3"
    page.write_text("<html>not found, but 200</html>")
    good = [audio(tmp_path, n) for n in range(3)]
    steps.may_go_on.release(3)
    done = list(run(steps, tmp_path, [good[0], Audio("page", "a" * 64, page, "en"), *good[1:]]))
    assert {one.audio.episode_id: type(one.error) for one in done} == {
        "e0": type(None), "e1": type(None), "e2": type(None), "page": NotAudio
    }  # fmt: skip


def test_an_engine_that_breaks_has_given_what_it_had(steps: Steps, tmp_path: Path) -> None:
    steps.breaks_at = "e2"
    steps.may_go_on.release(3)
    seen: list[str] = []
    results = run(steps, tmp_path, [audio(tmp_path, n) for n in range(9)])
    with pytest.raises(EngineFailed, match="e2: the engine broke"):
        seen.extend(done.audio.episode_id for done in results)
    assert seen == ["e0", "e1"]


def test_a_caller_that_goes_away_ends_the_engine_and_holds_no_waveform(steps: Steps, tmp_path: Path) -> None:
    results = run(steps, tmp_path, [audio(tmp_path, n) for n in range(20)])
    steps.may_go_on.release()
    assert next(results).audio.episode_id == "e0"
    assert steps.began.get(timeout=AT_MOST_S) == "e0"
    assert steps.began.get(timeout=AT_MOST_S) == "e1"
    assert "1" in held(tmp_path, "a")
    steps.may_go_on.release()
    results.close()
    assert steps.began.empty()
    assert held(tmp_path, "b") == []
