"""The transcriber `pocketsphinx` on the demo's episodes, on silence, and when a worker is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from bench.error_rates import wer
from speech.engines.pocketsphinx import MAX_CHUNK_MS, PocketSphinx, describe, load
from speech.engines.protocols import EngineChoice
from speech.errors import EngineCrashed, EngineUnavailable, StorageError
from speech.types import Recording, Transcript

ROOT = Path(__file__).parents[3]
RAIN = ROOT / "demo" / "audio" / "the-sound-of-rain.flac"
SPHINX = EngineChoice("pocketsphinx", options={"workers": "2"})


@pytest.fixture(scope="module")
def engine() -> Iterator[PocketSphinx]:
    engine = load(SPHINX, "cpu")
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def rain() -> np.ndarray:
    """43 s, two synthetic voices."""
    with av.open(str(RAIN)) as container:
        resampler = av.AudioResampler("s16", "mono", 16_000)
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray()[0] for frame in [*frames, *resampler.resample(None)]])


def recording(folder: Path, samples: np.ndarray, name: str) -> Recording:
    path = folder / f"{name}.wav"
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        wav.writeframes(samples.astype("<i2").tobytes())
    return Recording(name, "0" * 64, path, "en")


def test_words_are_right_timed_and_scored(engine: PocketSphinx, rain: np.ndarray, tmp_path: Path) -> None:
    reference = json.loads((ROOT / "demo" / "reference" / "the-sound-of-rain.json").read_text())
    ((_, result),) = engine.transcribe([recording(tmp_path, rain, "rain")])
    assert isinstance(result, Transcript)

    assert wer(" ".join(t["text"] for t in reference["turns"]), " ".join(w.text for w in result.words)).rate < 0.15
    edges = [edge for word in result.words for edge in (word.start_ms, word.end_ms)]
    assert edges == sorted(edges)
    assert edges[-1] <= len(rain) // 16
    assert all(word.start_ms < word.end_ms and 0 <= word.confidence <= 1 for word in result.words)  # type: ignore[operator]
    assert not any(set(word.text) & set("<>[](+") for word in result.words)
    chunks = {word.chunk_idx for word in result.words}
    assert chunks == set(range(len(chunks)))
    for chunk in chunks:
        times = [(w.start_ms, w.end_ms) for w in result.words if w.chunk_idx == chunk]
        assert times[-1][1] - times[0][0] <= MAX_CHUNK_MS
    assert 30_000 < result.speech_ms < len(rain) // 16
    assert result.engine_ms > 0


def test_words_depend_on_neither_order_nor_company(engine: PocketSphinx, rain: np.ndarray, tmp_path: Path) -> None:
    """Every worker starts each chunk afresh, whatever it decoded before."""
    one = recording(tmp_path, rain[: 16_000 * 4], "one")
    two = recording(tmp_path, rain[16_000 * 9 : 16_000 * 14], "two")
    forwards = {r.episode_id: t.words for r, t in engine.transcribe([one, two])}  # type: ignore[union-attr]
    backwards = {r.episode_id: t.words for r, t in engine.transcribe([two, one])}  # type: ignore[union-attr]
    assert sorted(forwards) == ["one", "two"]
    assert forwards == backwards


@pytest.mark.parametrize("seconds", [0, 5])
def test_silence_is_a_transcript_without_words(engine: PocketSphinx, tmp_path: Path, seconds: int) -> None:
    ((_, result),) = engine.transcribe([recording(tmp_path, np.zeros(16_000 * seconds), "silent")])
    assert isinstance(result, Transcript)
    assert (result.words, result.speech_ms) == ((), 0)


def test_a_missing_waveform_costs_the_others_nothing(engine: PocketSphinx, tmp_path: Path) -> None:
    gone = Recording("gone", "0" * 64, tmp_path / "gone.wav")
    outcomes = {r.episode_id: o for r, o in engine.transcribe([gone, recording(tmp_path, np.zeros(16_000), "ok")])}
    assert isinstance(outcomes["gone"], StorageError)
    assert isinstance(outcomes["ok"], Transcript)


def test_a_killed_worker_costs_only_the_recording_it_worked_on(rain: np.ndarray, tmp_path: Path) -> None:
    """One worker: it is killed when it is handed the second recording."""
    engine = load(EngineChoice("pocketsphinx", options={"workers": "1"}), "cpu")
    (worker,) = engine._workers._idle

    def recordings() -> Iterator[Recording]:
        yield recording(tmp_path, rain[: 16_000 * 4], "before")
        doomed = recording(tmp_path, rain, "doomed")
        os.kill(worker.pid, signal.SIGSTOP)  # it takes the job, and cannot finish before it is killed
        subprocess.Popen(["/bin/sh", "-c", f"sleep 0.5; kill -9 {worker.pid}"])
        yield doomed
        yield recording(tmp_path, rain[: 16_000 * 4], "after")

    outcomes = {r.episode_id: outcome for r, outcome in engine.transcribe(recordings())}
    engine.close()
    assert isinstance(outcomes["doomed"], EngineCrashed)
    assert "SIGKILL" in str(outcomes["doomed"])
    assert isinstance(outcomes["before"], Transcript)
    assert isinstance(outcomes["after"], Transcript)
    assert outcomes["before"].words == outcomes["after"].words


def test_giving_up_half_way_leaves_the_engine_usable(engine: PocketSphinx, rain: np.ndarray, tmp_path: Path) -> None:
    short = recording(tmp_path, np.zeros(16_000), "short")
    results = engine.transcribe([short, recording(tmp_path, rain, "long")])
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert [r.episode_id for r, _ in engine.transcribe([short])] == ["short"]


def test_it_works_from_a_script_without_a_main_guard(rain: np.ndarray, tmp_path: Path) -> None:
    heard = recording(tmp_path, rain[: 16_000 * 4], "script")
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from speech.engines.pocketsphinx import load\n"
        "from speech.engines.protocols import EngineChoice\n"
        "from speech.types import Recording\n"
        "engine = load(EngineChoice('pocketsphinx', options={'workers': '2'}), 'cpu')\n"
        f"[(_, t)] = engine.transcribe([Recording('script', '', Path({str(heard.waveform_path)!r}))])\n"
        "print(' '.join(w.text for w in t.words))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    said = subprocess.check_output([sys.executable, str(script)], text=True, env=env, timeout=120)
    assert said.startswith("here is a short one from the corner table")


def test_describing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; from speech.engines.pocketsphinx import describe; from speech.engines.protocols import EngineChoice;"
        "describe(EngineChoice('pocketsphinx')); print(sorted({'scipy', 'pocketsphinx', 'dagster', 'av'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "[]"


def test_it_speaks_english_only() -> None:
    spec = describe(SPHINX)
    assert spec.languages == {"en"}
    assert spec.revision.startswith("pocketsphinx ")
    assert spec.fingerprint == describe(EngineChoice("pocketsphinx")).fingerprint


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speech.engines.pocketsphinx.PACKAGES", ("no-such-package",))
    with pytest.raises(EngineUnavailable, match=r"no-such-package.*podlake\[embedded\]"):
        load(SPHINX, "cpu")
