"""Transcriber `nemo`: NVIDIA's Parakeet, a FastConformer with a token-and-duration transducer (TDT).

TDT (Xu et al. 2023, arXiv:2304.06795) predicts with every token how long it lasts: word times come
with the words. Speech is cut into silence-bounded chunks of at most 30 s; the chunks of several
recordings are sorted by length and decoded in batches of a number of seconds, straight from the
memory-mapped waveforms.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from speech.chunks import silence_bounded
from speech.cores import usable_cores
from speech.engines import nemo_runtime, torch_runtime
from speech.engines.nemo_tdt import decode, set_decoding, words_of
from speech.engines.protocols import DeviceUse, EngineChoice, EngineSpec
from speech.engines.waveform import samples_of
from speech.errors import BadOutput, EngineUnavailable, OutOfMemory, PodlakeError
from speech.types import SAMPLE_RATE_HZ, Recording, Span, Transcript, Word
from speech.vad import FOR_TRANSCRIPTION, speech_spans

DEFAULT_MODEL = "nvidia/parakeet-tdt-0.6b-v3"
MODEL_CLASS = "EncDecRNNTBPEModel"
EUROPEAN = frozenset(
    {"bg", "cs", "da", "de", "el", "en", "es", "et", "fi", "fr", "hr", "hu", "it"}
    | {"lt", "lv", "mt", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "uk"}
)
LANGUAGES = {
    "nvidia/parakeet-tdt-0.6b-v3": EUROPEAN,
    "nvidia/parakeet-tdt-0.6b-v2": frozenset({"en"}),
}
"""Languages of the listed models. The option `languages` gives those of other models."""

MAX_CHUNK_MS = 30_000
BATCH_S = {"cpu": 120.0, "cuda": 1200.0}
"""Audio per batch, padding included. Halved each time memory does not suffice."""
BATCHES_AHEAD = 4
"""Chunks are sorted by length over about this many batches."""
SPEECH_HAS_WORDS_MS = 5_000
"""More speech than this without a word is a failure; less may be a cough or a jingle."""


def describe(choice: EngineChoice) -> EngineSpec:
    """Options: `languages` (`en,de`), `batch_s` (seconds), `cuda_graphs` (`true`, see `load`)."""
    model = choice.model or DEFAULT_MODEL
    listed = frozenset(choice.options.get("languages", "").replace(",", " ").split())
    return EngineSpec(
        name="nemo",
        model=model,
        revision=nemo_runtime.model_revision(model),
        settings={"max_chunk_ms": MAX_CHUNK_MS},
        languages=listed or LANGUAGES.get(model),
        needs_gpu=True,
    )


def load(choice: EngineChoice, device: str) -> Parakeet:
    """A warm engine on `cpu` or `cuda:N`.

    CUDA graphs make decoding faster, but once one is captured, torch can no longer load another model
    in the same process (NVIDIA-NeMo/Speech issue 15423): they are for processes that load one engine.
    """
    spec = describe(choice)
    model = nemo_runtime.load_model(spec.model, MODEL_CLASS, device)
    if model.cfg.decoding.get("model_type") != "tdt":
        raise EngineUnavailable(
            f"The model {spec.model!r} is no TDT model: its words have no durations. Use a Parakeet TDT."
        )
    set_decoding(model, cuda_graphs=choice.options.get("cuda_graphs") == "true")
    batch_s = float(choice.options.get("batch_s", BATCH_S[device.partition(":")[0]]))
    return Parakeet(describe(choice), model, batch_s)  # described again: a download gives the model its commit


@dataclass(eq=False, slots=True)
class _Job:
    """A recording in progress: its chunks, and the words of the decoded ones."""

    recording: Recording
    samples: np.ndarray
    chunks: Sequence[Span]
    speech_ms: int
    words: dict[int, list[Word]] = field(default_factory=dict)
    error: PodlakeError | None = None
    engine_s: float = 0.0
    decoded_ms: int = 0

    def finished(self) -> bool:
        return len(self.words) == len(self.chunks)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A chunk of a job."""

    job: _Job
    idx: int

    @property
    def span(self) -> Span:
        return self.job.chunks[self.idx]

    def samples(self) -> np.ndarray:
        per_ms = SAMPLE_RATE_HZ // 1000
        return self.job.samples[self.span.start_ms * per_ms : self.span.end_ms * per_ms]


