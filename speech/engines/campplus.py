"""The diarizer `campplus`: any number of speakers, with overlap, on a CPU or a GPU, without torch.

1. Local segmentation (`campplus_activity`) tells when there is speech, where it overlaps, and which frames within 10 s
   have the same speaker.
2. CAM++ (Wang et al. 2023, arXiv:2303.00332) embeds windows of 1.5 s, and of 0.5 s near changes of voice
   (`campplus_voices`), from speech without overlap.
3. Clustering and a hidden Markov model (`clustering`) turn the windows into voices.
4. Each frame goes to the one or two voices that windows and local speakers together make most likely.

Windows are used for step 3 rather than one embedding per local speaker, because the segmentation takes two voices for
one where turns are quick: with the best names for its local speakers, 25 % of the time has the wrong speaker.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np

from speech.cores import usable_cores
from speech.engines.campplus_activity import FIRST_CENTRE, OVERLAP, SPEECH, STEP_SAMPLES, Activity, activity
from speech.engines.campplus_voices import WindowEmbedder, voices_per_frame
from speech.engines.installed import revision
from speech.engines.onnx_models import SHA256, session
from speech.engines.protocols import ON_CPU, DeviceUse, EngineChoice, EngineSpec
from speech.engines.speaker_embeddings import SpeakerEmbedder, with_speaker_embeddings
from speech.engines.waveform import samples_of
from speech.errors import OutOfMemory, PodlakeError
from speech.types import SAMPLE_RATE_HZ, Diarization, Recording, Segment

MAX_PAUSE_MS = 1_200
"""Shorter pauses of one speaker belong to the segment unless another speaks in them."""
PAD_MS = 100
_METHOD = 4
"""Counts up when the method changes what it finds."""
_LEAST_SECOND = 0.05
"""The second speaker of a frame has at least this score."""
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
            segments = _segments(samples, self._segmentation, self._embedder, self._pool, recording.report)
            found = with_speaker_embeddings(Diarization(segments), samples, self._embedder)
        except OutOfMemory as error:
            raise OutOfMemory(f"{recording.episode_id}: {self._device}: {error}") from None
        return replace(found, engine_ms=round((time.perf_counter() - started_s) * 1000))


def _segments(
    samples: np.ndarray, segmentation: Any, embedder: SpeakerEmbedder, pool: Executor, report: Callable[[int], None]
) -> tuple[Segment, ...]:
    """The segmentation counts as half of the work."""
    if len(samples) < STEP_SAMPLES:
        return ()
    duration_ms = len(samples) * 1000 // SAMPLE_RATE_HZ
    active = activity(samples, segmentation, pool, lambda share: report(round(share * duration_ms / 2)))
    if not (active.speech > SPEECH).any():
        return ()
    windows = WindowEmbedder(
        samples, active, embedder, pool, lambda share: report(round((1 + share) * duration_ms / 2))
    )
    voices, similarity = voices_per_frame(windows, len(active.speech))
    scores = active.named(voices)
    scores *= 1 - _WINDOW_WEIGHT
    voices *= np.float16(_WINDOW_WEIGHT)
    scores += voices
    return _named_segments(_speakers_per_frame(active, scores), similarity, duration_ms)


def _speakers_per_frame(active: Activity, scores: np.ndarray) -> np.ndarray:
    """Whether each voice speaks, bool, shape (frames, k): as many of the likeliest as the frame has speakers."""
    speaks = np.zeros(scores.shape, bool)
    speech = np.flatnonzero(active.speech > SPEECH)
    likeliest = scores.argmax(axis=1)
    speaks[speech, likeliest[speech]] = True
    overlap = speech[active.overlap[speech] > OVERLAP]
    others = scores[overlap]
    others[np.arange(len(overlap)), likeliest[overlap]] = 0
    second = others.argmax(axis=1)
    likely = others[np.arange(len(overlap)), second] > _LEAST_SECOND
    speaks[overlap[likely], second[likely]] = True
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
