"""The diarizer `campplus`: any number of speakers, with overlap, on a CPU or a GPU, without torch.

1. Local segmentation (`campplus_activity`) tells when anybody speaks, when several do, and who of the
   speakers of 10 s is the same.
2. CAM++ (Wang et al. 2023, arXiv:2303.00332) embeds windows of 1.5 s from speech without overlap.
3. Clustering and a hidden Markov model (`clustering`) turn the windows into voices.
4. Each frame goes to the one or two voices that windows and local speakers together make most likely.

Embeddings of short windows are used for step 3 rather than one per local speaker, because the segmentation
takes two voices for one where turns are quick: confusion fell from 19 to 6 % on spliced quick turns.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from speech.clustering import decode_voices, group_voices
from speech.cores import usable_cores
from speech.engines.campplus_activity import FIRST_CENTRE, STEP_SAMPLES, Activity, activity
from speech.engines.installed import revision
from speech.engines.onnx_models import SHA256, session
from speech.engines.protocols import ON_CPU, DeviceUse, EngineChoice, EngineSpec
from speech.engines.speaker_embeddings import SpeakerEmbedder, with_speaker_embeddings
from speech.engines.waveform import samples_of
from speech.errors import OutOfMemory, PodlakeError
from speech.filterbank import FRAME_SAMPLES, filterbank, frame_count
from speech.types import SAMPLE_RATE_HZ, Diarization, Recording, Segment

SPEECH = 0.4
"""Somebody speaks where the probability exceeds this: missed speech costs more than a breath."""
OVERLAP = 0.4
MAX_PAUSE_MS = 1_200
"""Shorter pauses of one speaker belong to the segment unless somebody else speaks in them."""
PAD_MS = 100
MIN_SPEAKER_MS = 5_000
MIN_SPEAKER_SHARE = 0.07
"""A speaker has the smaller of `MIN_SPEAKER_MS` and this share of all speech."""

_METHOD = 1
"""Counts up when the method changes what it finds."""
_WINDOW_FRAMES, _HOP_FRAMES = 150, 50
_MIN_SPEECH_FRAMES = 60
_BLOCK_WINDOWS = 120
"""Windows that one thread describes and embeds at once: a minute."""
_WINDOW_WEIGHT = 0.5
"""Weight of the windows' posteriors beside the local speakers' in naming a frame."""


def describe(choice: EngineChoice) -> EngineSpec:  # noqa: ARG001 – it has one model
    return EngineSpec(
        name="campplus",
        model="segmentation-3.0, CAM++",
        revision=f"{SHA256['segmentation-3.0'][:8]} {SHA256['campplus'][:8]}",
        settings={"method": _METHOD},
        needs_gpu=not revision("onnxruntime-gpu").endswith("absent"),
    )


def load(choice: EngineChoice, device: str) -> Campplus:
    """Raises `EngineUnavailable`."""
    return Campplus(describe(choice), device)


class Campplus:
    """A `Diarizer`."""

    def __init__(self, spec: EngineSpec, device: str) -> None:
        self.spec = spec
        self._device = device
        self._segmentation: Any = session("segmentation-3.0", device)
        self._embedder: SpeakerEmbedder | None = SpeakerEmbedder(device)
        self._pool = ThreadPoolExecutor(usable_cores(), thread_name_prefix="campplus")

    def diarize(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Diarization | PodlakeError]]:
        """Each recording in turn, on all cores."""
        for recording in recordings:
            try:
                yield recording, self._diarize_one(recording)
            except PodlakeError as error:
                yield recording, error

    def device_use(self) -> DeviceUse:
        return ON_CPU if self._device == ON_CPU.name else DeviceUse(self._device)

    def close(self) -> None:
        self._pool.shutdown()
        self._segmentation = self._embedder = None

    def _diarize_one(self, recording: Recording) -> Diarization:
        assert self._embedder
        started_s = time.perf_counter()
        samples = samples_of(recording)
        try:
            segments = _segments(samples, self._segmentation, self._embedder, self._pool)
            found = with_speaker_embeddings(Diarization(segments), samples, self._embedder)
        except Exception as error:
            if self._device == ON_CPU.name or "Failed to allocate memory" not in str(error):
                raise
            raise OutOfMemory(f"{recording.episode_id}: {self._device} has too little free memory.") from None
        return replace(found, engine_ms=round((time.perf_counter() - started_s) * 1000))


@dataclass(frozen=True, slots=True)
class _Windows:
    """Short windows with speech, and what they sound like."""

    first_frame: np.ndarray
    """In frames of 10 ms, shape (n,)."""
    embeddings: np.ndarray
    """Unit vectors, shape (n, 192)."""


def _segments(samples: np.ndarray, segmentation: Any, embedder: SpeakerEmbedder, pool: Executor) -> tuple[Segment, ...]:
    if len(samples) < STEP_SAMPLES:
        return ()
    active = activity(samples, segmentation, pool)
    if not (active.speech > SPEECH).any():
        return ()
    windows = _windows(samples, active, embedder, pool)
    voices, similarity = _voices_per_frame(windows, len(active.speech))
    scores = _WINDOW_WEIGHT * voices + (1 - _WINDOW_WEIGHT) * active.named(voices)
    duration_ms = len(samples) * 1000 // SAMPLE_RATE_HZ
    return _named_segments(_speakers_per_frame(active, scores), similarity, duration_ms)


def _windows(samples: np.ndarray, active: Activity, embedder: SpeakerEmbedder, pool: Executor) -> _Windows:
    """Windows of 1.5 s every 0.5 s, embedded from their frames with speech, without overlap where that leaves enough."""
    frames = frame_count(samples)
    centres = (np.arange(frames) * FRAME_SAMPLES + FRAME_SAMPLES // 2 - FIRST_CENTRE) / STEP_SAMPLES
    nearest = np.clip(np.round(centres).astype(np.int64), 0, len(active.speech) - 1)
    speech = (active.speech > SPEECH)[nearest]
    single = speech & ~(active.overlap > OVERLAP)[nearest]

    def usable(first: int) -> np.ndarray:
        part = slice(first, first + _WINDOW_FRAMES)
        return single[part] if single[part].sum() >= _MIN_SPEECH_FRAMES else speech[part]

    starts = range(0, max(1, frames - _WINDOW_FRAMES + 1), _HOP_FRAMES)
    firsts = [first for first in starts if speech[first : first + _WINDOW_FRAMES].sum() >= _MIN_SPEECH_FRAMES]

    def embedded(block: list[int]) -> np.ndarray:
        begin, end = block[0], min(block[-1] + _WINDOW_FRAMES, frames)
        features = filterbank(samples, begin, end)
        stretches = [features[first - begin :][:_WINDOW_FRAMES][usable(first)] for first in block]
        return embedder.embed(stretches)

    embeddings = list(pool.map(embedded, _blocks(firsts)))
    return _Windows(np.array(firsts, dtype=np.int64), np.concatenate(embeddings) if embeddings else np.zeros((0, 192)))


def _blocks(firsts: list[int]) -> list[list[int]]:
    """Windows that lie within a minute of each other, together."""
    blocks: list[list[int]] = []
    for first in firsts:
        if blocks and first - blocks[-1][0] < _BLOCK_WINDOWS * _HOP_FRAMES:
            blocks[-1].append(first)
        else:
            blocks.append([first])
    return blocks


def _voices_per_frame(windows: _Windows, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors of the voices, and similarities to them, per frame of the segmentation: two of shape (frames, k).

    A frame takes the mean of the windows around it, the nearest ones most; where there is none, the nearest window's.
    """
    if len(windows.first_frame) == 0:
        return np.ones((frames, 1), np.float32), np.full((frames, 1), np.nan, np.float32)
    follows = np.diff(windows.first_frame, prepend=-_WINDOW_FRAMES) < _WINDOW_FRAMES
    labels = group_voices(windows.embeddings, follows)
    speech_windows = len(labels)
    least = min(MIN_SPEAKER_MS / (_HOP_FRAMES * 10), MIN_SPEAKER_SHARE * speech_windows)
    posteriors, voices = decode_voices(windows.embeddings, labels, least)
    both = np.hstack([posteriors, windows.embeddings @ voices.T]).astype(np.float32)
    starts = np.round((windows.first_frame * FRAME_SAMPLES - FIRST_CENTRE) / STEP_SAMPLES).astype(np.int64)
    width = round(_WINDOW_FRAMES * FRAME_SAMPLES / STEP_SAMPLES)
    weights = np.bartlett(width + 2)[1:-1].astype(np.float32)
    total, weight = np.zeros((frames, both.shape[1]), np.float32), np.zeros(frames, np.float32)
    for start, row in zip(starts, both, strict=True):
        first, end = max(start, 0), min(start + width, frames)
        total[first:end] += weights[first - start : end - start, None] * row
        weight[first:end] += weights[first - start : end - start]
    bare = np.flatnonzero(weight < 1e-3)
    total[bare] = both[_nearest(starts + width // 2, bare)]
    weight[bare] = 1
    means = total / weight[:, None]
    return means[:, : len(voices)], means[:, len(voices) :]


def _nearest(sorted_places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The index of the place nearest to each wanted one."""
    right = np.searchsorted(sorted_places, wanted).clip(0, len(sorted_places) - 1)
    left = (right - 1).clip(0)
    return np.where(wanted - sorted_places[left] <= sorted_places[right] - wanted, left, right)


def _speakers_per_frame(active: Activity, scores: np.ndarray) -> np.ndarray:
    """Whether each voice speaks, bool, shape (frames, k): as many of the likeliest as the frame has speakers."""
    count = (active.speech > SPEECH).astype(np.int64)
    count += (active.speech > SPEECH) & (active.overlap > OVERLAP)
    speaks = np.zeros(scores.shape, bool)
    order = np.argsort(-scores, axis=1, kind="stable")
    for rank in range(min(2, scores.shape[1])):
        frames = np.flatnonzero(count > rank)
        frames = frames[(rank == 0) | (scores[frames, order[frames, rank]] > 0.05)]
        speaks[frames, order[frames, rank]] = True
    return speaks


def _named_segments(speaks: np.ndarray, similarity: np.ndarray, duration_ms: int) -> tuple[Segment, ...]:
    """Stretches of each voice over short pauses, ordered by start; S1, S2, … in order of appearance."""
    found = []
    for voice in range(speaks.shape[1]):
        for first, end in _bridged(speaks, voice):
            sure = float(similarity[first:end, voice][speaks[first:end, voice]].mean())
            start_ms = max(0, _time_ms(first) - PAD_MS)
            end_ms = min(duration_ms, _time_ms(end) + PAD_MS)
            found.append((start_ms, end_ms, voice, None if np.isnan(sure) else round(min(max(sure, 0.0), 1.0), 4)))
    found.sort(key=lambda one: one[:3])
    names = {voice: f"S{i}" for i, voice in enumerate(dict.fromkeys(one[2] for one in found), start=1)}
    return tuple(Segment(names[voice], start, end, sure) for start, end, voice, sure in found if start < end)


def _bridged(speaks: np.ndarray, voice: int) -> list[tuple[int, int]]:
    """Frames `[first, end)` of one voice's stretches, joined over pauses without speech."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], speaks[:, voice], [False])))).reshape(-1, 2)
    longest = MAX_PAUSE_MS * SAMPLE_RATE_HZ // 1000 // STEP_SAMPLES
    stretches: list[tuple[int, int]] = []
    for first, end in edges.tolist():
        if stretches and first - stretches[-1][1] <= longest and not speaks[stretches[-1][1] : first].any():
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((first, end))
    return stretches


def _time_ms(frame: int) -> int:
    """The border before a frame, halfway between its centre and the one before."""
    return max(0, round((frame * STEP_SAMPLES + FIRST_CENTRE - STEP_SAMPLES / 2) * 1000 / SAMPLE_RATE_HZ))
