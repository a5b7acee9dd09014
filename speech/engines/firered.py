"""Transcriber `firered` for Chinese: FireRedASR-AED (Xu et al. 2025, arXiv:2501.14350).

The first version gives text alone: word times are spread over the speech in a chunk and marked as
estimated, confidence stays NULL. FireRedASR2, where it is installed, gives both.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from speech.chunks import silence_bounded
from speech.engines import torch_runtime
from speech.engines.firered_models import LOADERS, Recognise, Recognised
from speech.engines.installed import first_importable
from speech.engines.protocols import DeviceUse, EngineChoice, EngineSpec
from speech.engines.waveform import samples_of
from speech.errors import BadOutput, EngineUnavailable, OutOfMemory, PodlakeError
from speech.types import SAMPLE_RATE_HZ, Recording, Span, Transcript, Word
from speech.vad import FOR_TRANSCRIPTION, speech_spans

FILES = ("model.pth.tar", "cmvn.ark", "dict.txt", "train_bpe1000.model")
"""Files of a model's folder."""
MAX_CHUNK_MS = 20_000
"""The model takes 60 s; the shorter a chunk, the closer are times that are spread over it."""
MIN_CHUNK_MS = 100
"""The model fails on fewer frames."""
BATCH_S = 120
SPEECH_HAS_WORDS_MS = 5_000
"""More speech than this without a word is a failure."""
NO_CONFIDENCE = "FireRedASR-AED gives no confidence"

_UNITS = re.compile(r"[^\W\d_\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+(?:'\w+)*|\d+|\S")
"""A Chinese word is one character; any other word ends at a space or at a Chinese character."""


def describe(choice: EngineChoice) -> EngineSpec:
    """`choice.model` is the folder of the weights; there is no default."""
    return EngineSpec(
        name="firered",
        model=choice.model or "",
        revision=_revision(Path(choice.model).expanduser()) if choice.model else "absent",
        settings={"package": _package(choice) or "fireredasr", "max_chunk_ms": MAX_CHUNK_MS},
        languages=frozenset({"zh"}),
        needs_gpu=True,
    )


def load(choice: EngineChoice, device: str) -> FireRed:
    folder = Path(choice.model).expanduser() if choice.model else None
    missing = FILES if folder is None else [name for name in FILES if not (folder / name).is_file()]
    if folder is None or missing:
        raise EngineUnavailable(
            f"FireRedASR needs the folder of its weights, and {str(folder) if folder else 'none'} was given, in which "
            f"there is no {', '.join(missing)}. Download FireRedTeam/FireRedASR-AED-L from the model hub and "
            "choose it as firered:/path/to/FireRedASR-AED-L."
        )
    package = _package(choice)
    if package is None:
        raise EngineUnavailable(
            "The engine `firered` needs the package fireredasr, which is not installed. Install it with: make firered"
        )
    try:
        recognise = LOADERS[package](folder.resolve(), device)
    except Exception as error:
        raise EngineUnavailable(
            f"FireRedASR could not be loaded from {folder}: {type(error).__name__}: {error}. "
            "A damaged download, or too little memory: the model takes 5 GB while it loads."
        ) from error
    return FireRed(describe(choice), recognise, device)


