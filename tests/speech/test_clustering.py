"""Voices from embeddings of short windows: groups that are known, counts that are exact."""

from __future__ import annotations

import numpy as np
import pytest

from speech.clustering import decode_voices, group_voices, refine_voices


def partition(labels: np.ndarray) -> set[tuple[int, ...]]:
    """Who is together with whom, whatever the labels are called."""
    return {tuple(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


def spoken(*turns: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of windows in turns of (voice, windows); two windows of a voice have a similarity of about 0.65."""
    rng = np.random.default_rng(4)
    truth = np.concatenate([np.full(windows, voice) for voice, windows in turns])
    noise = rng.normal(0, 1 / np.sqrt(192), (len(truth), 192))
    points = np.eye(192)[truth] + 0.75 * (noise + np.roll(noise, 1, axis=0)) / np.sqrt(2)
    return points / np.linalg.norm(points, axis=1, keepdims=True), truth


@pytest.mark.parametrize("rounds", [8, 150], ids=["one stage", "two stages"])
def test_voices_are_counted_and_windows_are_theirs(rounds: int) -> None:
    embeddings, truth = spoken(*[(0, 9), (1, 5), (2, 4)] * rounds)
    labels = group_voices(embeddings, np.ones(len(truth), bool))
    posteriors, voices = decode_voices(embeddings, labels, min_windows=5)
    assert voices.shape == (3, 192)
    assert partition(posteriors.argmax(axis=1)) == partition(truth)
    assert posteriors.sum(axis=1) == pytest.approx(np.ones(len(truth)))


def turns_in_noise(shared: float, within: float) -> np.ndarray:
    """Unit vectors of eight turns of 15 windows in two groups; `shared`: similarity of windows of both groups."""
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 1 / np.sqrt(192), (120, 192))
    noise = (noise + np.roll(noise, 1, axis=0)) / np.sqrt(2)
    group = np.eye(192)[1 + np.arange(120) // 15 % 2]
    points = np.sqrt(shared) * np.eye(192)[0] + np.sqrt(within - shared) * group + np.sqrt(1 - within) * noise
    return points / np.linalg.norm(points, axis=1, keepdims=True)


@pytest.mark.parametrize(("within", "voices"), [(0.6, 2), (0.4, 1)], ids=["clear channel", "noise"])
def test_how_similar_windows_of_a_voice_are_is_measured_in_the_recording(within: float, voices: int) -> None:
    labels = group_voices(turns_in_noise(0.29, within), np.ones(120, bool))
    sizes = np.bincount(labels[labels >= 0])
    assert (sizes >= 10).sum() == voices


def test_a_voice_of_few_windows_goes_to_the_others() -> None:
    embeddings, truth = spoken((0, 40), (1, 6), (0, 40))
    labels = group_voices(embeddings, np.ones(len(truth), bool))
    assert decode_voices(embeddings, labels, min_windows=20)[1].shape == (1, 192)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_windows_are_voices_too(n: int) -> None:
    embeddings, _ = spoken((0, n))
    labels = group_voices(embeddings, np.ones(n, bool))
    assert decode_voices(embeddings, labels, min_windows=1)[1].shape[0] == 1


def test_short_windows_find_turns_that_long_ones_have_missed() -> None:
    embeddings, truth = spoken((0, 30), (1, 4), (0, 20), (1, 30))
    prior = np.eye(2)[np.where(np.arange(len(truth)) < 54, 0, 1)]
    embedded = np.ones(len(truth), bool)
    embedded[60:80] = False
    posteriors, kept = refine_voices(prior, embedded, embeddings[embedded], min_windows=5)
    assert posteriors.argmax(axis=1).tolist() == truth.tolist()
    assert kept.tolist() == [0, 1]


def test_a_voice_that_no_short_window_resembles_is_left_out() -> None:
    embeddings, truth = spoken((0, 40), (1, 40))
    prior = np.full((80, 3), 0.001)
    prior[np.arange(80), np.where(np.arange(80) % 40 < 38, truth, 2)] = 0.9
    posteriors, kept = refine_voices(prior, np.ones(80, bool), embeddings, min_windows=10)
    assert kept.tolist() == [0, 1]
    assert posteriors.argmax(axis=1).tolist() == truth.tolist()
