"""Recordings, results and errors as JSON, for engines in a process of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from speech import errors
from speech.engines.protocols import EngineResult, EngineSpec
from speech.errors import PodlakeError
from speech.processes import Json
from speech.types import Diarization, Recording, Segment, SpokenLanguage, Transcript, Word

_ERRORS = {
    cls.error_class: cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, PodlakeError)
}


def packed_spec(spec: EngineSpec) -> Json:
    languages = None if spec.languages is None else sorted(spec.languages)
    return {**asdict(spec), "settings": dict(spec.settings), "languages": languages}


def spec_of(packed: Json) -> EngineSpec:
    languages = packed["languages"]
    return EngineSpec(**{**packed, "languages": None if languages is None else frozenset(languages)})


def packed_recording(recording: Recording) -> Json:
    """The path of its waveform, not the samples."""
    return {**asdict(recording), "waveform_path": str(recording.waveform_path.absolute())}


def recording_of(packed: Json) -> Recording:
    return Recording(**{**packed, "waveform_path": Path(packed["waveform_path"])})


def packed_result(result: EngineResult | PodlakeError) -> Json:
    if isinstance(result, PodlakeError):
        return {"is": "error", "error_class": result.error_class, "message": str(result)}
    if isinstance(result, Transcript):
        return {"is": "transcript", **asdict(result)}
    embeddings = {speaker: vector.tolist() for speaker, vector in result.embeddings.items()}
    return {"is": "diarization", **asdict(result), "embeddings": embeddings}


def result_of(packed: Json) -> EngineResult | PodlakeError:
    fields = dict(packed)
    return _RESULTS[fields.pop("is")](fields)


def _error(fields: Json) -> PodlakeError:
    return _ERRORS[fields["error_class"]](fields["message"])


def _transcript(fields: Json) -> Transcript:
    languages = tuple(SpokenLanguage(**language) for language in fields["spoken_languages"])
    words = tuple(Word(**word) for word in fields["words"])
    return Transcript(**{**fields, "words": words, "spoken_languages": languages})


def _diarization(fields: Json) -> Diarization:
    segments = tuple(Segment(**segment) for segment in fields["segments"])
    embeddings = {speaker: np.array(vector, np.float32) for speaker, vector in fields["embeddings"].items()}
    return Diarization(**{**fields, "segments": segments, "embeddings": embeddings})


_RESULTS: dict[str, Callable[[Json], EngineResult | PodlakeError]] = {
    "error": _error,
    "transcript": _transcript,
    "diarization": _diarization,
}
