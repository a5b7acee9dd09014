"""From stretches of speech to speakers: how many there are, and which stretch is whose.

Three steps, each for what the one before cannot do: spectral clustering finds the groups, a likelihood
ratio joins groups that are one voice, and Viterbi decoding draws the borders again with one Gaussian
per voice. All of them work on sums over short blocks of frames, so that five hours fit in memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

MAX_SPEAKERS = 10

_PART = 800
"""Windows that are clustered agglomeratively at once: the cost grows with the square."""
_MICRO_CLUSTERS = 200
_MICRO_CLUSTERS_PER_PART = 12

_NATS_PER_FRAME = 1.5
_PENALTY = 1.5
"""Two groups are one voice if joining them costs fewer nats than `_NATS_PER_FRAME` for every frame of
their harmonic size, plus `_PENALTY` times BIC's penalty. The penalty alone forgives short groups their
chance differences, but splits any voice that speaks for long; the rate alone does the opposite.
Measured on read speech and synthetic voices: one voice split in two costs 0.2-2.3 nats a frame, two
voices 2.5-11."""

_SWITCH_NATS = 100.0
_PRIOR_FRAMES = 200.0
"""Weight of all speech's covariance in each voice's: half a minute of speech outweighs it by far."""
_CORRELATED_FRAMES = 10.0
"""Neighbouring 10 ms frames say nearly the same: a posterior counts ten of them as one."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over the frames of n blocks: what a Gaussian needs, and what groups of blocks add up to."""

    count: np.ndarray
    """Frames, shape (n,)."""
    total: np.ndarray
    """Sum of the frames, shape (n, d)."""
    squares: np.ndarray
    """Sum of their outer products, shape (n, d, d)."""

    def grouped(self, labels: np.ndarray) -> Moments:
        """One row per label 0…k-1."""
        groups = [labels == label for label in range(int(labels.max()) + 1)]
        return Moments(*(np.array([sums[g].sum(axis=0, dtype=np.float64) for g in groups]) for sums in self._sums()))

    def joined(self) -> Moments:
        """All rows as one."""
        return self.grouped(np.zeros(len(self.count), dtype=np.int64))

    def rows(self, *indices: int) -> Moments:
        return Moments(*(sums[list(indices)] for sums in self._sums()))

    def covariances(self) -> np.ndarray:
        """Maximum likelihood, shape (n, d, d), with a floor that keeps them invertible."""
        means = self.total / self.count[:, None]
        covariances = self.squares / self.count[:, None, None] - means[:, :, None] * means[:, None, :]
        return covariances + 1e-2 * np.eye(self.total.shape[1])

    def _sums(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.count, self.total, self.squares


def spectral_labels(vectors: np.ndarray) -> np.ndarray:
    """A label 0…k-1 for each of n vectors, shape (n, d), by the direction in which they point.

    The number of groups, up to `MAX_SPEAKERS`, and the number of neighbours in the graph are the
    pair with the largest normalised maximum eigengap (NME-SC: Park, Han, Kumar and Narayanan,
    "Auto-tuning spectral clustering for speaker diarization using normalized maximum eigengap",
    2019), and one group more: two voices in one group cannot be told apart later, one voice in two
    can be joined. Many vectors are first gathered into micro-clusters, part by part.
    """
    micro = _micro_clusters(_unit(vectors))
    centres = np.array([vectors[micro == label].mean(axis=0) for label in range(micro.max() + 1)])
    if len(centres) < 4:
        return np.zeros(len(vectors), dtype=np.int64)
    return _compact(_spectral(_unit(centres))[micro])


def join_voices(blocks: Moments, labels: np.ndarray) -> np.ndarray:
    """Join groups as long as the two most alike of them are one voice; see `_NATS_PER_FRAME`."""
    labels = _compact(labels)
    while labels.max() > 0:
        groups = blocks.grouped(labels)
        excess, keep, drop = min(
            (_excess_nats(groups.rows(*pair)), *pair) for pair in combinations(range(len(groups.count)), 2)
        )
        if excess > 0:
            break
        labels = _compact(np.where(labels == drop, keep, labels))
    return labels


def assign(blocks: Moments, labels: np.ndarray, min_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Each block's voice, decoded anew, and its posteriors, shape (n, k).

    One Gaussian per group with at least `min_frames` (the largest group always), one penalty for each
    change of voice; twice, as better borders make better Gaussians.
    """
    for _ in range(2):
        sizes = np.bincount(labels, weights=blocks.count)
        kept = np.flatnonzero((sizes >= min_frames) | (sizes == sizes.max()))
        scores = np.stack([_log_likelihood(blocks, blocks.rows(*np.flatnonzero(labels == k))) for k in kept], axis=1)
        labels = _viterbi(scores)
    evidence = scores / _CORRELATED_FRAMES
    odds = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    return labels, odds / odds.sum(axis=1, keepdims=True)


def _micro_clusters(vectors: np.ndarray) -> np.ndarray:
    """Labels of at most about `_MICRO_CLUSTERS` small groups; below that every vector is its own."""
    from scipy.cluster.hierarchy import fcluster, linkage

    if len(vectors) <= _MICRO_CLUSTERS:
        return np.arange(len(vectors))
    parts = np.array_split(vectors, -(-len(vectors) // _PART))
    per_part = max(_MICRO_CLUSTERS // len(parts), _MICRO_CLUSTERS_PER_PART)
    labels, used = [], 0
    for part in parts:
        labels.append(fcluster(linkage(part, "ward"), per_part, "maxclust") - 1 + used)
        used = int(labels[-1].max()) + 1
    return np.concatenate(labels)


def _spectral(units: np.ndarray) -> np.ndarray:
    n = len(units)
    affinity = units @ units.T
    nearest = np.argsort(-affinity, axis=1, kind="stable")
    best_ratio, groups, spectrum = np.inf, 1, np.zeros((n, 1))
    for neighbours in np.unique(np.linspace(3, max(4, n // 4), 12).astype(int)):
        graph = np.zeros((n, n))
        np.put_along_axis(graph, nearest[:, :neighbours], 1.0, axis=1)
        graph = (graph + graph.T) / 2
        values, vectors = np.linalg.eigh(np.diag(graph.sum(axis=1)) - graph)
        gaps = np.diff(values[: MAX_SPEAKERS + 1])
        ratio = (neighbours / n) / max(gaps.max() / values[-1], 1e-9)
        if ratio < best_ratio:
            best_ratio, groups, spectrum = ratio, int(gaps.argmax()) + 1, vectors
    return _k_means(spectrum[:, : groups + 1], groups + 1)


def _k_means(points: np.ndarray, k: int) -> np.ndarray:
    """Labels of the best of eight seeded tries from k-means++ starts."""
    from scipy.cluster.vq import kmeans2

    random = np.random.default_rng(0)
    tries = [kmeans2(points, k, iter=30, minit="++", missing="warn", rng=random) for _ in range(8)]
    return min(tries, key=lambda each: float(np.square(points - each[0][each[1]]).sum()))[1]


def _excess_nats(pair: Moments) -> float:
    """What it costs to describe two groups by one Gaussian, over what is allowed."""
    both = pair.joined()
    size, d = both.count[0], both.total.shape[1]
    cost = (_half_log_dets(both) - _half_log_dets(pair).sum())[0]
    parameters = d + d * (d + 1) / 2
    return float(cost - _NATS_PER_FRAME * pair.count.prod() / size - _PENALTY * parameters / 2 * np.log(size))


def _half_log_dets(groups: Moments) -> np.ndarray:
    """Minus the greatest log likelihood of each group's frames, but for what cancels out."""
    return groups.count * np.linalg.slogdet(groups.covariances())[1] / 2


def _log_likelihood(blocks: Moments, voice: Moments) -> np.ndarray:
    """Of every block under one voice's Gaussian, shape (n,)."""
    everything, own = blocks.joined(), voice.joined()
    mean = own.total[0] / own.count[0]
    covariance = own.count[0] * own.covariances()[0] + _PRIOR_FRAMES * everything.covariances()[0]
    precision = np.linalg.inv(covariance / (own.count[0] + _PRIOR_FRAMES))
    spread = np.einsum("nij,ij->n", blocks.squares, precision) - 2 * blocks.total @ (precision @ mean)
    constant = mean @ precision @ mean - np.linalg.slogdet(precision)[1]
    return -(spread + blocks.count * constant) / 2


def _viterbi(scores: np.ndarray) -> np.ndarray:
    """The best path through n blocks and k voices, shape (n,): staying is free, changing costs `_SWITCH_NATS`."""
    n, k = scores.shape
    came_from = np.zeros((n, k), dtype=np.int64)
    best = scores[0]
    for i in range(1, n):
        leader = int(best.argmax())
        stays = best >= best[leader] - _SWITCH_NATS
        came_from[i] = np.where(stays, np.arange(k), leader)
        best = np.where(stays, best, best[leader] - _SWITCH_NATS) + scores[i]
    path = np.full(n, int(best.argmax()))
    for i in range(n - 1, 0, -1):
        path[i - 1] = came_from[i, path[i]]
    return path


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def _compact(labels: np.ndarray) -> np.ndarray:
    """The same groups, numbered 0…k-1."""
    return np.unique(labels, return_inverse=True)[1]