class FireRed:
    """A warm model."""

    def __init__(self, spec: EngineSpec, recognise: Recognise, device: str) -> None:
        self.spec = spec
        self.batch_s = float(BATCH_S)
        self._recognise: Recognise | None = recognise
        self._device = device

    def transcribe(self, recordings: Iterable[Recording]) -> Iterator[tuple[Recording, Transcript | PodlakeError]]:
        torch_runtime.forget_peak(self._device)
        for recording in recordings:
            try:
                yield recording, self._transcribe_one(recording)
            except PodlakeError as error:
                yield recording, error

    def device_use(self) -> DeviceUse:
        return torch_runtime.device_use(self._device)

    def close(self) -> None:
        self._recognise = None
        torch_runtime.release_memory()

    def _transcribe_one(self, recording: Recording) -> Transcript:
        began = time.perf_counter()
        samples = samples_of(recording)
        speech = speech_spans(samples, FOR_TRANSCRIPTION)
        chunks = [c for c in silence_bounded(speech, MAX_CHUNK_MS, samples) if c.duration_ms >= MIN_CHUNK_MS]
        words: list[Word] = []
        confident = True
        for idx, (chunk, found) in enumerate(zip(chunks, self._recognised(recording, samples, chunks), strict=True)):
            confident &= found.confidence is not None
            words += _words(found, chunk, speech, idx)
        speech_ms = sum(span.duration_ms for span in speech)
        if not words and speech_ms > SPEECH_HAS_WORDS_MS:
            raise BadOutput(
                f"FireRedASR found no word in {speech_ms / 1000:.0f} s of speech in {recording.episode_id}: "
                "a language other than Chinese, or music that passes for speech."
            )
        return Transcript(
            words=tuple(words),
            speech_ms=speech_ms,
            confidence_absent=None if confident else NO_CONFIDENCE,
            engine_ms=round((time.perf_counter() - began) * 1000),
        )

    def _recognised(self, recording: Recording, samples: np.ndarray, chunks: Sequence[Span]) -> Iterator[Recognised]:
        """The text of every chunk, in order; batches by seconds, halved when memory does not suffice."""
        assert self._recognise is not None
        done = 0
        while done < len(chunks):
            batch = chunks[done : done + max(1, int(self.batch_s * 1000 / MAX_CHUNK_MS))]
            try:
                found = self._recognise([_cut(samples, chunk) for chunk in batch])
            except Exception as error:
                if not torch_runtime.is_out_of_memory(error):
                    raise BadOutput(
                        f"FireRedASR failed on {recording.episode_id}: {type(error).__name__}: {error}"
                    ) from error
                if len(batch) == 1:
                    raise OutOfMemory(
                        f"FireRedASR ran out of memory on one chunk of {recording.episode_id}: {error}"
                    ) from None
                found = []
            if not found:  # out of the except block, whose traceback holds the batch's tensors
                torch_runtime.release_memory()
                self.batch_s = len(batch) * MAX_CHUNK_MS / 2000
            yield from found
            done += len(found)
            if found:
                recording.report(batch[-1].end_ms)


def _cut(samples: np.ndarray, chunk: Span) -> np.ndarray:
    per_ms = SAMPLE_RATE_HZ // 1000
    return np.array(samples[chunk.start_ms * per_ms : chunk.end_ms * per_ms])


def _words(found: Recognised, chunk: Span, speech: Sequence[Span], chunk_idx: int) -> list[Word]:
    if found.tokens is not None:
        timed = [(text, Span(_at(chunk, start_s), _at(chunk, end_s))) for text, start_s, end_s in found.tokens]
    else:
        units = _UNITS.findall(found.text)
        timed = list(zip(units, _spread(len(units), chunk, speech), strict=True))
    estimated = found.tokens is None
    return [
        Word(text, span.start_ms, span.end_ms, found.confidence, chunk_idx, times_estimated=estimated)
        for text, span in timed
    ]


def _at(chunk: Span, seconds: float) -> int:
    return min(chunk.start_ms + round(seconds * 1000), chunk.end_ms)


def _spread(count: int, chunk: Span, speech: Sequence[Span]) -> list[Span]:
    """As many equal parts of the speech in a chunk; pauses belong to none."""
    inside = [
        Span(max(span.start_ms, chunk.start_ms), min(span.end_ms, chunk.end_ms))
        for span in speech
        if span.start_ms < chunk.end_ms and span.end_ms > chunk.start_ms
    ]
    total_ms = sum(span.duration_ms for span in inside)
    starts = [_within(inside, total_ms * i // count) for i in range(count)]
    ends = [_within(inside, max(0, total_ms * (i + 1) // count - 1)) + 1 for i in range(count)]
    return [Span(start, max(start, end)) for start, end in zip(starts, ends, strict=True)]


def _within(spans: Sequence[Span], offset_ms: int) -> int:
    """The time at which so much of the spans has passed."""
    for span in spans:
        if offset_ms < span.duration_ms:
            return span.start_ms + offset_ms
        offset_ms -= span.duration_ms
    return spans[-1].end_ms


def _package(choice: EngineChoice) -> str | None:
    """The package that the engine runs with, under the interpreter that it runs under."""
    return first_importable(tuple(LOADERS), choice.options.get("python"))


def _revision(folder: Path) -> str:
    """16 hex digits over the sizes of the files, the small ones whole, and the first and last MB of the weights."""
    if not all((folder / name).is_file() for name in FILES):
        return "absent"
    digest = hashlib.sha256()
    for name in FILES:
        with (folder / name).open("rb") as file:
            size = file.seek(0, 2)
            digest.update(f"{name} {size}\n".encode())
            file.seek(0)
            digest.update(file.read(1 << 20))
            file.seek(max(1 << 20, size - (1 << 20)))
            digest.update(file.read())
    return digest.hexdigest()[:16]
