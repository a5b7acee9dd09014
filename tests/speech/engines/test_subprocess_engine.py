"""An engine in a process and under an interpreter of its own does what it does here; if its process exits, only the recording that caused it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from speech.engines import registry
from speech.engines.protocols import DeviceUse, EngineChoice
from speech.engines.subprocess_engine import SubprocessEngine
from speech.errors import BadOutput, EngineCrashed, EngineUnavailable
from speech.types import Diarization, Recording, Segment, Transcript, Word

DEMO = Path(__file__).parents[3] / "demo" / "audio"
ROOT = Path(__file__).parents[3]

TOY = '''
"""An engine that is told by an episode's name what to do with it, and takes as many at once as `ahead` says."""
import ctypes, os, signal, sys, time
from itertools import islice
import numpy as np
from speech.engines.protocols import DeviceUse, EngineSpec
from speech.errors import BadOutput, EngineUnavailable
from speech.types import Diarization, Segment, Transcript, Word

def describe(choice):
    return EngineSpec("toy", choice.model or "none", "1", {"ahead": choice.options.get("ahead", "1")}, frozenset({"en"}))

def load(choice, device):
    if choice.model == "missing":
        raise EngineUnavailable("No weights: fetch them.")
    if choice.model == "damaged":
        os.kill(os.getpid(), signal.SIGSEGV)
    return Toy(choice, device)

class Toy:
    def __init__(self, choice, device):
        self.spec, self._ahead, self._device = describe(choice), int(choice.options.get("ahead", "1")), device

    def transcribe(self, recordings):
        coming = iter(recordings)
        while taken := list(islice(coming, self._ahead)):
            for recording in taken:
                yield recording, self._result(recording.episode_id)

    def _result(self, name):
        if name == "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "bug":
            raise ZeroDivisionError("division by zero")
        if name == "unavailable":
            raise EngineUnavailable("The voice activity detector is not installed.")
        if name == "noisy":
            print("from Python", flush=True)
            ctypes.CDLL(None).puts(b"from C")
            ctypes.CDLL(None).fflush(None)
        if name == "sleeps":
            time.sleep(600)
        if name == "bad":
            return BadOutput("nothing but noise")
        words = (Word(str(os.getpid()), 0, 1), Word(self._device, 1, 2, 0.1 + 0.2, 3, True))
        return Transcript(words, 5, "the toy has none", 7)

    def device_use(self):
        return DeviceUse("toy:0 Toy", 12.5)

    def close(self):
        pass
