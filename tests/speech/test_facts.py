from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from speech.facts import facts_of, fingerprint, integrated_loudness, k_weighting, silence_ratio

needs_chromaprint = pytest.mark.skipif(
    fingerprint(np.zeros(0, np.int16))[1].startswith("libchromaprint"), reason="libchromaprint is not installed"
)


def tone(level_dbfs: float, seconds: float, hz: float = 997.0) -> np.ndarray:
    """A sine whose peak is at `level_dbfs`, int16."""
    time_s = np.arange(round(seconds * 16_000)) / 16_000
    return (
        np.round(32_768 * 10 ** (level_dbfs / 20) * np.sin(2 * np.pi * hz * time_s))
        .clip(-32_768, 32_767)
        .astype(np.int16)
    )


def melody(seed: int, seconds: int) -> np.ndarray:
    notes = np.random.default_rng(seed).choice([220, 262, 330, 392, 440, 523, 659], 4 * seconds)
    return np.concatenate([tone(-12, 0.25, hz) for hz in notes])


def test_k_weighting_is_that_of_the_standard():
    """ITU-R BS.1770-4, tables 1 and 2, for 48 kHz."""
    shelf, high_pass = k_weighting(48_000)
    assert shelf == pytest.approx(
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585]
    )
    assert high_pass == pytest.approx([1, -2, 1, 1, -1.99004745483398, 0.99007225036621])


@pytest.mark.parametrize("level_dbfs", [-3, -23, -40])
def test_a_997_hz_tone_reads_3_01_lu_under_its_peak(level_dbfs):
    """ITU-R BS.1770-4: 0 dBFS at 997 Hz in one channel is -3.01 LUFS; the filters of 16 kHz are 0.04 off."""
    assert integrated_loudness(tone(level_dbfs, 5)) == (pytest.approx(level_dbfs - 3.01, abs=0.05), None)


def test_silence_does_not_count_into_loudness():
    loud = tone(-20, 30)
    assert integrated_loudness(np.concatenate([loud, np.zeros_like(loud)]))[0] == pytest.approx(-23.01, abs=0.05)


def test_loudness_agrees_with_pyloudnorm_across_blocks():
    import pyloudnorm

    samples = np.concatenate([melody(1, 50) // 4, melody(2, 30)])
    reference = pyloudnorm.Meter(16_000, filter_class="DeMan").integrated_loudness(samples / 32_768)
    assert integrated_loudness(samples)[0] == pytest.approx(reference, abs=0.01)


def test_loudness_gives_a_reason_instead_of_a_sentinel():
    assert integrated_loudness(tone(-20, 0.39)) == (None, "shorter than the 400 ms that BS.1770 measures over")
    assert integrated_loudness(np.zeros(16_000, np.int16)) == (
        None,
        "silent: nothing is louder than the gate at -70 LUFS",
    )


def test_silence_ratio_counts_20_ms_frames():
    assert silence_ratio(np.concatenate([tone(-20, 3), np.zeros(16_000, np.int16)])) == 0.25
    assert silence_ratio(tone(-46, 1)) == 0.0, "-49 dBFS RMS"
    assert silence_ratio(tone(-48, 1)) == 1.0, "-51 dBFS RMS"
    assert silence_ratio(np.concatenate([tone(-20, 0.02), np.zeros(10, np.int16)])) == 0.5, "a rest is a frame"


@needs_chromaprint
def test_fingerprint_is_the_compressed_base64_that_others_read():
    text, absent = fingerprint(melody(1, 20))
    assert absent is None
    header = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[:4]
    assert header[0] == 1, "algorithm"
    assert int.from_bytes(header[1:4], "big") == 140, "one item per 124 ms, after the first 2.6 s"


@needs_chromaprint
def test_fingerprint_looks_at_the_first_five_minutes_alone():
    same = np.tile(melody(1, 10), 30)
    assert fingerprint(same) == fingerprint(np.concatenate([same, melody(2, 10)]))
    assert fingerprint(melody(1, 20)) != fingerprint(melody(2, 20))


@needs_chromaprint
def test_fingerprint_of_a_short_recording_has_a_reason():
    assert fingerprint(melody(1, 1)) == (None, "shorter than the 2.6 s that a fingerprint needs")


def test_facts_come_together_and_every_absence_has_a_reason():
    facts = facts_of(np.zeros(1_600, np.int16))
    assert (facts.loudness_lufs, facts.silence_ratio, facts.chromaprint) == (None, 1.0, None)
    assert facts.loudness_absent_reason
    assert facts.chromaprint_absent_reason


def test_fingerprints_in_several_threads_are_equal() -> None:
    samples = tone(-10, 5)
    for _ in range(20):  # each fails to import the library anew where it is not installed
        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(lambda _: fingerprint(samples), range(8)))) == 1
