"""What an engine makes of a batch: a landing or a failure of each episode, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from assets.speech.same_audio_landings import same_audio_landings
from pipeline.audio_inputs import audio_inputs
from pipeline.stage import Batch, Cost, Failure, Landing, Outcome, Stage
from resources.engines.routing import Audio, Done
from resources.fetch.audio_store import AudioStore
from resources.lake.catalogue import Catalogue
from speech.engines.protocols import EngineResult, EngineSpec
from speech.types import Diarization, Transcript


def engine_outcomes(
    stage: Stage,
    batch: Batch,
    catalogue: Catalogue,
    store: AudioStore,
    run: Callable[[Iterable[Audio]], Iterator[Done]],
    rows: Callable[[Audio, Any], Mapping[str, Sequence[object]]],
    fingerprint_for: Callable[[str | None], str | None],
) -> Iterator[Outcome]:
    """`run` takes the audio of the batch; `rows` makes rows of the engine's result for an episode.

    `fingerprint_for` a language is that of the configured engine, None without one. Audio that it has worked on for
    another episode, or for another one of the batch, is not given to it again.
    """
    landed = same_audio_landings(stage, batch, catalogue, fingerprint_for)
    yield from landed.values()
    twins = _twins(batch, catalogue, [key for key in batch.keys if key not in landed])
    unreadable: list[Failure] = []
    for done in run(audio_inputs(replace(batch, keys=tuple(twins)), catalogue, store, unreadable)):
        yield _outcome(done, rows)
        for twin in twins[done.audio.episode_id]:
            audio = replace(done.audio, episode_id=twin)
            yield _outcome(replace(done, audio=audio), rows, reused_from=done.audio.episode_id)
    for failure in unreadable:
        yield from (replace(failure, key=key) for key in (failure.key, *twins[failure.key]))


def _twins(batch: Batch, catalogue: Catalogue, keys: Sequence[str]) -> dict[str, list[str]]:
    """The first episode with each audio and language → the others with the same."""
    entries = catalogue.entries(keys)
    first: dict[tuple[str, str | None], str] = {}
    twins: dict[str, list[str]] = {}
    for key in keys:
        language = entries[key].language if key in entries else None
        twins.setdefault(first.setdefault((batch.audio_sha256(key), language), key), []).append(key)
    return {key: others[1:] for key, others in twins.items()}


def _outcome(
    done: Done, rows: Callable[[Audio, Any], Mapping[str, Sequence[object]]], reused_from: str | None = None
) -> Outcome:
    key, cost = done.audio.episode_id, _cost_of(done)
    if reused_from:
        cost = replace(cost, decode_ms=None, engine_ms=None, audio_ms=None, device=None, reused_from=reused_from)
    if done.result is None:
        return Failure(key, done.error or RuntimeError("The engine gave no result."), cost)
    return Landing(key, rows(done.audio, done.result), cost)


def _cost_of(done: Done) -> Cost:
    result, spec, worker = done.result, done.spec, done.ran_on
    return Cost(
        audio_sha256=done.audio.audio_sha256,
        engine_fingerprint=done.fingerprint or (spec.fingerprint if spec else None),
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
        worker=worker.name if worker else None,
        worker_host=worker.host if worker else None,
        worker_version=worker.version if worker else None,
        redone_from=done.redone_from,
    )


def _no_language(result: EngineResult | None) -> str | None:
    if not isinstance(result, Transcript) or result.spoken_languages:
        return None
    return result.spoken_languages_absent or "the transcriber identifies no language"


def _model(spec: EngineSpec) -> str:
    """What a person tells models apart by: name, revision, and the preset where there is one."""
    return " ".join(str(part) for part in (spec.model, spec.revision, spec.settings.get("preset")) if part)
