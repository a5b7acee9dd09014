"""What an engine makes of a batch: a landing or a failure of each episode, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipeline.audio_inputs import audio_inputs
from pipeline.stage import Batch, Cost, Failure, Landing, Outcome
from resources.engines.routing import Audio, Done
from resources.fetch.audio_store import AudioStore
from resources.lake.catalogue import Catalogue
from speech.engines.protocols import EngineSpec
from speech.types import Diarization, Transcript


def engine_outcomes(
    batch: Batch,
    catalogue: Catalogue,
    store: AudioStore,
    run: Callable[[Iterable[Audio]], Iterator[Done]],
    rows: Callable[[Audio, Any], Mapping[str, Sequence[object]]],
) -> Iterator[Outcome]:
    """`run` takes the audio of the batch; `rows` makes rows of the engine's result for an episode."""
    unreadable: list[Failure] = []
    for done in run(audio_inputs(batch, catalogue, store, unreadable)):
        key, cost = done.audio.episode_id, _cost_of(done)
        if done.result is None:
            yield Failure(key, done.error or RuntimeError("The engine gave no result."), cost)
        else:
            yield Landing(key, rows(done.audio, done.result), cost)
    yield from unreadable


def _cost_of(done: Done) -> Cost:
    result, spec = done.result, done.spec
    return Cost(
        audio_sha256=done.audio.audio_sha256,
        engine_fingerprint=spec.fingerprint if spec else None,
        engine=spec.name if spec else None,
        model=_model(spec) if spec else None,
        device=done.device,
        peak_device_mb=done.peak_device_mb,
        speaker_capacity=result.speaker_capacity if isinstance(result, Diarization) else None,
        speech_ms=result.speech_ms if isinstance(result, Transcript) else None,
        spoken_languages=result.spoken_languages if isinstance(result, Transcript) else None,
        spoken_language_absent_reason=_no_language(result),
        dropped_words=result.dropped_words if isinstance(result, Transcript) else None,
        decode_ms=done.decode_ms,
        engine_ms=result.engine_ms if result else None,
        audio_ms=done.audio_ms,
        engine_utilization=done.utilization,
    )


def _no_language(result: Diarization | Transcript | None) -> str | None:
    if not isinstance(result, Transcript) or result.spoken_languages:
        return None
    return result.spoken_languages_absent or "the transcriber identifies no language"


def _model(spec: EngineSpec) -> str:
    """What a person tells models apart by: name, revision, and the preset where there is one."""
    return " ".join(str(part) for part in (spec.model, spec.revision, spec.settings.get("preset")) if part)
