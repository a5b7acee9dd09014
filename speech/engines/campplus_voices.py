"""The voices of `campplus`: how many there are, and which of them each frame of the segmentation sounds like.

Windows of 1.5 s tell how many voices there are. Where two of them are close in time or a window is between two, and in
samples everywhere else, windows of 0.5 s then tell when they change: 98 to 99 % of such windows are nearest to the
right voice once the voices are known, and turns of a second need them (confusion 5.9 → 1.1 % on quick turns).
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from speech.clustering import decode_voices, group_voices, refine_voices
from speech.engines.campplus_activity import FIRST_CENTRE, OVERLAP, SPEECH, STEP_SAMPLES, Activity
from speech.engines.speaker_embeddings import SpeakerEmbedder, directions
from speech.filterbank import FRAME_SAMPLES, filterbank, frame_count

MIN_SPEAKER_MS = 5_000
MIN_SPEAKER_SHARE = 0.03
"""A speaker has the smaller of `MIN_SPEAKER_MS` and this share of all speech."""

_BLOCK_FRAMES = 6_000
"""One thread describes and embeds the windows of a minute at once."""
_UNSURE = 0.95
"""Posteriors below this are looked at again, …"""
_UNLIKE = 0.6
"""… and so are frames less similar to their voice, …"""
_AROUND = 4
"""… and so many short windows, a second, on both sides."""
_MOSTLY = 0.5
"""Where more of a recording than this is to be looked at again, all of it is."""
_EVERY = 8
"""One of so many short windows is looked at anyway, for the voices' means."""


@dataclass(frozen=True, slots=True)
class Windows:
    """Windows of one length with enough speech. Frames are those of the filterbank, 10 ms."""

    length: int
    min_speech: int
    """Frames with speech in each of them."""
    first_frame: np.ndarray
    """Shape (n,), ascending."""

    def at_steps(self) -> np.ndarray:
        """The frame of the segmentation in which each window begins, which may be −1."""
        return np.round((self.first_frame * FRAME_SAMPLES - FIRST_CENTRE) / STEP_SAMPLES).astype(np.int64)

    @property
    def steps(self) -> int:
        """Frames of the segmentation in a window."""
        return round(self.length * FRAME_SAMPLES / STEP_SAMPLES)


