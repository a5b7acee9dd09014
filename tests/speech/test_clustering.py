"""Speakers from vectors and Gaussians: groups that are known, counts that are exact."""

from __future__ import annotations

import numpy as np
import pytest

from speech.clustering import Moments, assign, decode_voices, group_voices, join_voices, spectral_labels


def vectors(*sizes: int, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Groups around directions far apart in 20 dimensions, shuffled, and whose each vector is."""
    rng = np.random.default_rng(5)
    truth = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return np.eye(20)[truth] + rng.normal(0, spread / np.sqrt(20), (len(truth), 20)), truth


def voices(*turns: tuple[int, int], frames: int = 40) -> tuple[Moments, np.ndarray]:
    """Blocks of frames; a turn is (voice, blocks), and voices differ in mean and in spread."""
    rng = np.random.default_rng(8)
    truth = np.concatenate([np.full(blocks, voice) for voice, blocks in turns])
    blocks = [rng.normal(2.0 * voice, 1.0 + 0.5 * voice, (frames, 6)) for voice in truth]
    return Moments(
        np.full(len(truth), frames, np.float32),
        np.array([x.sum(axis=0) for x in blocks], np.float32),
        np.array([x.T @ x for x in blocks], np.float32),
    ), truth


def partition(labels: np.ndarray) -> set[tuple[int, ...]]:
    """Who is together with whom, whatever the labels are called."""
    return {tuple(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


@pytest.mark.parametrize(
    "sizes",
    [(60, 60), (30, 90, 50), (40, 40, 40, 40, 40), (120, 15), (1500, 900, 300)],
    ids=lambda sizes: str(sum(sizes)),
)
def test_groups_are_found_and_one_more_but_none_holds_two(sizes: tuple[int, ...]) -> None:
    points, truth = vectors(*sizes)
    labels = spectral_labels(points)
    assert labels.max() + 1 == len(sizes) + 1
    assert all(len(set(truth[labels == label].tolist())) == 1 for label in range(len(sizes) + 1))


def test_the_same_vectors_give_the_same_labels() -> None:
    points, _ = vectors(50, 70, 80, spread=2.0)
    assert spectral_labels(points).tolist() == spectral_labels(points).tolist()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_handful_of_vectors_is_one_group(n: int) -> None:
    assert spectral_labels(np.eye(20)[:n]).tolist() == [0] * n


def test_one_voice_that_was_split_is_joined() -> None:
    blocks, truth = voices((0, 80))
    assert join_voices(blocks, np.arange(len(truth)) % 3).tolist() == [0] * 80


def test_two_voices_stay_two() -> None:
    blocks, truth = voices((0, 40), (1, 40), (0, 40))
    split = truth.copy()
    split[:40] = 2  # the first voice was taken for two
    assert partition(join_voices(blocks, split)) == partition(truth)


def test_borders_are_drawn_where_the_voice_changes() -> None:
    blocks, truth = voices((0, 30), (1, 20), (0, 25))
    rough = np.repeat([0, 1, 0], [36, 18, 21])
    labels, posteriors = assign(blocks, rough, min_frames=0)
    assert labels.tolist() == truth.tolist()
    assert posteriors.shape == (75, 2)
    assert posteriors[np.arange(75), labels].min() > 0.99
    assert posteriors.sum(axis=1) == pytest.approx(np.ones(75))


def test_a_group_too_small_to_be_a_speaker_goes_to_the_others() -> None:
    blocks, _ = voices((0, 30), (1, 30))
    labels = np.repeat([0, 2, 1], [28, 2, 30])
    found, posteriors = assign(blocks, labels, min_frames=300)
    assert found.tolist() == [0] * 30 + [1] * 30
    assert posteriors.shape == (60, 2)


def test_the_largest_group_is_always_a_speaker() -> None:
    blocks, _ = voices((0, 3))
    labels, _ = assign(blocks, np.array([0, 0, 1]), min_frames=10_000)
    assert labels.tolist() == [0, 0, 0]


def test_moments_of_groups_are_sums() -> None:
    blocks, _ = voices((0, 2), (1, 2), frames=50)
    pairs = blocks.grouped(np.array([0, 1, 0, 1]))
    assert pairs.count.tolist() == [100, 100]
    assert pairs.total[0] == pytest.approx(blocks.total[0] + blocks.total[2], rel=1e-6)
    assert blocks.joined().covariances().shape == (1, 6, 6)


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


def test_a_voice_of_few_windows_goes_to_the_others() -> None:
    embeddings, truth = spoken((0, 40), (1, 6), (0, 40))
    labels = group_voices(embeddings, np.ones(len(truth), bool))
    assert decode_voices(embeddings, labels, min_windows=20)[1].shape == (1, 192)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_windows_are_voices_too(n: int) -> None:
    embeddings, _ = spoken((0, n))
    labels = group_voices(embeddings, np.ones(n, bool))
    assert decode_voices(embeddings, labels, min_windows=1)[1].shape[0] == 1
