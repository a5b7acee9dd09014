"""What a worker makes of a job, as the JSON that it sends: a result or a typed error, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from resources.engines.routing import Audio, Done, WorkerIdentity
from speech import errors
from speech.engines.protocols import EngineSpec, Slot
from speech.engines.results import RecordingResult, result_from_json, result_json
from speech.errors import BadOutput, PodlakeError
from speech.types import SpokenLine

LONGEST_MESSAGE = 2_000
LONGEST_AUDIO_MS = 7 * 24 * 3_600_000
"""A week: what is longer is no episode."""

_ERRORS: dict[str, type[PodlakeError]] = {
    error.error_class: error
    for error in (
        errors.NotAudio, errors.Undecodable, errors.LanguageWithoutEngine, errors.OutOfMemory, errors.BadOutput,
        errors.EngineCrashed, errors.StorageError, PodlakeError,
    )
}  # fmt: skip
"""The classes of errors that a worker can have."""


@dataclass(frozen=True)
class JobOutcome:
    """Exactly one of `result` and `error_class` is set."""

    host: Annotated[str, Field(max_length=200)]
    version: Annotated[str, Field(max_length=50)]
    device: Annotated[str, Field(max_length=200)] | None = None
    peak_device_mb: Annotated[float, Field(ge=0)] | None = None
    decode_ms: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    audio_ms: Annotated[int, Field(ge=0, le=LONGEST_AUDIO_MS)] | None = None
    utilization: Annotated[float, Field(ge=0, le=1)] | None = None
    result: str | None = None
    """JSON of `speech.engines.results`."""
    error_class: str | None = None
    message: Annotated[str, Field(max_length=LONGEST_MESSAGE)] = ""


_OUTCOME = TypeAdapter(JobOutcome)


def outcome_json(done: Done, *, host: str, version: str) -> bytes:
    """What the worker's own engine host says of a job."""
    error = done.error
    assert not isinstance(done.result, SpokenLine), "jobs are recordings"
    return _OUTCOME.dump_json(
        JobOutcome(
            host=host,
            version=version,
            device=done.device,
            peak_device_mb=done.peak_device_mb,
            decode_ms=done.decode_ms,
            audio_ms=done.audio_ms,
            utilization=done.utilization,
            result=None if done.result is None else result_json(done.result).decode(),
            error_class=_class_of(error) if done.result is None else None,
            message="" if done.result is not None else str(error)[:LONGEST_MESSAGE],
        )
    )


def check_outcome(data: bytes, slot: Slot) -> None:
    """Raises `BadOutput` for what no engine can have made."""
    _read(data, slot)


def done_from_json(data: bytes, slot: Slot, audio: Audio, spec: EngineSpec, worker: str) -> Done:
    """The outcome as an engine host yields it. Raises `BadOutput` for what no engine can have made."""
    outcome, result, error = _read(data, slot)
    return Done(
        audio, result, error, spec, outcome.device, outcome.peak_device_mb, outcome.decode_ms, outcome.audio_ms,
        outcome.utilization, WorkerIdentity(worker, outcome.host, outcome.version),
    )  # fmt: skip


def _read(data: bytes, slot: Slot) -> tuple[JobOutcome, RecordingResult | None, PodlakeError | None]:
    try:
        outcome = _OUTCOME.validate_json(data, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadOutput(f"It is no outcome of a job: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    if (outcome.result is None) == (outcome.error_class is None):
        raise BadOutput("The outcome of a job has either a result or an error.")
    if outcome.result is not None:
        if outcome.audio_ms is None:
            raise BadOutput("A result says how long its audio is.")
        return outcome, result_from_json(slot, outcome.result.encode(), outcome.audio_ms), None
    kind = _ERRORS.get(outcome.error_class or "")
    if kind is None:
        raise BadOutput(f"No engine has an error of the class {outcome.error_class!r:.50}.")
    return outcome, None, kind(outcome.message)


def _class_of(error: Exception | None) -> str:
    found = error.error_class if isinstance(error, PodlakeError) else PodlakeError.error_class
    return found if found in _ERRORS else PodlakeError.error_class
