"""The mix of a dub: where each line is, how soft the background is, how long all is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from speech.dub_mix import RATE_HZ, DubVoice, duck_gain, merged, mixed, prepared, source_loudness
from speech.engines.line_synthesizer import Sound, write_wav
from speech.errors import BadOutput
from speech.mastering import loudness_lufs
from speech.time_stretch import stretched
from speech.types import Span
from tests.videos import tone, write_video


def voice(path: Path, seconds: float = 1.0, start_ms: int = 500, end_ms: int = 1_500, speed: float = 1.0) -> DubVoice:
    write_wav(path, Sound((tone(seconds, 0.3) * 32_767).astype(np.int16)[::2], RATE_HZ // 2))
    return DubVoice(path, start_ms, end_ms, speed)


def hum(seconds: float, hz: float = 100.0) -> Iterator[np.ndarray]:
    sound = np.stack([tone(seconds, 0.1, hz)] * 2)
    for at in range(0, sound.shape[1], 7_000):
        yield sound[:, at : at + 7_000]


def level(samples: np.ndarray, hz: float) -> float:
    """The amplitude of a frequency."""
    at = np.arange(len(samples)) / RATE_HZ
    return 2 * abs(np.mean(samples * np.exp(-2j * np.pi * hz * at)))


@pytest.mark.parametrize("speed", [1.1, 1.25, 1.4])
def test_speech_gets_faster_and_keeps_its_pitch(speed: float) -> None:
    found = stretched(tone(2.0, hz=300), RATE_HZ, speed)
    assert len(found) / RATE_HZ == pytest.approx(2.0 / speed, abs=0.03)
    spectrum = np.abs(np.fft.rfft(found))
    assert spectrum.argmax() * RATE_HZ / len(found) == pytest.approx(300, abs=3)


def test_a_speed_of_one_changes_nothing() -> None:
    samples = tone(0.1)
    assert stretched(samples, RATE_HZ, 1.0) is samples
    with pytest.raises(ValueError, match="not in"):
        stretched(samples, RATE_HZ, 3.0)


def test_the_background_is_soft_while_somebody_speaks(tmp_path: Path) -> None:
    line = voice(tmp_path / "a.wav", start_ms=1_000, end_ms=2_000)
    mix = np.concatenate(list(mixed(hum(4), [line], [Span(1_000, 2_000)], duck_db=-20, lufs=-20)), axis=1)
    assert mix.shape == (2, 4 * RATE_HZ)
    before, during, after = (mix[0, int(a * RATE_HZ) : int(b * RATE_HZ)] for a, b in ((0, 0.9), (1.1, 1.9), (2.5, 4)))
    assert level(before, 100) == pytest.approx(0.1, rel=0.02)
    assert level(during, 100) == pytest.approx(0.01, rel=0.05)
    assert level(after, 100) == pytest.approx(0.1, rel=0.02)
    assert level(during, 440) > 0.08
    assert level(before, 440) < 0.001
    assert level(after, 440) < 0.001


def test_the_gain_does_not_depend_on_where_blocks_are_cut() -> None:
    spans = merged([Span(900, 1_100), Span(1_300, 2_000), Span(5_000, 5_100)])
    assert spans == [Span(900, 2_000), Span(5_000, 5_100)]
    whole = duck_gain(0, 6 * RATE_HZ, spans, -20)
    parts = np.concatenate([duck_gain(at, RATE_HZ // 2, spans, -20) for at in range(0, 6 * RATE_HZ, RATE_HZ // 2)])
    assert np.allclose(whole, parts, atol=1e-6)
    assert whole.min() == pytest.approx(0.1)
    assert whole[: int(0.85 * RATE_HZ)].min() == 1.0


def test_a_line_over_the_end_makes_the_mix_longer(tmp_path: Path) -> None:
    line = voice(tmp_path / "a.wav", start_ms=1_500, end_ms=2_500)
    mix = np.concatenate(list(mixed(hum(2), [line], [], duck_db=-20, lufs=-20)), axis=1)
    assert mix.shape[1] == 2.5 * RATE_HZ
    assert np.abs(mix[0, int(2.2 * RATE_HZ) : int(2.4 * RATE_HZ)]).max() > 0.05


def test_a_line_has_its_length_and_loudness(tmp_path: Path) -> None:
    found = prepared(voice(tmp_path / "a.wav", 1.4, 0, 1_000, 1.4), -23.0)
    assert len(found) == RATE_HZ
    assert loudness_lufs(found, RATE_HZ) == pytest.approx(-23, abs=0.5)
    write_wav(tmp_path / "s.wav", Sound(np.zeros(RATE_HZ, np.int16), RATE_HZ))
    with pytest.raises(BadOutput, match=r"s\.wav is silent"):
        prepared(DubVoice(tmp_path / "s.wav", 0, 1_000, 1.0), -20)


def test_the_loudness_of_a_lesson_is_that_of_its_lines(tmp_path: Path) -> None:
    loud = source_loudness(write_video(tmp_path / "a.mp4", tone(2, 0.1)))
    assert loud == pytest.approx(-23.7, abs=1)
    assert source_loudness(write_video(tmp_path / "b.mp4", tone(2, 0.0))) == -19.0
