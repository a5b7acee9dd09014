"""An engine in a host process does what it does here, stays warm, and its exit fails only the recording that causes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from speech.engines import hosts, registry
from speech.engines.hosted_engine import HostedEngine
from speech.engines.protocols import DeviceUse, EngineChoice
from speech.errors import BadOutput, EngineCrashed, EngineUnavailable
from speech.types import Diarization, Recording, Segment, Transcript, Word

DEMO = Path(__file__).parents[3] / "demo" / "audio"
ROOT = Path(__file__).parents[3]

TOY = '''
"""An engine that is told by an episode's name what to do with it, and takes as many at once as `ahead` says."""
import ctypes, os, signal, sys, time
from itertools import islice
from pathlib import Path
import numpy as np
from speech.engines.protocols import DeviceUse, EngineSpec
from speech.errors import BadOutput, EngineUnavailable
from speech.types import Diarization, Segment, Transcript, Word

def describe(choice):
    revision = Path(__file__).with_name("revision")
    return EngineSpec("toy", choice.model or "none", revision.read_text() if revision.exists() else "1", {"ahead": choice.options.get("ahead", "1")}, frozenset({"en"}))

def load(choice, device):
    if choice.model == "missing":
        raise EngineUnavailable("No weights: fetch them.")
    if choice.model == "large" and Toy.loaded:
        raise RuntimeError("CUDA out of memory")
    if choice.model == "damaged":
        ctypes.string_at(0)
    return Toy(choice, device)

class Toy:
    loaded = 0

    def __init__(self, choice, device):
        self.spec, self._ahead, self._device = describe(choice), int(choice.options.get("ahead", "1")), device
        Toy.loaded += 1

    def transcribe(self, recordings):
        coming = iter(recordings)
        while taken := list(islice(coming, self._ahead)):
            for recording in taken:
                yield recording, self._found(recording)

    def _found(self, recording):
        name = recording.episode_id
        if name == "reports":
            for done_ms in range(10_000):
                time.sleep(0.1)
                recording.report(done_ms)
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
        Toy.loaded -= 1
