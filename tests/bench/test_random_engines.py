"""`bench.engines --random-weights` on small models: the engines that the default environment has."""

from __future__ import annotations

import wave
from pathlib import Path

import pytest

from bench import random_engines
from bench.timing import Measured, table
from speech.decoding import decode_to_wav
from speech.types import Recording, mapped_samples

RAIN = Path(__file__).parents[2] / "demo" / "audio" / "the-sound-of-rain.flac"


@pytest.fixture
def recordings(tmp_path: Path) -> list[Recording]:
    """Eight seconds each: one chunk."""
    decode_to_wav(RAIN, tmp_path / "rain.wav")
    samples = mapped_samples(tmp_path / "rain.wav")
    made = []
    for number in range(2):
        path = tmp_path / f"episode{number}.wav"
        with wave.open(str(path), "wb") as wav:
            wav.setparams((1, 2, 16_000, 0, "NONE", ""))
            wav.writeframes(samples[number * 128_000 : (number + 1) * 128_000].tobytes())
        made.append(Recording(path.stem, path.stem, path))
    return made


def test_whisper_is_measured_with_whole_batches_and_with_half_of_them_for_lack_of_memory(recordings) -> None:
    rows = list(random_engines.ENGINES["whisper"]("cpu", recordings, 16.0, True))
    names = ["transcribe (Whisper)", "transcribe (Whisper, out of memory, batch 2 → 1)"]
    assert [(row.stage, row.audio_s) for row in rows] == [(name, 16.0) for name in names]
    assert all(row.wall_s > 0 for row in rows)
    assert [line.split("  ")[0] for line in table(rows).splitlines()[1:]] == names


def test_the_bottleneck_is_what_takes_most_of_a_device() -> None:
    rows = [Measured("diarize (CAM++)", 600.0, 1.0), Measured("transcribe (Whisper)", 600.0, 3.0)]
    assert random_engines.bottleneck(rows) == (
        "diarize (CAM++) + transcribe (Whisper): 150.0 x real time; transcribe (Whisper) takes most of it"
    )
