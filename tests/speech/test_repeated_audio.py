"""Repeated audio and near copies among recordings whose content is known."""

from __future__ import annotations

import numpy as np
import pytest

from speech.audio_matches import find_matches, milliseconds, sketch_of
from speech.fingerprints import fingerprint_items
from speech.repeated_audio import NEAR_COPY_SHARE, repeated_spans, shares

RATE_HZ = 16_000


def talk(seed: int, seconds: float) -> np.ndarray:
    """Notes of random height, length and loudness: what differs from seed to seed."""
    rng = np.random.default_rng(seed)
    notes, n = [], 0
    while n < seconds * RATE_HZ:
        time_s = np.arange(round(float(rng.uniform(0.08, 0.3)) * RATE_HZ)) / RATE_HZ
        hz = 110 * 2 ** (rng.uniform(0, 36, 3) / 12)
        wave = sum(
            np.sin(2 * np.pi * one * time_s) * level for one, level in zip(hz, rng.uniform(0.2, 1, 3), strict=True)
        )
        notes.append(wave * float(rng.uniform(500, 4_000)))
        n += len(time_s)
    return np.concatenate(notes)[: round(seconds * RATE_HZ)]


def recording(*parts: np.ndarray, gain_db: float = 0, noise: int = 0, seed: int = 0) -> np.ndarray:
    samples = np.concatenate(parts) * 10 ** (gain_db / 20)
    samples += np.random.default_rng(seed).normal(0, noise, len(samples)) if noise else 0
    return fingerprint_items(samples.clip(-32_768, 32_767).astype(np.int16))


def test_a_fingerprint_has_an_item_per_124_ms_and_ignores_loudness() -> None:
    items = recording(talk(1, 20))
    assert len(items) == 140
    assert np.bitwise_count(items ^ recording(talk(1, 20), gain_db=-12)).mean() < 1
    assert len(fingerprint_items(np.zeros(16_000, np.int16))) == 0


def test_a_jingle_in_ten_episodes_is_one_cluster_with_its_place_in_each() -> None:
    jingle, starts = talk(500, 8), [1 + 3.37 * number for number in range(10)]
    made = [
        recording(talk(number, start), jingle, talk(100 + number, 40), gain_db=-number, noise=20, seed=number)
        for number, start in enumerate(starts)
    ]
    spans = repeated_spans(made)
    assert {span.cluster for span in spans} == {0}
    assert [span.recording for span in spans] == list(range(10))
    assert {span.n_recordings for span in spans} == {10}
    for span, start in zip(spans, starts, strict=True):
        found = milliseconds(span.start, span.n_items)
        assert found == pytest.approx((1000 * start, 1000 * start + 8_000), abs=1_300)


def test_an_ad_beside_an_intro_is_another_cluster() -> None:
    intro, ads = talk(500, 9), [talk(600, 20), talk(601, 25)]
    made = [recording(ads[number % 2], intro, talk(number, 45)) for number in range(6)]
    spans = repeated_spans(made)
    per_recording = [[span for span in spans if span.recording == number] for number in range(6)]
    assert [len(own) for own in per_recording] == [2] * 6
    intros = {own[1].cluster for own in per_recording}
    assert len(intros) == 1
    assert {own[1].n_recordings for own in per_recording} == {6}
    assert [own[0].n_recordings for own in per_recording] == [3] * 6


def test_near_copies_are_no_repeated_audio_and_share_words_of_their_sketches() -> None:
    body, ad = talk(1, 90), talk(2, 20)
    original = recording(body)
    copy = recording(body[: 30 * RATE_HZ], ad, body[30 * RATE_HZ :], gain_db=-6, noise=30)
    cut = recording(body[12_345:])
    other = recording(talk(3, 90))
    found = shares(find_matches([original, copy, cut, other]), [len(one) for one in (original, copy, cut, other)])
    assert {pair for pair, share in found.items() if share >= NEAR_COPY_SHARE} == {(0, 1), (0, 2), (1, 2)}
    assert repeated_spans([original, copy, cut, other]) == []
    sketches = [set(sketch_of(one).tolist()) for one in (original, copy, cut, other)]
    assert [len(sketches[0] & one) >= 2 for one in sketches] == [True, True, True, False]


def test_silence_and_steady_tones_do_not_recur() -> None:
    hum = 3_000 * np.sin(2 * np.pi * 50 * np.arange(20 * RATE_HZ) / RATE_HZ)
    made = [recording(talk(number, 20), np.zeros(20 * RATE_HZ), hum, talk(10 + number, 20)) for number in range(3)]
    assert repeated_spans(made) == []


def test_what_one_recording_repeats_is_found() -> None:
    jingle = talk(500, 8)
    (first, second) = repeated_spans([recording(jingle, talk(1, 60), jingle), recording(talk(2, 60))])
    assert (first.cluster, first.n_recordings, first.recording) == (second.cluster, 1, 0)
