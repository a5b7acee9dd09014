"""Results of engines as JSON, for processes that do not trust each other. Reading checks what a landing relies on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields

import numpy as np
from pydantic import TypeAdapter, ValidationError

from speech.engines.protocols import Slot
from speech.errors import BadOutput
from speech.types import Diarization, Segment, Transcript, Word

RecordingResult = Diarization | Transcript
"""What engines make of recordings."""
LATEST_END_MS = 1_000
"""How far after the decoded end a time may lie: engines round up to their frames."""
LONGEST_LABEL = 200
"""Characters of a word or of a name."""


@dataclass(frozen=True)
class _DiarizationJson:
    """A `Diarization` with its vectors as lists."""

    segments: tuple[Segment, ...]
    speaker_capacity: int | None = None
    embeddings: dict[str, list[float]] = field(default_factory=dict)
    embedding_model: str | None = None
    embedding_speech_ms: dict[str, int] = field(default_factory=dict)
    engine_ms: int = 0


_TRANSCRIPT, _DIARIZATION = TypeAdapter(Transcript), TypeAdapter(_DiarizationJson)


def result_json(result: RecordingResult) -> bytes:
    """The result as UTF-8 JSON."""
    if isinstance(result, Transcript):
        return _TRANSCRIPT.dump_json(result)
    vectors = {speaker: vector.astype(float).tolist() for speaker, vector in result.embeddings.items()}
    own = {one.name: getattr(result, one.name) for one in fields(result)}
    return _DIARIZATION.dump_json(_DiarizationJson(**{**own, "embeddings": vectors}))


def result_from_json(slot: Slot, data: bytes, audio_ms: int) -> RecordingResult:
    """The result of an engine that worked on `audio_ms` of audio. Raises `BadOutput` for anything that it cannot be."""
    try:
        if slot == "transcriber":
            transcript = _TRANSCRIPT.validate_json(data, strict=True)
            _check(_wrong_words(transcript, audio_ms))
            return transcript
        found = _DIARIZATION.validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BadOutput(f"It is no result of a {slot}: {place}: {first['msg']}") from error
    _check(_wrong_segments(found, audio_ms))
    vectors = {speaker: np.asarray(vector, np.float32) for speaker, vector in found.embeddings.items()}
    own = {one.name: getattr(found, one.name) for one in fields(found)}
    return Diarization(**{**own, "embeddings": vectors})


def _check(wrong: Iterator[str]) -> None:
    for first in wrong:
        raise BadOutput(first)


def _wrong_words(found: Transcript, audio_ms: int) -> Iterator[str]:
    yield from _wrong_spans("word", found.words, audio_ms)
    for index, word in enumerate(found.words):
        if not word.text.strip() or len(word.text) > LONGEST_LABEL or word.chunk_idx < 0:
            yield f"Word {index} has no text, {LONGEST_LABEL} characters or more, or a chunk below 0."
    if not 0 <= found.speech_ms <= audio_ms + LATEST_END_MS or min(found.engine_ms, found.dropped_words or 0) < 0:
        yield "The duration of speech, the engine's time or the number of dropped words is impossible."
    for one in found.spoken_languages:
        if not (_is_share(one.probability) and _is_share(one.share_of_windows) and one.language.isascii()):
            yield f"A spoken language is impossible: {asdict(one)}"


def _wrong_segments(found: _DiarizationJson, audio_ms: int) -> Iterator[str]:
    yield from _wrong_spans("segment", found.segments, audio_ms)
    speakers = {segment.speaker for segment in found.segments}
    if any(not 0 < len(speaker) <= LONGEST_LABEL for speaker in speakers):
        yield "A speaker has no label, or a very long one."
    if found.speaker_capacity is not None and found.speaker_capacity < len(speakers):
        yield f"There are more speakers than the engine can tell apart: {len(speakers)}."
    for speaker, vector in found.embeddings.items():
        if speaker not in speakers or not vector or not all(map(math.isfinite, vector)):
            yield f"The embedding of {speaker!r} belongs to no segment, is empty, or is not finite."
    if len({len(vector) for vector in found.embeddings.values()}) > 1:
        yield "The embeddings have different lengths."
    if found.engine_ms < 0 or any(ms < 0 for ms in found.embedding_speech_ms.values()):
        yield "A duration is below 0."


def _wrong_spans(name: str, spans: Iterable[Word | Segment], audio_ms: int) -> Iterator[str]:
    last_ms = 0
    for index, span in enumerate(spans):
        if not last_ms <= span.start_ms <= span.end_ms <= audio_ms + LATEST_END_MS:
            yield (
                f"{name.capitalize()} {index} is at {span.start_ms}–{span.end_ms} ms: before the one before it, "
                f"backwards, or after the end of the audio ({audio_ms} ms)."
            )
        if span.confidence is not None and not _is_share(span.confidence):
            yield f"The confidence of {name} {index} is {span.confidence}."
        last_ms = span.start_ms


def _is_share(value: float) -> bool:
    return 0 <= value <= 1
