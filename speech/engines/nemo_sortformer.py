"""Diarizer `nemo`: NVIDIA's streaming Sortformer, who speaks when among at most four speakers.

Sortformer (Park et al. 2024, arXiv:2409.06656) gives each speaker's activity every 80 ms; its streaming
form (Medennikov et al. 2025, arXiv:2507.18446) goes through a recording chunk by chunk and carries a
cache of every speaker's most telling frames along, so that labels hold for the whole of it. Features
are computed chunk by chunk from the memory-mapped waveform: memory does not grow with its length.
Each recording is a stream of its own, since the padding of a batch would change the results.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from speech.engines import nemo_runtime, torch_runtime
from speech.engines.protocols import DeviceUse, EngineChoice, EngineSpec
from speech.engines.waveform import samples_of
from speech.errors import BadOutput, EngineUnavailable, OutOfMemory, PodlakeError
from speech.types import SAMPLE_RATE_HZ, Diarization, Recording, Segment

DEFAULT_MODEL = "nvidia/diar_streaming_sortformer_4spk-v2"
MODEL_CLASS = "SortformerEncLabelModel"
FRAME_MS = 80
ACTIVE = 0.5
"""A speaker is active in frames whose posterior reaches this."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Sizes of the stream's parts in frames of 80 ms, named as NeMo's `sortformer_modules` names them."""

    chunk_len: int
    chunk_right_context: int
    """Frames after a chunk that the model sees before it decides."""
    fifo_len: int
    """The latest frames, unchanged."""
    spkcache_update_period: int
    """Frames that move from the FIFO to the cache at once."""
    spkcache_len: int
    """The most characteristic frames of all speakers so far."""


PRESETS = {
    "very_high_latency": Preset(340, 40, 40, 300, 188),
    "high_latency": Preset(124, 1, 124, 124, 188),
    "low_latency": Preset(6, 7, 188, 144, 188),
    "ultra_low_latency": Preset(3, 1, 188, 144, 188),
}
DEFAULT_PRESET = "high_latency"


def describe(choice: EngineChoice) -> EngineSpec:
    """Options: `preset`, one of `PRESETS`."""
    model = choice.model or DEFAULT_MODEL
    preset = choice.options.get("preset", DEFAULT_PRESET)
    if preset not in PRESETS:
        raise EngineUnavailable(f"Sortformer has no preset {preset!r}. Choose one of: {', '.join(PRESETS)}.")
    return EngineSpec(
        name="nemo",
        model=model,
        revision=nemo_runtime.model_revision(model),
        settings={"preset": preset, **asdict(PRESETS[preset])},
        needs_gpu=True,
    )


def load(choice: EngineChoice, device: str) -> Sortformer:
    spec = describe(choice)
    model = nemo_runtime.load_model(spec.model, MODEL_CLASS, device)
    return Sortformer(describe(choice), model)  # described again: a download gives the model its commit