class WindowEmbedder:
    """Embeds windows of a recording from their frames with speech, without overlap where that leaves enough."""

    def __init__(
        self,
        samples: np.ndarray,
        active: Activity,
        embedder: SpeakerEmbedder,
        pool: Executor,
        report: Callable[[float], None],
    ) -> None:
        self._samples, self._embedder, self._pool, self._report = samples, embedder, pool, report
        centres = (np.arange(frame_count(samples)) * FRAME_SAMPLES + FRAME_SAMPLES // 2 - FIRST_CENTRE) / STEP_SAMPLES
        nearest = np.clip(np.round(centres).astype(np.int64), 0, len(active.speech) - 1)
        self._speech = (active.speech > SPEECH)[nearest]
        self._single = self._speech & ~(active.overlap > OVERLAP)[nearest]

    def windows(self, length: int, hop: int, min_speech: int) -> Windows:
        total = np.concatenate(([0], np.cumsum(self._speech)))
        firsts = np.arange(0, max(1, len(self._speech) - length + 1), hop)
        ends = np.minimum(firsts + length, len(self._speech))
        return Windows(length, min_speech, firsts[total[ends] - total[firsts] >= min_speech])

    def embed(self, windows: Windows, chosen: np.ndarray) -> np.ndarray:
        """Unit vectors of the chosen windows (bool, shape (n,)), shape (chosen, 192)."""
        firsts = windows.first_frame[chosen]
        blocks = np.split(firsts, np.flatnonzero(np.diff(firsts // _BLOCK_FRAMES)) + 1) if len(firsts) else []
        embeddings = [np.zeros((0, 192), np.float32)]
        for found in self._pool.map(lambda block: self._embed_block(block, windows), blocks):
            embeddings.append(found)
            self._report((len(embeddings) - 1) / len(blocks))
        return np.concatenate(embeddings)

    def _embed_block(self, firsts: np.ndarray, windows: Windows) -> np.ndarray:
        begin, end = int(firsts[0]), min(int(firsts[-1]) + windows.length, len(self._speech))
        features = filterbank(self._samples, begin, end)
        stretches = []
        for first in firsts.tolist():
            single, speech = (mask[first : min(first + windows.length, end)] for mask in (self._single, self._speech))
            usable = single if single.sum() >= windows.min_speech else speech
            stretches.append(features[first - begin : first - begin + len(usable)][usable])
        return self._embedder.embed(stretches)


def voices_per_frame(embedder: WindowEmbedder, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors of the voices, and similarities to them, per frame of the segmentation: two of float16, (frames, k)."""
    windows = embedder.windows(length=150, hop=75, min_speech=60)
    if len(windows.first_frame) == 0:
        return np.ones((frames, 1), np.float16), np.full((frames, 1), np.nan, np.float16)
    embeddings = embedder.embed(windows, np.ones(len(windows.first_frame), bool))
    follows = np.diff(windows.first_frame, prepend=-windows.length) < windows.length
    labels = group_voices(directions(embeddings), follows)
    posteriors, voices = decode_voices(embeddings, labels, _least(len(labels), hop_ms=750))
    similarity = _per_frame(windows, embeddings @ voices.T, frames)
    posteriors = _per_frame(windows, posteriors, frames)
    return (posteriors, similarity) if len(voices) == 1 else _refined(embedder, posteriors, similarity)


def _refined(embedder: WindowEmbedder, posteriors: np.ndarray, similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same after short windows; voices with too little speech are left out."""
    windows = embedder.windows(length=50, hop=25, min_speech=30)
    if len(windows.first_frame) == 0:
        return posteriors, similarity
    places = windows.at_steps() + np.array([[0], [windows.steps // 2], [windows.steps - 1]])
    places = places.clip(0, len(posteriors) - 1)
    prior = posteriors[places].mean(axis=0, dtype=np.float32)
    chosen = _doubtful(prior, similarity[places[1]])
    chosen[::_EVERY] = True
    embeddings = embedder.embed(windows, chosen)
    refined, kept = refine_voices(prior, chosen, embeddings, _least(len(prior), hop_ms=250))
    return _per_frame(windows, refined, len(posteriors)), similarity[:, kept]


def _doubtful(posteriors: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """Which short windows are near a change of voice or resemble none well, bool, shape (n,)."""
    likeliest = posteriors.argmax(axis=1)
    doubt = (posteriors.max(axis=1) < _UNSURE) | (similarity[np.arange(len(likeliest)), likeliest] < _UNLIKE)
    doubt[1:] |= likeliest[1:] != likeliest[:-1]
    near = np.convolve(doubt, np.ones(2 * _AROUND + 1), "same")[: len(doubt)] > 0
    return near | (near.mean() > _MOSTLY)


def _least(windows: int, hop_ms: int) -> float:
    return min(MIN_SPEAKER_MS / hop_ms, MIN_SPEAKER_SHARE * windows)


def _per_frame(windows: Windows, rows: np.ndarray, frames: int) -> np.ndarray:
    """The mean of the rows of the windows around each frame, the nearest ones most; or the nearest window's row.

    float16: five hours with thirty voices have 32 million values.
    """
    starts, width = windows.at_steps(), windows.steps
    rows = rows.astype(np.float32)
    weights = np.bartlett(width + 2)[1:-1].astype(np.float32)
    total, weight = np.zeros((frames, rows.shape[1]), np.float32), np.zeros(frames, np.float32)
    for start, row in zip(starts.tolist(), rows, strict=True):
        first, end = max(start, 0), min(start + width, frames)
        total[first:end] += weights[first - start : end - start, None] * row
        weight[first:end] += weights[first - start : end - start]
    bare = np.flatnonzero(weight < 1e-3)
    total[bare] = rows[_nearest(starts + width // 2, bare)]
    weight[bare] = 1
    total /= weight[:, None]
    return total.astype(np.float16)


def _nearest(sorted_places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The index of the place nearest to each wanted one."""
    right = np.searchsorted(sorted_places, wanted).clip(0, len(sorted_places) - 1)
    left = (right - 1).clip(0)
    return np.where(wanted - sorted_places[left] <= sorted_places[right] - wanted, left, right)
