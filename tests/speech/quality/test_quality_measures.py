"""Measures of quality against signals whose values are known."""

from __future__ import annotations

import numpy as np
import pytest

from speech.quality import mos
from speech.quality.levels import Background, levels_of
from speech.quality.utterance import measure
from speech.quality.words import word_measures
from speech.types import Segment, Span, Word
from speech.utterances import Utterance

RATE = 16_000
needs_librosa = pytest.mark.skipif(not mos.is_installed(), reason="needs speechmos and librosa")


def voice(seconds: float, up_to_hz: float = 8_000) -> np.ndarray:
    """A signal like speech: noise whose spectrum falls with frequency, in syllables, cut at a frequency; float."""
    chance = np.random.default_rng(1)
    n = round(seconds * RATE)
    spectrum = np.fft.rfft(chance.normal(0, 1, n))
    hz = np.fft.rfftfreq(n, 1 / RATE)
    spectrum *= np.minimum(1, 500 / np.maximum(hz, 1)) * (hz <= up_to_hz)
    sound = np.fft.irfft(spectrum, n) * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * np.arange(n) / RATE))
    return sound * 0.1 / np.sqrt(np.mean(sound**2))


def as_int16(sound: np.ndarray) -> np.ndarray:
    return np.round(sound * 32_767).clip(-32_768, 32_767).astype(np.int16)


@pytest.mark.parametrize("expected_db", [0, 10, 20, 30])
def test_snr_within_two_decibels(expected_db: int) -> None:
    sound = np.concatenate([np.zeros(RATE), voice(4), np.zeros(RATE)])
    noise = np.random.default_rng(2).normal(0, 0.1 * 10 ** (-expected_db / 20), len(sound))
    background = Background(as_int16((sound + noise) * 0.5), [Word("a", 1_000, 5_000)])
    found, reason = background.snr_db(Span(1_000, 5_000))
    assert reason is None
    assert found == pytest.approx(expected_db, abs=2)


def test_snr_is_absent_without_a_pause_or_with_digital_silence() -> None:
    sound = as_int16(np.concatenate([voice(2), np.zeros(RATE)]))
    assert Background(sound, [Word("a", 0, 3_000)]).snr_db(Span(0, 3_000)) == (
        None,
        "no pause between words within 2 s",
    )
    assert Background(sound, [Word("a", 0, 2_000)]).snr_db(Span(0, 2_000)) == (None, "digital silence between words")


@needs_librosa
@pytest.mark.parametrize("cut_hz", [3_400, 5_500, 8_000])
def test_bandwidth_within_500_hz(cut_hz: int) -> None:
    from speech.quality.spectrum import bandwidth_hz

    assert bandwidth_hz(as_int16(voice(3, cut_hz))) == pytest.approx(cut_hz, abs=500)
    assert bandwidth_hz(np.zeros(RATE, np.int16)) is None


@needs_librosa
def test_noise_is_flat_and_music_is_not() -> None:
    from speech.quality.spectrum import background_flatness

    noise = as_int16(np.random.default_rng(3).normal(0, 0.01, 200 * 320)).reshape(-1, 320)
    tone = as_int16(0.1 * np.sin(2 * np.pi * 440 * np.arange(200 * 320) / RATE)).reshape(-1, 320)
    assert background_flatness(noise) > 0.9
    assert background_flatness(tone) < 0.05


def test_levels() -> None:
    samples = np.full(RATE, 16_384, np.int16)
    samples[: RATE // 100] = 32_767
    found = levels_of(samples)
    assert found.peak_dbfs == pytest.approx(0, abs=0.001)
    assert found.clip_rate == pytest.approx(0.01)
    assert found.dc_offset == pytest.approx(0.505, abs=0.001)
    silent = levels_of(np.zeros(RATE, np.int16))
    assert (silent.peak_dbfs, silent.edge_db) == (None, None)


def test_an_edge_inside_a_sound_is_as_loud_as_the_sound() -> None:
    tone = 0.2 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)
    assert levels_of(as_int16(tone)).edge_db == pytest.approx(0, abs=0.5)
    quiet = np.concatenate([np.full(400, 1e-4), tone, np.full(400, 1e-4)])
    assert levels_of(as_int16(quiet)).edge_db < -40


def test_words() -> None:
    words = [
        Word(text, 0, 1, confidence)
        for text, confidence in zip(["a", "b", "c", "a", "b", "c", "d"], np.arange(7) / 10, strict=True)
    ]
    found = word_measures(words, duration_ms=2_000, language="en")
    assert (found.words_per_second, found.repetition) == (3.5, pytest.approx(1 / 5))
    assert (found.mean_confidence, found.p10_confidence) == (pytest.approx(0.3), pytest.approx(0.06))
    assert found.language_agrees is None
    french = [
        Word(text, 0, 1)
        for text in ["alors", "que", "pensez", "vous", "du", "temps", "qu'il", "faisait", "dans", "les", "montagnes"]
    ]
    assert word_measures(french, duration_ms=1_000, language="en").language_agrees is False


@needs_librosa
def test_dnsmos_is_the_reference_on_the_same_window() -> None:
    from speechmos import dnsmos

    sound = as_int16(voice(12))
    start = (len(sound) - mos.WINDOW) // 2
    reference = dnsmos.run(sound[start : start + mos.WINDOW].astype(np.float32) / 32_768, RATE)
    found = mos.mos_of(sound)
    assert (found.signal, found.background, found.overall) == pytest.approx(
        (reference["sig_mos"], reference["bak_mos"], reference["ovrl_mos"]), abs=0.05
    )


def test_windows_are_spread_within_the_budget() -> None:
    spans = [Span(i, i + 1) for i in range(10)]
    assert mos.sampled(spans, 20) == frozenset(range(10))
    assert mos.sampled(spans, 2) == {2, 7}


def test_overlap_and_reasons_of_an_utterance() -> None:
    sound = as_int16(voice(4))
    one = Utterance(0, "A", 0, 1_000, 3_000, "a b", 0, 2)
    words = [Word("a", 1_100, 1_900), Word("b", 2_000, 2_900)]
    segments = [Segment("A", 1_000, 2_500), Segment("B", 2_500, 4_000)]
    (found,) = measure(sound, [one], words, segments, language="en")
    assert (found.speech_share, found.overlap_share) == (0.75, 0.25)
    assert found.mean_confidence is None
    assert {"confidence: the transcriber gives none", "repetition: fewer than four words"} <= set(found.absent)