'''
REGISTERED = "from speech.engines import registry\nregistry.TRANSCRIBERS['toy'] = 'toy_engine'\n"


@pytest.fixture(autouse=True)
def _own_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield
    hosts.stop()


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Options of the toy → it, loaded; closed in the end."""
    (tmp_path / "toy_engine.py").write_text(TOY)
    (tmp_path / "sitecustomize.py").write_text(REGISTERED)  # read when an interpreter starts
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setitem(registry.TRANSCRIBERS, "toy", "toy_engine")
    monkeypatch.syspath_prepend(str(tmp_path))
    loaded: list[HostedEngine] = []

    def load(model: str | None = None, *, idle_s: float = 60.0, **options: str) -> HostedEngine:
        choice = EngineChoice("toy", model, {"python": sys.executable, **options})
        engine = HostedEngine(
            "transcriber", choice, registry.describe_transcriber(choice), "cpu", idle_s=idle_s, threads=1
        )
        loaded.append(engine)
        return engine

    yield load
    for engine in loaded:
        engine.close()


def named(*names: str) -> list[Recording]:
    return [Recording(name, "0" * 64, Path(f"{name}.wav")) for name in names]


def pid_of(engine: HostedEngine) -> int:
    """The toy writes it as its first word."""
    ((_, found),) = engine.transcribe(named("pid"))
    return int(found.words[0].text)


def outcomes(engine: HostedEngine, *names: str) -> list[tuple[str, str]]:
    """Episode and type of its outcome, in the order of the outcomes."""
    return [(recording.episode_id, type(found).__name__) for recording, found in engine.transcribe(named(*names))]


def test_results_errors_and_device_facts_cross_unchanged(toy) -> None:
    engine = toy("some/model")
    recordings = named("good", "bad", "good")
    first, second, third = engine.transcribe(recordings)
    assert (first[0], second[0], third[0]) == tuple(recordings)
    assert first[0] is recordings[0]
    assert third[0] is recordings[2]  # the same episode twice is two recordings
    words = (Word(str(pid_of(engine)), 0, 1), Word("cpu", 1, 2, 0.1 + 0.2, 3, times_estimated=True))
    assert first[1] == Transcript(words, 5, "the toy has none", 7)
    assert isinstance(second[1], BadOutput)
    assert str(second[1]) == "nothing but noise"
    assert engine.device_use() == DeviceUse("toy:0 Toy", 12.5)
    assert engine.spec == registry.describe_transcriber(EngineChoice("toy", "some/model"))
    assert pid_of(engine) != os.getpid()


def test_it_stays_warm_between_streams_and_is_asked_for_as_much_as_it_takes(toy) -> None:
    engine = toy(ahead="2")
    pid = pid_of(engine)
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
    assert pid_of(engine) == pid


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
    assert str(bug) == "bug: the process of the engine toy broke on it: ZeroDivisionError: division by zero"


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
    os.kill(pid_of(engine), signal.SIGKILL)
    assert outcomes(engine, "a", "b") == [("a", "Transcript"), ("b", "Transcript")]


def test_an_engine_is_usable_after_a_stream_was_closed_early(toy) -> None:
    engine = toy()
    results = engine.transcribe(named("a", "sleeps"))
    next(results)
    results.close()
    assert outcomes(engine, "b") == [("b", "Transcript")]


def test_what_cannot_load_says_why(toy, tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailable, match=r"^No weights: fetch them\.$"):
        toy("missing").wait_until_ready()
    with pytest.raises(EngineUnavailable, match=r"exited while it loaded: signal SIGSEGV; Fatal Python error: Segm"):
        toy("damaged").wait_until_ready()
    with pytest.raises(EngineUnavailable, match=r"The interpreter /no/such/python cannot be started \(No such file"):
        toy(python="/no/such/python")
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho No module named numpy >&2\nexit 1\n")
    bare.chmod(0o755)
    with pytest.raises(EngineUnavailable, match=r"exited while it started: exit status 1; No module named numpy"):
        toy(python=str(bare))


def test_an_engine_that_turns_out_to_be_unavailable_says_so(toy) -> None:
    with pytest.raises(EngineUnavailable, match="voice activity detector is not installed"):
        outcomes(toy(), "a", "unavailable")


def test_it_is_warm_for_the_next_client_until_it_has_been_idle(toy) -> None:
    first = toy(idle_s=60.0)
    pid = pid_of(first)
    first.close()
    second = toy(idle_s=0.0)
    assert pid_of(second) == pid
    assert (first.loaded_s or 0) > 0
    assert second.loaded_s == 0
    second.close()
    while _is_running(pid):
        time.sleep(0.05)


def test_clients_of_one_engine_take_turns_and_those_of_two_do_not(toy) -> None:
    first, same, other = toy(), toy(), toy("other")
    results = first.transcribe(named("a", "b"))
    next(results)
    assert outcomes(other, "c") == [("c", "Transcript")]
    (status,) = hosts.statuses()
    assert [(engine["model"], engine["is_busy"]) for engine in status["engines"]] == [("none", True), ("other", True)]
    assert [(work["episode"], work["engine"]) for work in status["at_work"]] == []  # the toy asks when it is asked
    threading.Timer(0.2, lambda: (list(results), first.close())).start()
    assert outcomes(same, "d") == [("d", "Transcript")]
    assert same.loaded_s == 0


def test_idle_engines_are_closed_for_others(toy) -> None:
    for name in ("one", "two", "three", "four", "five"):
        engine = toy(name)
        engine.wait_until_ready()
        engine.close()
    (status,) = hosts.statuses()
    assert [engine["model"] for engine in status["engines"]] == ["two", "three", "four", "five"]
    engine = toy("large")  # needs all memory
    assert outcomes(engine, "a") == [("a", "Transcript")]
    (status,) = hosts.statuses()
    assert [engine["model"] for engine in status["engines"]] == ["large"]


def test_a_changed_engine_is_loaded_again_and_changed_code_in_another_process(
    toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "revision").write_text("1")
    engine = toy()
    pid = pid_of(engine)
    engine.close()
    (tmp_path / "revision").write_text("2")
    engine = toy()
    assert pid_of(engine) == pid
    assert engine.spec.revision == "2"
    monkeypatch.setattr(hosts, "code_version", lambda: "newer")
    with pytest.raises(EngineUnavailable, match="exited while it started"):  # each start has the code of the disk
        toy()
    engine.close()
    while _is_running(pid):
        time.sleep(0.05)


SCRIPT = """
import sys
from pathlib import Path
from speech.engines import registry
from speech.engines.hosted_engine import HostedEngine
from speech.engines.protocols import EngineChoice
from speech.types import Recording
choice = EngineChoice('toy')
engine = HostedEngine('transcriber', choice, registry.describe_transcriber(choice), 'cpu', idle_s=60.0, threads=1)
for recording, found in engine.transcribe(Recording(name, '0', Path(name)) for name in sys.argv[1:]):
    print(found.words[0].text, flush=True)
"""


def _client(folder: Path, *names: str) -> subprocess.Popen[str]:
    """Another process that uses the engine."""
    command = [sys.executable, "-c", SCRIPT, *names]
    environment = {**os.environ, "TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)


@pytest.mark.usefixtures("toy")
def test_killed_clients_leave_it_warm_and_work_that_reports_stops(tmp_path: Path) -> None:
    killed = _client(tmp_path, "good", "reports")
    assert killed.stdout
    pid = int(killed.stdout.readline())
    while not hosts.statuses()[0]["at_work"]:
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    said, _ = _client(tmp_path, "good").communicate(timeout=60)
    assert int(said) == pid


@pytest.mark.usefixtures("toy")
def test_work_of_a_killed_client_that_does_not_stop_ends_the_process(tmp_path: Path) -> None:
    killed = _client(tmp_path, "good", "sleeps")
    assert killed.stdout
    pid = int(killed.stdout.readline())
    while not hosts.statuses()[0]["at_work"]:
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
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


def test_progress_crosses(toy, tmp_path: Path) -> None:
    reported, is_enough = list[int](), threading.Event()

    def report(done_ms: int) -> None:
        reported.append(done_ms)
        if done_ms >= 5:
            is_enough.set()

    def stop() -> None:
        is_enough.wait(60)
        hosts.stop()

    recording = Recording("reports", "0" * 64, Path("reports.wav"), report=report)
    results = toy().transcribe([recording])
    stopping = threading.Thread(target=stop)
    stopping.start()
    assert [type(found) for _, found in results] == [EngineCrashed]
    stopping.join(60)
    assert reported == sorted(reported)
    assert is_enough.is_set()


@pytest.mark.parametrize(("slot", "name"), [("diarizer", "campplus"), ("transcriber", "whisper")])
def test_the_default_engines_report_their_progress(tmp_path: Path, slot: str, name: str) -> None:
    pytest.importorskip("faster_whisper", reason="needs the extra `embedded`: pip install 'podlake[embedded]'")
    from speech.decoding import decode_to_wav

    wav, reported = tmp_path / "rain.wav", list[int]()
    decode_to_wav(DEMO / "the-sound-of-rain.flac", wav)
    recording = Recording("rain", "0" * 64, wav, "en", reported.append)
    engine = registry.load(slot, EngineChoice(name), "cpu")  # type: ignore[arg-type]
    list(engine.diarize([recording]) if slot == "diarizer" else engine.transcribe([recording]))
    assert 0 < min(reported) < recording.duration_ms
    assert recording.duration_ms - 5_000 < max(reported) <= recording.duration_ms + 1