class Parakeet:
    """A warm model."""

    def __init__(self, spec: EngineSpec, model: Any, batch_s: float) -> None:
        self.spec = spec
        self.batch_s = batch_s
        self._model = model

    def transcribe(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Transcript | PodlakeError]]:
        """Recordings are read ahead until they fill some batches; each is yielded when its last chunk is decoded."""
        torch_runtime.forget_peak(str(self._model.device))
        window: list[_Job] = []
        waiting_ms = 0
        for job in _ahead(_job, recordings, workers=usable_cores()):
            window.append(job)
            waiting_ms += sum(chunk.duration_ms for chunk in job.chunks)
            if waiting_ms >= self.batch_s * BATCHES_AHEAD * 1000:
                yield from self._decode_window(window)
                window, waiting_ms = [], 0
        yield from self._decode_window(window)

    def device_use(self) -> DeviceUse:
        return torch_runtime.device_use(str(self._model.device))

    def close(self) -> None:
        self._model = None
        torch_runtime.release_memory()

    def _decode_window(self, jobs: Sequence[_Job]) -> Iterator[tuple[Recording, Transcript | PodlakeError]]:
        yield from ((job.recording, _result(job)) for job in jobs if job.finished())
        pieces = [_Piece(job, idx) for job in jobs for idx in range(len(job.chunks))]
        pieces.sort(key=lambda piece: -piece.span.duration_ms)  # longest first: too large a batch shows at once
        while pieces:
            batch = pieces[: self._batch_size(pieces[0])]
            if not self._decode_batch(batch):
                continue
            pieces = pieces[len(batch) :]
            done = dict.fromkeys(piece.job for piece in batch if piece.job.finished())
            yield from ((job.recording, _result(job)) for job in done)

    def _batch_size(self, longest: _Piece) -> int:
        return max(1, int(self.batch_s * 1000 / max(longest.span.duration_ms, 1000)))

    def _decode_batch(self, batch: Sequence[_Piece]) -> bool:
        """Put the words of a batch into its jobs. False where memory did not suffice: try a smaller batch."""
        began = time.perf_counter()
        try:
            decoded = decode(self._model, [piece.samples() for piece in batch])
        except RuntimeError as error:
            if not torch_runtime.is_out_of_memory(error):
                raise
            decoded = None
        if decoded is None:  # out of the except block, whose traceback holds the batch's tensors
            return self._give_way(batch)
        batch_s, batch_ms = time.perf_counter() - began, sum(piece.span.duration_ms for piece in batch)
        for piece, tokens in zip(batch, decoded, strict=True):
            job, span = piece.job, piece.span
            job.engine_s += batch_s * span.duration_ms / batch_ms
            job.words[piece.idx] = words_of(tokens or [], span, piece.idx)
            job.decoded_ms += span.duration_ms
            share = job.decoded_ms / sum(chunk.duration_ms for chunk in job.chunks)
            job.recording.report(round(share * len(job.samples) * 1000 / SAMPLE_RATE_HZ))
            if tokens is None:
                job.error = BadOutput(
                    f"Parakeet gave NaN for {job.recording.episode_id} at {span.start_ms}–{span.end_ms} ms: "
                    "the weights are damaged, or the device is faulty."
                )
        return True

    def _give_way(self, batch: Sequence[_Piece]) -> bool:
        """After running out of memory: half the budget from now on, or the end for a chunk that does not fit alone."""
        torch_runtime.release_memory()
        if len(batch) > 1:
            self.batch_s = len(batch) * batch[0].span.duration_ms / 2000
            return False
        (piece,) = batch
        piece.job.words[piece.idx] = []
        piece.job.error = OutOfMemory(
            f"Parakeet ran out of memory on a single chunk of {piece.span.duration_ms / 1000:.0f} s "
            f"of {piece.job.recording.episode_id}: something else fills the device, or it is too small."
        )
        return True


def _job(recording: Recording) -> _Job:
    """The speech of a recording, or the error of this recording."""
    try:
        samples = samples_of(recording)
        speech = speech_spans(samples, FOR_TRANSCRIPTION)
        chunks = silence_bounded(speech, MAX_CHUNK_MS, samples)
    except PodlakeError as error:
        return _Job(recording, np.empty(0, np.int16), (), 0, error=error)
    return _Job(recording, samples, chunks, sum(span.duration_ms for span in speech))


def _result(job: _Job) -> Transcript | PodlakeError:
    if job.error is not None:
        return job.error
    words = tuple(word for idx in sorted(job.words) for word in job.words[idx])
    if not words and job.speech_ms > SPEECH_HAS_WORDS_MS:
        return BadOutput(
            f"Parakeet found no word in {job.speech_ms / 1000:.0f} s of speech in {job.recording.episode_id}: "
            "a language that the model does not know, or music that passes for speech."
        )
    return Transcript(words, job.speech_ms, engine_ms=round(job.engine_s * 1000))


_In = TypeVar("_In")
_Out = TypeVar("_Out")


def _ahead(function: Callable[[_In], _Out], items: Iterable[_In], workers: int) -> Iterator[_Out]:
    """`map`, a few items ahead in threads: finding speech takes a core longer than a GPU takes to transcribe it."""
    with ThreadPoolExecutor(workers, thread_name_prefix="speech") as pool:
        running: deque[Future[_Out]] = deque()
        for item in items:
            running.append(pool.submit(function, item))
            if len(running) >= workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
