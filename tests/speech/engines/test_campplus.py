"""The diarizer `campplus` on the demo's episodes, on real readers, on silence."""

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
from bench.spliced import Plan, splice
from speech.decoding import decode_to_wav
from speech.engines import campplus
from speech.engines.protocols import EngineChoice
from speech.engines.speaker_embeddings import EMBEDDING_MODEL
from speech.errors import StorageError
from speech.types import Diarization, Recording, Segment, mapped_samples

ROOT = Path(__file__).parents[3]
READERS = ROOT.parent / "shared" / "data" / "librispeech"
CHOICE = EngineChoice("campplus")


@pytest.fixture(scope="module")
def engine():
    loaded = campplus.load(CHOICE, "cpu")
    yield loaded
    loaded.close()


def recording(folder: Path, samples: np.ndarray, name: str = "episode") -> Recording:
    path = folder / f"{name}.wav"
    with wave.open(str(path), "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        wav.writeframes(samples.astype("<i2").tobytes())
    return Recording(name, "0" * 64, path)


def decoded(path: Path, folder: Path) -> np.ndarray:
    decode_to_wav(path, folder / f"{path.stem}.wav")
    return np.array(mapped_samples(folder / f"{path.stem}.wav"))


def diarized(engine: campplus.Campplus, one: Recording) -> Diarization:
    ((_, result),) = engine.diarize([one])
    assert isinstance(result, Diarization)
    return result


@pytest.mark.parametrize("episode", ["the-last-train-home.m4a", "the-sound-of-rain.flac"])
def test_every_speaker_of_the_demo_is_found(engine, tmp_path: Path, episode: str) -> None:
    reference = json.loads((ROOT / "demo" / "reference" / episode).with_suffix(".json").read_text())
    truth = [Segment(turn["speaker"], turn["start_ms"], turn["end_ms"]) for turn in reference["turns"]]
    decode_to_wav(ROOT / "demo" / "audio" / episode, tmp_path / "demo.wav")
    result = diarized(engine, Recording("demo", "0" * 64, tmp_path / "demo.wav"))

    names = list(dict.fromkeys(segment.speaker for segment in result.segments))
    assert names == [f"S{i + 1}" for i in range(len({turn.speaker for turn in truth}))]
    assert der(truth, result.segments, collar_ms=250).rate < 0.02
    assert [s.start_ms for s in result.segments] == sorted(s.start_ms for s in result.segments)
    assert all(0.6 < segment.confidence <= 1 for segment in result.segments)
    assert sorted(result.embeddings) == names
    assert [np.linalg.norm(v) for v in result.embeddings.values()] == pytest.approx([1] * len(names))
    assert result.embedding_model == EMBEDDING_MODEL
    assert all(1_000 < speech_ms <= 60_000 for speech_ms in result.embedding_speech_ms.values())
    assert result.speaker_capacity is None


@pytest.mark.skipif(not READERS.exists(), reason="the shared recordings are not here")
@pytest.mark.parametrize("readers", [("3080",), ("1688", "2609", "367")])
def test_real_readers_are_separated_even_where_they_overlap(engine, tmp_path: Path, readers: tuple[str, ...]) -> None:
    sound, truth, at = np.zeros(16_000 * 150, np.int16), [], 8_000
    for number in range(4):
        for reader, _ in zip(cycle(readers), readers, strict=False):
            x = decoded(READERS / next(READERS.glob(f"{reader}-*-000{number}.flac")).name, tmp_path)
            sound[at : at + len(x)] += x // 2
            truth.append(Segment(reader, at // 16, (at + len(x)) // 16))
            at += len(x) + (4_000 if number % 2 or len(readers) == 1 else -8_000)
    result = diarized(engine, recording(tmp_path, sound[: at + 16_000]))
    errors = der(truth, result.segments, collar_ms=250)
    assert len({segment.speaker for segment in result.segments}) == len(readers)
    assert errors.confused_ms / errors.reference_ms < 0.03
    assert errors.rate < 0.10


@pytest.mark.skipif(not READERS.exists(), reason="the shared recordings are not here")
def test_quick_overlapping_turns_go_to_their_speakers(engine, tmp_path: Path) -> None:
    made = splice(Plan(3, 1, gap_ms=(-500, 100), fragment_ms=(800, 3_500)))
    errors = der(made.segments, diarized(engine, recording(tmp_path, made.samples)).segments, collar_ms=250)
    assert errors.confused_ms / errors.reference_ms < 0.03


@pytest.mark.skipif(not READERS.exists(), reason="the shared recordings are not here")
def test_two_voices_of_one_sex_on_a_telephone_line_are_two_speakers(engine, tmp_path: Path) -> None:
    made = splice(Plan(2, 2, gap_ms=(-300, 700), channel="telephone", draw=1))
    result = diarized(engine, recording(tmp_path, made.samples))
    assert len({segment.speaker for segment in result.segments}) == 2
    assert der(made.segments, result.segments, collar_ms=250).rate < 0.05


@pytest.mark.parametrize(
    "samples", [np.zeros(0), np.zeros(100), np.zeros(16_000 * 20)], ids=["empty", "short", "silent"]
)
def test_silence_has_no_segments(engine, tmp_path: Path, samples: np.ndarray) -> None:
    result = diarized(engine, recording(tmp_path, samples))
    assert result.segments == ()
    assert result.embeddings == {}


def test_a_missing_waveform_is_an_error_of_that_recording_alone(engine, tmp_path: Path) -> None:
    gone = Recording("gone", "0" * 64, tmp_path / "gone.wav")
    silent = recording(tmp_path, np.zeros(16_000), "silent")
    (first, error), (second, result) = engine.diarize([gone, silent])
    assert (first, second) == (gone, silent)
    assert isinstance(error, StorageError)
    assert isinstance(result, Diarization)


def test_describing_it_imports_nothing_heavy() -> None:
    code = (
        "import sys; from speech.engines.campplus import describe; from speech.engines.protocols import EngineChoice;"
        "spec = describe(EngineChoice('campplus')); assert len(spec.fingerprint) == 16;"
        "print(sorted({'onnxruntime', 'scipy', 'torch', 'dagster', 'av'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True, cwd=ROOT).strip() == "[]"