class Sortformer:
    """A warm model. Recordings go through it one after the other."""

    def __init__(self, spec: EngineSpec, model: Any) -> None:
        self.spec = spec
        self._model = model
        apply_preset(model, PRESETS[str(spec.settings["preset"])])

    def diarize(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Diarization | PodlakeError]]:
        torch_runtime.forget_peak(str(self._model.device))
        for recording in recordings:
            try:
                yield recording, self._diarize_one(recording)
            except PodlakeError as error:
                yield recording, error

    def device_use(self) -> DeviceUse:
        return torch_runtime.device_use(str(self._model.device))

    def close(self) -> None:
        self._model = None
        torch_runtime.release_memory()

    def _diarize_one(self, recording: Recording) -> Diarization:
        began = time.perf_counter()
        samples = samples_of(recording)
        activity = self._activity(recording, samples)
        return Diarization(
            segments=segments_of(activity, duration_ms=len(samples) * 1000 // SAMPLE_RATE_HZ),
            speaker_capacity=self._model.sortformer_modules.n_spk,
            engine_ms=round((time.perf_counter() - began) * 1000),
        )

    def _activity(self, recording: Recording, samples: np.ndarray) -> np.ndarray:
        try:
            activity = speaker_activity(self._model, samples, recording.report)
        except RuntimeError as error:
            if not torch_runtime.is_out_of_memory(error):
                raise
            torch_runtime.release_memory()
            raise OutOfMemory(
                f"Sortformer ran out of memory on {recording.episode_id}: it needs the same for every length, "
                "so something else fills the device, or it is too small."
            ) from None
        if not np.isfinite(activity).all():
            raise BadOutput(f"Sortformer gave posteriors that are no numbers for {recording.episode_id}.")
        return activity


def apply_preset(model: Any, preset: Preset) -> None:
    """Set the stream's sizes; NeMo checks that they fit together."""
    modules = model.sortformer_modules
    for name, frames in asdict(preset).items():
        setattr(modules, name, frames)
    modules._check_streaming_parameters()
    model.streaming_mode = True
    model.async_streaming = False  # True makes up speakers: NVIDIA-NeMo/Speech issue 16002


def speaker_activity(model: Any, samples: np.ndarray, report: Callable[[int], None] = lambda _: None) -> np.ndarray:
    """Every speaker's posterior in every 80 ms of a waveform: float32, shape (frames, speakers).

    The same as one call of NeMo's `diarize` on the whole waveform gives, in constant memory.
    `samples`: int16, 16 kHz, shape (n,).
    """
    import torch

    modules = model.sortformer_modules
    nothing = torch.zeros(1, 0, modules.n_spk, device=model.device)
    activity, done_ms = [nothing], 0
    with torch.inference_mode():
        state = modules.init_streaming_state(batch_size=1, async_streaming=False, device=model.device)
        for features, left, right in _chunks(model, samples):
            state, chunk_activity = model.forward_streaming_step(
                processed_signal=features,
                processed_signal_length=torch.tensor([features.shape[1]], device=model.device),
                streaming_state=state,
                total_preds=nothing,
                left_offset=left,
                right_offset=right,
            )
            activity.append(chunk_activity)
            done_ms += chunk_activity.shape[1] * FRAME_MS
            report(done_ms)
        return torch.cat(activity, dim=1)[0].float().cpu().numpy()


def _chunks(model: Any, samples: np.ndarray) -> Iterator[tuple[Any, int, int]]:
    """Chunks of features, shape (1, feature frames, mels), with the context in them left and right."""
    modules = model.sortformer_modules
    per_frame = modules.subsampling_factor
    feature_frames = len(samples) // model.preprocessor.featurizer.hop_length
    for start in range(0, feature_frames, modules.chunk_len * per_frame):
        end = min(start + modules.chunk_len * per_frame, feature_frames)
        left = min(modules.chunk_left_context * per_frame, start)
        right = min(modules.chunk_right_context * per_frame, feature_frames - end)
        yield _features(model, samples, start - left, end + right), left, right


def _features(model: Any, samples: np.ndarray, start: int, end: int) -> Any:
    """Mel features of the feature frames `[start, end)`, shape (1, end - start, mels).

    A frame sees half a window to both sides, and pre-emphasis one sample more to the left: with two
    frames of margin, the frames in between are those of the whole waveform.
    """
    import torch

    margin = 2
    hop = model.preprocessor.featurizer.hop_length
    first = max(0, start - margin)
    part = torch.from_numpy(samples[first * hop : (end + margin) * hop].astype(np.float32) / 32768)
    signal = part.to(model.device).unsqueeze(0)
    features, _ = model.preprocessor(input_signal=signal, length=torch.tensor([len(part)], device=model.device))
    return features[:, :, start - first : end - first].transpose(1, 2)


def segments_of(activity: np.ndarray, duration_ms: int) -> tuple[Segment, ...]:
    """Spans in which a speaker is active, of all speakers, ordered by start; they may overlap.

    Speakers are called S1, S2, … in the order in which they first speak. Confidence is the mean posterior.
    """
    runs = [
        (int(start), int(end), column)
        for column in range(activity.shape[1])
        for start, end in _runs(activity[:, column] >= ACTIVE)
    ]
    runs.sort()
    labels = {column: f"S{i}" for i, column in enumerate(dict.fromkeys(column for *_, column in runs), start=1)}
    return tuple(
        Segment(
            speaker=labels[column],
            start_ms=start * FRAME_MS,
            end_ms=min(end * FRAME_MS, duration_ms),
            confidence=float(activity[start:end, column].mean()),
        )
        for start, end, column in runs
    )


def _runs(active: np.ndarray) -> np.ndarray:
    """First and after-last index of every stretch of True, shape (stretches, 2)."""
    return np.flatnonzero(np.diff(np.concatenate(([False], active, [False])))).reshape(-1, 2)