'''
REGISTERED = "from speech.engines import registry\nregistry.TRANSCRIBERS['toy'] = 'toy_engine'\n"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Options of the toy → it, loaded; closed in the end."""
    (tmp_path / "toy_engine.py").write_text(TOY)
    (tmp_path / "sitecustomize.py").write_text(REGISTERED)  # read when an interpreter starts
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(registry.TRANSCRIBERS, "toy", "toy_engine")
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded: list[SubprocessEngine] = []

    def load(model: str | None = None, **options: str) -> SubprocessEngine:
        choice = EngineChoice("toy", model, {"python": sys.executable, **options})
        engine = registry.load_transcriber(choice, "cpu")
        assert isinstance(engine, SubprocessEngine)
        loaded.append(engine)
        return engine

    yield load
    for engine in loaded:
        engine.close()


def named(*names: str) -> list[Recording]:
    return [Recording(name, "0" * 64, Path(f"{name}.wav")) for name in names]


def outcomes(engine: SubprocessEngine, *names: str) -> list[tuple[str, str]]:
    """Episode and type of its outcome, in the order of the outcomes."""
    return [(recording.episode_id, type(found).__name__) for recording, found in engine.transcribe(named(*names))]


def test_results_errors_and_device_facts_cross_unchanged(toy) -> None:
    engine = toy("some/model")
    recordings = named("good", "bad", "good")
    first, second, third = engine.transcribe(recordings)
    assert (first[0], second[0], third[0]) == tuple(recordings)
    assert first[0] is recordings[0]
    assert third[0] is recordings[2]  # the same episode twice is two recordings
    words = (Word(str(engine.pid), 0, 1), Word("cpu", 1, 2, 0.1 + 0.2, 3, times_estimated=True))
    assert first[1] == Transcript(words, 5, "the toy has none", 7)
    assert isinstance(second[1], BadOutput)
    assert str(second[1]) == "nothing but noise"
    assert engine.device_use() == DeviceUse("toy:0 Toy", 12.5)
    assert engine.spec == registry.describe_transcriber(EngineChoice("toy", "some/model"))
    assert engine.pid != os.getpid()


def test_it_stays_warm_between_streams_and_is_asked_for_as_much_as_it_takes(toy) -> None:
    engine = toy(ahead="2")
    pid = engine.pid
    taken: list[str] = []

    def coming() -> Iterator[Recording]:
        for recording in named("a", "b", "c", "d"):
            taken.append(recording.episode_id)
            yield recording

    results = engine.transcribe(coming())
    assert next(results)[0].episode_id == "a"
    assert taken == ["a", "b"]
    assert [recording.episode_id for recording, _ in results] == ["b", "c", "d"]
    assert outcomes(engine) == []
    assert outcomes(engine, "e") == [("e", "Transcript")]
    assert engine.pid == pid


def test_what_a_library_prints_is_no_result(toy) -> None:
    assert outcomes(toy(), "noisy", "good") == [("noisy", "Transcript"), ("good", "Transcript")]


def test_after_a_crash_only_the_recording_that_causes_it_fails(toy) -> None:
    found = outcomes(toy(ahead="3"), "a", "kills", "b", "c", "d")
    assert sorted(found) == [
        ("a", "Transcript"), ("b", "Transcript"), ("c", "Transcript"), ("d", "Transcript"), ("kills", "EngineCrashed"),
    ]  # fmt: skip


def test_a_crash_says_how_the_process_exited_and_its_last_error(toy) -> None:
    (_, killed), (_, bug) = toy().transcribe(named("kills", "bug"))
    assert str(killed) == "kills: the process of the engine toy exited while it worked on it: signal SIGKILL"
    assert (
        str(bug)
        == "bug: the process of the engine toy exited while it worked on it: exit status 1; ZeroDivisionError: division by zero"
    )


def test_after_four_exits_in_a_row_the_rest_of_the_stream_fails(toy) -> None:
    engine = toy()
    found = list(engine.transcribe(named("kills", "kills", "good", "kills", "kills", "kills", "kills", "good")))
    assert [isinstance(result, EngineCrashed) for _, result in found] == [True, True, False, *[True] * 5]
    assert (
        str(found[-1][1])
        == "good: the process of the engine toy exited 4 times in a row before this recording was tried"
    )
    assert outcomes(engine, "good") == [("good", "Transcript")]


def test_if_the_process_exits_between_two_streams_no_recording_fails(toy) -> None:
    engine = toy()
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGKILL)
    assert outcomes(engine, "a", "b") == [("a", "Transcript"), ("b", "Transcript")]


def test_an_engine_is_usable_after_a_stream_was_closed_early(toy) -> None:
    engine = toy()
    results = engine.transcribe(named("a", "sleeps"))
    next(results)
    results.close()
    assert outcomes(engine, "b") == [("b", "Transcript")]


def test_what_cannot_load_says_why(toy, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"^No weights: fetch them\.$"):
        toy("missing")
    with pytest.raises(EngineUnavailable, match=r"exited while it loaded: signal SIGSEGV"):
        toy("damaged")
    with pytest.raises(EngineUnavailable, match=r"The interpreter /no/such/python cannot be started \(No such file"):
        toy(python="/no/such/python")
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho No module named numpy >&2\nexit 1\n")
    bare.chmod(0o755)
    with pytest.raises(EngineUnavailable, match=r"exited while it loaded: exit status 1; No module named numpy"):
        toy(python=str(bare))


def test_an_engine_that_turns_out_to_be_unavailable_says_so(toy) -> None:
    with pytest.raises(EngineUnavailable, match="voice activity detector is not installed"):
        outcomes(toy(), "a", "unavailable")


def test_closing_ends_the_process(toy) -> None:
    engine = toy()
    pid = engine.pid
    engine.close()
    assert engine.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_process_ends_with_its_owner_even_in_the_middle_of_its_work(toy) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom speech.engines import registry\n"
        "from speech.engines.protocols import EngineChoice\nfrom speech.types import Recording\n"
        "engine = registry.load_transcriber(EngineChoice('toy', None, {'python': sys.executable}), 'cpu')\n"
        "names = iter(['good', 'sleeps'])\n"
        "print(engine.pid, flush=True)\n"
        "for _ in engine.transcribe(Recording(name, '0', Path(name)) for name in names): print('done', flush=True)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    assert owner.stdout.readline() == "done\n"
    owner.kill()
    owner.communicate()
    while _is_running(pid):
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_real_diarizer_finds_there_what_it_finds_here(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra `embedded`: pip install 'podlake[embedded]'")
    from speech.decoding import decode_to_wav

    wav = tmp_path / "rain.wav"
    decode_to_wav(DEMO / "the-sound-of-rain.flac", wav)
    recording = Recording("rain", "0" * 64, wav, "en")
    here = registry.load_diarizer(EngineChoice("campplus"), "cpu")
    there = registry.load_diarizer(EngineChoice("campplus", None, {"python": sys.executable}), "cpu")
    ((_, expected),) = here.diarize([recording])
    ((_, found),) = there.diarize([recording])
    there.close()
    assert isinstance(expected, Diarization)
    assert isinstance(found, Diarization)
    assert found.segments == expected.segments
    assert all(isinstance(segment, Segment) for segment in found.segments)
    assert found.embeddings.keys() == expected.embeddings.keys()
    assert all(np.array_equal(found.embeddings[name], vector) for name, vector in expected.embeddings.items())
    assert there.spec == here.spec
