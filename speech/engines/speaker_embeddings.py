"""CAM++ speaker embeddings: of stretches of filterbank frames, and of each speaker of a diarization."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from speech.cores import usable_cores
from speech.engines.onnx_models import SHA256, run, session
from speech.filterbank import BINS, FRAME_SAMPLES, filterbank, frame_count
from speech.overlaps import alone
from speech.types import SAMPLE_RATE_HZ, Diarization, Segment

EMBEDDING_MODEL = f"campplus {SHA256['campplus'][:8]}"
DIMENSIONS = 192
_MEAN = Path(__file__).parent / "models" / "campplus_mean.npy"
MIN_FRAMES = 30
"""Shorter speech, 0.3 s, has no meaningful embedding."""

_LENGTH_STEP = 10
"""Lengths are rounded down to so many frames, so that many stretches share a length and run as one batch."""
_BATCH_FRAMES = 600
"""Frames in a batch: memory grows with them, and 4 windows of 1.5 s are as fast per second as 64."""
_PIECE_MS = 6_000
_SPEECH_PER_SPEAKER_MS = 60_000
"""More speech of one speaker hardly changes the embedding."""


@cache
def embedding_mean() -> np.ndarray:
    """The mean embedding of many speakers, shape (192,): what all embeddings of this model have in common."""
    mean: np.ndarray = np.load(_MEAN)
    return mean


def directions(embeddings: np.ndarray) -> np.ndarray:
    """Unit vectors from the mean of all voices: embeddings of any two voices have much in common without this."""
    vectors = embeddings - embedding_mean()
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9))


class SpeakerEmbedder:
    """CAM++ on one device."""

    def __init__(self, device: str) -> None:
        self._session: Any = session("campplus", device)

    def embed(self, stretches: Sequence[np.ndarray]) -> np.ndarray:
        """Unit vectors, float32, shape (n, 192). A stretch has the shape (frames ≥ `MIN_FRAMES`, 80)."""
        embeddings = np.zeros((len(stretches), DIMENSIONS), np.float32)
        lengths = [len(stretch) // _LENGTH_STEP * _LENGTH_STEP for stretch in stretches]
        order = sorted(range(len(stretches)), key=lengths.__getitem__)
        for length, group in groupby(order, key=lengths.__getitem__):
            members = list(group)
            batch = max(1, _BATCH_FRAMES // max(length, 1))
            for at in range(0, len(members), batch):
                part = members[at : at + batch]
                features = np.stack([stretches[i][:length] for i in part])
                features -= features.mean(axis=1, keepdims=True)
                embeddings[part] = run(self._session, features)
        return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-9)


def with_speaker_embeddings(found: Diarization, samples: np.ndarray, embedder: SpeakerEmbedder) -> Diarization:
    """The diarization with one embedding for every speaker who speaks alone for at least 0.3 s.

    The longest stretches without overlap count, up to 60 s of a speaker. `samples`: int16, 16 kHz, shape (n,).
    """
    embeddings, speech_ms = {}, {}
    speakers = list(dict.fromkeys(segment.speaker for segment in found.segments))
    pieces = {speaker: _pieces(speaker, found.segments) for speaker in speakers}
    with ThreadPoolExecutor(usable_cores()) as pool:
        jobs = pool.map(lambda speaker: _embedding(pieces[speaker], samples, embedder), speakers)
        for speaker, (embedding, frames) in zip(speakers, jobs, strict=True):
            if embedding is not None:
                embeddings[speaker] = embedding
                speech_ms[speaker] = frames * FRAME_SAMPLES * 1000 // SAMPLE_RATE_HZ
    return replace(found, embeddings=embeddings, embedding_speech_ms=speech_ms, embedding_model=EMBEDDING_MODEL)


def _pieces(speaker: str, segments: Sequence[Segment]) -> list[tuple[int, int]]:
    """Frames `[first, end)` in which the speaker speaks alone, the longest first, up to the limit."""
    spans = sorted(alone(speaker, segments), key=lambda span: span.start_ms - span.end_ms)
    pieces: list[tuple[int, int]] = []
    left_ms = _SPEECH_PER_SPEAKER_MS
    for span in spans:
        for start_ms in range(span.start_ms, span.end_ms, _PIECE_MS):
            length_ms = min(span.end_ms - start_ms, _PIECE_MS, left_ms)
            if length_ms >= MIN_FRAMES * 10:
                pieces.append((start_ms // 10, (start_ms + length_ms) // 10))
                left_ms -= length_ms
    return pieces


def _embedding(
    pieces: Sequence[tuple[int, int]], samples: np.ndarray, embedder: SpeakerEmbedder
) -> tuple[np.ndarray | None, int]:
    """The mean of the pieces' embeddings by length, and the frames used."""
    total = frame_count(samples)
    stretches = [filterbank(samples, first, min(end, total)) for first, end in pieces if min(end, total) > first]
    stretches = [
        stretch for stretch in stretches if stretch.shape == (len(stretch), BINS) and len(stretch) >= MIN_FRAMES
    ]
    if not stretches:
        return None, 0
    lengths = np.array([len(stretch) for stretch in stretches])
    mean = lengths @ embedder.embed(stretches)
    return (mean / np.linalg.norm(mean)).astype(np.float32), int(lengths.sum())
