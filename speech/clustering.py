"""From speaker embeddings of short windows to voices: how many there are, and which speaks when.

Agglomerative clustering finds the voices, in two stages so that five hours fit in memory; a hidden Markov
model then decides for every window anew. Windows on a change of speaker resemble two voices and would join
their groups: only windows that resemble a neighbour take part in the clustering.
"""

from __future__ import annotations

import numpy as np

_SAME_VOICE_SHARE = 0.55
"""Two groups are one voice if the mean cosine similarity of their windows is at least this share of the similarity of
windows that follow each other without overlap: a channel that all voices share raises both, noise lowers both."""
_WITHIN_VOICE = 0.9
"""The quantile of those similarities that counts: where turns are quick, most of the windows hold two voices."""
_THRESHOLD_BOUNDS = (0.2, 0.4)
"""What counts as one voice at the least and at the most: on a telephone line, two voices of one sex have up to 0.37."""
_FIRST_STAGE_MARGIN = 0.12
"""The first stage, part by part, asks for so much more."""
_PART = 1_000
"""Windows that are clustered at once: cost and memory grow with the square."""
_MOST_PER_PART = 60
"""Groups of a part that the second stage takes: noise would otherwise fill its matrix."""
_UNSTABLE = 0.4
"""Share of the windows, those least similar to their neighbours, that the clustering leaves out."""
_DUPLICATE = 0.88
"""Voices whose mean embeddings are more similar are one."""
_SIMILARITY_NATS = 60.0
"""Log likelihood of a window per unit of cosine similarity; neighbouring windows share samples."""
_SHORT_SIMILARITY_NATS = 45.0
"""The same for short windows, which have less to say."""
_SURE = 0.9
"""Short windows with a higher posterior give the mean of their voice."""
_PRIOR_FLOOR = 0.01
_SWITCH_NATS = 4.0
"""Cost of a change of voice between two windows."""
_ROUNDS = 3
_SHORT_ROUNDS = 2


def group_voices(embeddings: np.ndarray, follows: np.ndarray) -> np.ndarray:
    """Labels 0…k-1 of n unit vectors from the mean of all voices, −1 for those left out, shape (n,).

    `follows`: whether a window overlaps the one before it, by half, shape (n,).
    """
    stable = _stable(embeddings, follows)
    labels = np.full(len(embeddings), -1)
    labels[stable] = _clusters(embeddings[stable], _same_voice(embeddings, follows))
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
        posteriors = posteriors[:, _large(posteriors, min_windows)]
        posteriors, voices = _without_duplicates(posteriors, embeddings)
    return posteriors / np.maximum(posteriors.sum(axis=1, keepdims=True), 1e-9), voices


def refine_voices(
    prior: np.ndarray, embedded: np.ndarray, embeddings: np.ndarray, min_windows: float
) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors of short windows, shape (n, k), and the indices of the k voices that have `min_windows` windows.

    `prior`: their posteriors from long windows, shape (n, voices), which stand for windows without an embedding.
    `embedded`: which windows have one, bool, shape (n,); `embeddings`: unit vectors of those.
    """
    kept = np.arange(prior.shape[1])
    posteriors = prior
    for _ in range(_SHORT_ROUNDS):
        likely = posteriors[embedded]
        sure = np.where(likely > _SURE, likely, 0)
        weights = np.where(sure.sum(axis=0) >= 1, sure, likely).astype(embeddings.dtype)  # no copy in float64
        voices = _unit(weights.T @ embeddings)
        log_likelihoods = np.log(prior[:, kept] + _PRIOR_FLOOR)
        log_likelihoods[embedded] = _SHORT_SIMILARITY_NATS * embeddings @ voices.T
        posteriors = _posteriors(log_likelihoods)
        large = _large(posteriors, min_windows)
        posteriors, kept = posteriors[:, large], kept[large]
    return posteriors / np.maximum(posteriors.sum(axis=1, keepdims=True), 1e-9), kept


def _large(posteriors: np.ndarray, min_windows: float) -> np.ndarray:
    sizes = posteriors.sum(axis=0)
    return (sizes >= min_windows) | (sizes == sizes.max())


def _stable(embeddings: np.ndarray, follows: np.ndarray) -> np.ndarray:
    similarity = np.where(follows[1:], (embeddings[1:] * embeddings[:-1]).sum(axis=1), np.nan)
    left, right = np.append(np.nan, similarity), np.append(similarity, np.nan)
    worst = np.nan_to_num(np.fmin(left, right), nan=0.0)
    return worst >= np.quantile(worst, _UNSTABLE)


def _same_voice(embeddings: np.ndarray, follows: np.ndarray) -> float:
    """The similarity from which two groups of this recording are one voice."""
    next_but_one = (embeddings[2:] * embeddings[:-2]).sum(axis=1)[follows[2:] & follows[1:-1]]
    within = np.quantile(next_but_one, _WITHIN_VOICE) if len(next_but_one) else 0.0
    return float(np.clip(_SAME_VOICE_SHARE * within, *_THRESHOLD_BOUNDS))


def _clusters(embeddings: np.ndarray, same_voice: float) -> np.ndarray:
    """Average linkage of similarities; above `_PART` windows, of micro-clusters of each part."""
    from scipy.cluster.hierarchy import fcluster, linkage

    micro = np.zeros(len(embeddings), dtype=np.int64)
    used = 0
    parts = np.array_split(np.arange(len(embeddings)), -(-len(embeddings) // _PART))
    threshold = same_voice if len(parts) == 1 else same_voice + _FIRST_STAGE_MARGIN
    for part in parts:
        if len(part) > 1:
            tree = linkage(embeddings[part], "average", "cosine")
            micro[part] = fcluster(tree, 1 - threshold, "distance") - 1
            if len(parts) > 1 and micro[part].max() >= _MOST_PER_PART:
                micro[part] = fcluster(tree, _MOST_PER_PART, "maxclust") - 1
        micro[part] += used
        used = int(micro[part].max()) + 1
    return micro if len(parts) == 1 else _joined(embeddings, micro, same_voice)[micro]


def _joined(embeddings: np.ndarray, micro: np.ndarray, same_voice: float) -> np.ndarray:
    """The cluster of each micro-cluster: average linkage continued, as the windows' sums allow."""
    sizes = np.bincount(micro).astype(float)
    sums = np.zeros((len(sizes), embeddings.shape[1]))
    np.add.at(sums, micro, embeddings)
    similarity = sums @ sums.T / np.outer(sizes, sizes)
    np.fill_diagonal(similarity, -np.inf)
    labels = np.arange(len(sizes))
    while len(sizes) > 1:
        first, second = np.unravel_index(similarity.argmax(), similarity.shape)
        if similarity[first, second] < same_voice:
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


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
