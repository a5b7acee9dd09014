"""The small NeMo models and held-out podcasts of tests/nemo, loaded once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from speech.engines.protocols import EngineChoice
from speech.types import Recording, Segment, Word

MODELS = Path(__file__).parents[2] / "nemo"
ONE_TO_THREE = ("pod_solo", "pod_2spk", "pod_overlap", "pod_3spk")


@dataclass(frozen=True)
class Heldout:
    """A podcast and the truth about it."""

    recording: Recording
    segments: tuple[Segment, ...]
    words: tuple[Word, ...]
    texts: dict[str, str]
    """Speaker → everything that speaker says."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if find_spec("nemo") is None:
        absent = pytest.mark.skip(reason="needs the extra `nemo`: pip install 'podlake[nemo]'")
        for item in items:
            if item.get_closest_marker("nemo") and item.path.is_relative_to(Path(__file__).parent):
                item.add_marker(absent)


@pytest.fixture(scope="session")
def heldout(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Heldout]:
    folder = tmp_path_factory.mktemp("heldout")
    return {path.stem: _heldout(path, folder) for path in sorted(MODELS.glob("pod_*.json"))}


@pytest.fixture(scope="session")
def sortformer() -> Iterator:
    from speech.engines import nemo_sortformer

    engine = nemo_sortformer.load(EngineChoice("nemo", str(MODELS / "sortformer_tiny.nemo")), "cpu")
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def parakeet() -> Iterator:
    from speech.engines import nemo_parakeet

    engine = nemo_parakeet.load(EngineChoice("nemo", str(MODELS / "parakeet_tdt_tiny.nemo")), "cpu")
    yield engine
    engine.close()


@pytest.fixture
def write_recording(tmp_path: Path):
    """Samples (int16, 16 kHz) → a recording of them."""

    def write(name: str, samples: np.ndarray) -> Recording:
        return _recording(tmp_path / f"{name}.wav", samples)

    return write


def _heldout(truth_path: Path, folder: Path) -> Heldout:
    import soundfile

    truth = json.loads(truth_path.read_text())
    samples, _ = soundfile.read(truth_path.with_suffix(".flac"), dtype="int16")
    texts: dict[str, str] = {}
    for turn in truth["turns"]:
        texts[turn["speaker"]] = f"{texts.get(turn['speaker'], '')} {turn['text']}"
    return Heldout(
        recording=_recording(folder / f"{truth_path.stem}.wav", samples),
        segments=tuple(
            Segment(turn["speaker"], round(start * 1000), round(end * 1000))
            for turn in truth["turns"]
            for start, end, _ in turn["sentences"]  # pauses between sentences are not speech
        ),
        words=tuple(
            Word(text, round(start * 1000), round(end * 1000))
            for turn in truth["turns"]
            for text, start, end in turn["words"]
        ),
        texts=texts,
    )


def _recording(path: Path, samples: np.ndarray) -> Recording:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())
    return Recording(path.stem, path.stem, path)
