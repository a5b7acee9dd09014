"""Language identification: the means over windows with a detector that answers by loudness, and a multilingual model.

Packaged weights know English only: the multilingual model has random weights, and files as published ones have them.
"""

from __future__ import annotations

import wave
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bench import random_whisper
from speech.decoding import decode_to_wav
from speech.engines.protocols import ON_CPU, EngineChoice
from speech.engines.whisper import Whisper, describe, load
from speech.engines.whisper_language import spoken_languages, spread_evenly
from speech.types import Recording, Span, SpokenLanguage, mapped_samples

RAIN = Path(__file__).parents[3] / "demo" / "audio" / "the-sound-of-rain.flac"
LOUD, QUIET = np.full(16_000, 8_000, np.int16), np.full(16_000, 10, np.int16)


class ByLoudness:
    """Stands for a multilingual model: loud windows are French, others Javanese."""

    is_multilingual = True

    def detect_language(self, features: np.ndarray) -> list[list[tuple[str, float]]]:
        first, second = ("<|fr|>", "<|jw|>") if features.max() > 0.1 else ("<|jw|>", "<|fr|>")
        return [[(first, 0.9), (second, 0.07), ("<|la|>", 0.03)]]


DETECTOR = SimpleNamespace(
    model=ByLoudness(),
    encode=lambda features: features,
    feature_extractor=lambda samples, padding: np.full((80, len(samples) // 160), np.abs(samples).max()),
)


def test_probabilities_and_shares_are_means_over_windows() -> None:
    assert spoken_languages(DETECTOR, [LOUD, LOUD, QUIET]) == (
        SpokenLanguage("fr", pytest.approx(0.6233, abs=1e-4), pytest.approx(0.6667, abs=1e-4)),
        SpokenLanguage("jv", pytest.approx(0.3467, abs=1e-4), pytest.approx(0.3333, abs=1e-4)),
    )


def test_windows_are_spread_over_the_recording() -> None:
    chunks = [Span(i, i + 1) for i in range(9)]
    assert spread_evenly(chunks) == [chunks[i] for i in (0, 2, 4, 6, 8)]
    assert spread_evenly(chunks[:2]) == chunks[:2]


@pytest.mark.parametrize(("decode", "language"), [("declared", "en"), ("detected", "fr")])
def test_a_recording_is_decoded_in_the_detected_language_if_configured(tmp_path: Path, decode, language) -> None:
    decode_to_wav(RAIN, tmp_path / "rain.wav")
    spec = replace(describe(EngineChoice("whisper", options={"decode": decode})), languages=frozenset({"en", "fr"}))
    engine = Whisper(spec, DETECTOR, 1, 1, ON_CPU)
    (batch, *_) = engine._batches([Recording("rain", "", tmp_path / "rain.wav", "en")], [])
    assert batch[0].job.spoken[0].language == "fr"
    assert batch[0].job.language == language


def test_an_english_model_says_why_it_identifies_no_language(tmp_path: Path) -> None:
    decode_to_wav(RAIN, tmp_path / "rain.wav")
    with wave.open(str(tmp_path / "part.wav"), "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", ""))
        wav.writeframes(mapped_samples(tmp_path / "rain.wav")[: 16_000 * 7].tobytes())
    engine = load(EngineChoice("whisper"), "cpu")
    ((_, found),) = engine.transcribe([Recording("part", "", tmp_path / "part.wav", "en")])
    engine.close()
    assert (found.spoken_languages, found.language) == ((), "en")
    assert found.spoken_languages_absent == "the model knows English only"


@pytest.fixture(scope="module")
def german(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_whisper.write(tmp_path_factory.mktemp("german"), random_whisper.TINY, language="de")


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    folder = tmp_path_factory.mktemp("reading")
    decode_to_wav(RAIN, folder / "rain.wav")
    with wave.open(str(folder / "part.wav"), "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", ""))
        wav.writeframes(mapped_samples(folder / "rain.wav")[: 16_000 * 7].tobytes())
    return Recording("part", "", folder / "part.wav", "en")


@pytest.mark.parametrize(("options", "language"), [({}, "en"), ({"decode": "detected"}, "de")])
def test_a_multilingual_model_identifies_the_language_before_it_decodes(
    german: Path, reading: Recording, options: dict[str, str], language: str
) -> None:
    engine = load(EngineChoice("whisper", str(german), options), "cpu")
    assert {"en", "de", "zh", "jv"} <= engine.spec.languages
    ((_, found),) = engine.transcribe([reading])
    engine.close()
    assert found.spoken_languages == (SpokenLanguage("de", pytest.approx(1.0, abs=0.01), 1.0),)
    assert (found.language, found.spoken_languages_absent) == (language, None)
    assert len(found.words) + found.dropped_words > 0
