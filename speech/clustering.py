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
    """Labels of the best of eight tries from k-means++ starts (Arthur and Vassilvitskii, 2007); seeded."""
    rng = np.random.default_rng(0)
    best_cost, best = np.inf, np.zeros(len(points), dtype=np.int64)
    for _ in range(8):
        centres = points[rng.integers(len(points))][None]
        while len(centres) < k:
            cost = _squared_distances(points, centres).min(axis=1) + 1e-12
            centres = np.vstack([centres, points[rng.choice(len(points), p=cost / cost.sum())]])
        for _ in range(30):
            labels = _squared_distances(points, centres).argmin(axis=1)
            members = [points[labels == label] for label in range(k)]
            centres = np.array([m.mean(axis=0) if len(m) else c for m, c in zip(members, centres, strict=True)])
        distances = _squared_distances(points, centres)
        if distances.min(axis=1).sum() < best_cost:
            best_cost, best = distances.min(axis=1).sum(), distances.argmin(axis=1)
    return best


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


def _squared_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    return np.square(points[:, None] - centres).sum(axis=2)


def _compact(labels: np.ndarray) -> np.ndarray:
    """The same groups, numbered 0…k-1."""
    return np.unique(labels, return_inverse=True)[1]


_SAME_VOICE = 0.5
"""Two groups are one voice if the mean cosine similarity of their windows is at least this. Windows of 1.5 s:
one voice 0.58–0.67, two voices 0.36–0.49 (read speech, telephone band, rooms, meetings)."""
_SURELY_SAME = 0.62
"""The same for the first stage, part by part."""
_PART = 1_000
"""Windows that are clustered at once: cost and memory grow with the square."""
_UNSTABLE = 0.4
"""Share of the windows, those least similar to their neighbours, that the clustering leaves out."""
_DUPLICATE = 0.88
"""Voices whose mean embeddings are more similar are one."""
_SIMILARITY_NATS = 60.0
"""Log likelihood of a window per unit of cosine similarity; neighbouring windows share samples."""
_SWITCH_NATS = 4.0
"""Cost of a change of voice between two windows."""
_ROUNDS = 3


def group_voices(embeddings: np.ndarray, follows: np.ndarray) -> np.ndarray:
    """Labels 0…k-1 of n unit vectors, −1 for those left out, shape (n,).

    `follows`: whether a window overlaps the one before it, shape (n,).
    """
    stable = _stable(embeddings, follows)
    labels = np.full(len(embeddings), -1)
    labels[stable] = _clusters(embeddings[stable])
    return labels


def decode_voices(embeddings: np.ndarray, labels: np.ndarray, min_windows: float) -> tuple[np.ndarray, np.ndarray]:
    """Each window's posteriors, shape (n, k), and the voices' unit vectors, shape (k, d).

    A voice has at least `min_windows` windows; the largest always stays. Alternates between the voices'
    mean embeddings and the windows' posteriors.
    """
    sizes = np.bincount(labels[labels >= 0]) * len(labels) / (labels >= 0).sum()
    kept = np.flatnonzero((sizes >= min_windows) | (sizes == sizes.max()))
    voices = _unit(np.array([embeddings[labels == label].sum(axis=0) for label in kept]))
    for _ in range(_ROUNDS):
        posteriors = _posteriors(_SIMILARITY_NATS * embeddings @ voices.T)
        sizes = posteriors.sum(axis=0)
        posteriors = posteriors[:, (sizes >= min_windows) | (sizes == sizes.max())]
        posteriors, voices = _without_duplicates(posteriors, embeddings)
    return posteriors / np.maximum(posteriors.sum(axis=1, keepdims=True), 1e-9), voices


def _stable(embeddings: np.ndarray, follows: np.ndarray) -> np.ndarray:
    similarity = np.where(follows[1:], (embeddings[1:] * embeddings[:-1]).sum(axis=1), np.nan)
    left, right = np.append(np.nan, similarity), np.append(similarity, np.nan)
    worst = np.nan_to_num(np.fmin(left, right), nan=0.0)
    return worst >= np.quantile(worst, _UNSTABLE)


def _clusters(embeddings: np.ndarray) -> np.ndarray:
    """Average linkage of similarities; above `_PART` windows, of micro-clusters of each part."""
    from scipy.cluster.hierarchy import fcluster, linkage

    micro = np.zeros(len(embeddings), dtype=np.int64)
    used = 0
    parts = np.array_split(np.arange(len(embeddings)), -(-len(embeddings) // _PART))
    threshold = _SAME_VOICE if len(parts) == 1 else _SURELY_SAME
    for part in parts:
        if len(part) > 1:
            tree = linkage(embeddings[part], "average", "cosine")
            micro[part] = fcluster(tree, 1 - threshold, "distance") - 1
        micro[part] += used
        used = int(micro[part].max()) + 1
    return micro if len(parts) == 1 else _joined(embeddings, micro)[micro]


def _joined(embeddings: np.ndarray, micro: np.ndarray) -> np.ndarray:
    """The cluster of each micro-cluster: average linkage continued, as the windows' sums allow."""
    sizes = np.bincount(micro).astype(float)
    sums = np.zeros((len(sizes), embeddings.shape[1]))
    np.add.at(sums, micro, embeddings)
    similarity = sums @ sums.T / np.outer(sizes, sizes)
    np.fill_diagonal(similarity, -np.inf)
    labels = np.arange(len(sizes))
    while len(sizes) > 1:
        first, second = np.unravel_index(similarity.argmax(), similarity.shape)
        if similarity[first, second] < _SAME_VOICE:
            break
        a, b = sizes[first], sizes[second]
        mean = (a * similarity[first] + b * similarity[second]) / (a + b)
        similarity[first], similarity[:, first] = mean, mean
        similarity[second], similarity[:, second] = -np.inf, -np.inf
        similarity[first, first] = -np.inf
        sizes[first] = a + b
        labels[labels == second] = first
    return np.unique(labels, return_inverse=True)[1]


def _without_duplicates(posteriors: np.ndarray, embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    voices = _unit(posteriors.T @ embeddings)
    while len(voices) > 1:
        similarity = voices @ voices.T - 2 * np.eye(len(voices))
        first, second = np.unravel_index(similarity.argmax(), similarity.shape)
        if similarity[first, second] < _DUPLICATE:
            break
        posteriors[:, first] += posteriors[:, second]
        posteriors = np.delete(posteriors, second, axis=1)
        voices = _unit(posteriors.T @ embeddings)
    return posteriors, voices


def _posteriors(log_likelihoods: np.ndarray) -> np.ndarray:
    """Forward and backward passes through n windows and k voices, shape (n, k)."""
    n, k = log_likelihoods.shape
    if k == 1:
        return np.ones((n, 1))
    other = np.exp(-_SWITCH_NATS) / (k - 1)
    stay = 1 - np.exp(-_SWITCH_NATS) - other
    likelihoods = np.exp(log_likelihoods - log_likelihoods.max(axis=1, keepdims=True))
    forward, backward = np.empty((n, k)), np.ones((n, k))
    state = np.full(k, 1 / k)
    for i in range(n):
        state = (other * state.sum() + stay * state) * likelihoods[i]
        state /= state.sum()
        forward[i] = state
    for i in range(n - 2, -1, -1):
        ahead = likelihoods[i + 1] * backward[i + 1]
        backward[i] = other * ahead.sum() + stay * ahead
        backward[i] /= backward[i].sum()
    both = forward * backward
    return both / both.sum(axis=1, keepdims=True)
