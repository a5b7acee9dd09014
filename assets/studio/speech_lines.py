"""`speech_lines`: the voices say the turns, one WAV file each."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa

from pipeline.stage import Batch, Cost, Failure, Landing, Outcome, Stage
from resources.engines.voices import Said, Voices
from resources.lake.lake import Lake
from resources.lake.tables.studio import SCRIPT_TURNS, SCRIPTS, SPEECH_LINES, ScriptTurnRow, SpeechLineRow
from resources.studio.files import StudioFiles
from resources.studio.ledger import Ledger
from speech.engines import registry
from speech.engines.protocols import EngineChoice
from speech.errors import PodcastCancelled, PodlakeError
from speech.types import Line


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    lines = tables["speech_lines"]
    return {
        "lines": lines.num_rows,
        "voices": ", ".join(sorted(set(lines["engine"].to_pylist()))),
        "speech_s": sum(lines["duration_ms"].to_pylist()) / 1000,
        "dagster/row_count": lines.num_rows,
    }


@Stage(
    tables=(SPEECH_LINES,), ui_metadata=_ui_metadata, group="studio", batch_size=1, version="1", inputs=("script",),
    partition_kind="podcast", pool="studio", engine_slot="synthesizer", kinds=frozenset({"wav", "parquet"}),
)  # fmt: skip
def speech_lines(
    batch: Batch, lake: Lake, voices: Voices, studio_files: StudioFiles, ledger: Ledger
) -> Iterator[Outcome]:
    """Lets each speaker's voice say its turns. A silent or far too short line is a failure of its podcast.

    Lines that an interrupted run has made are not said again. The voices stop when every podcast that waits for lines
    is cancelled.
    """
    said: dict[str, list[Said]] = {}
    turns: dict[str, list[ScriptTurnRow]] = {}
    wanted: list[tuple[EngineChoice, Line]] = []
    for key in batch.keys:
        try:
            ledger.check_wanted(key)
            turns[key] = batch.rows(lake, SCRIPT_TURNS, key)
            wanted += list(
                _lines(key, turns[key], batch, lake, voices, studio_files)
            )  # all lines or, on an error, none
            said[key] = []
        except PodlakeError as error:
            yield Failure(key, error)
    failed: dict[str, Failure] = {}
    with closing(voices.say(wanted)) as coming:
        for one in coming:
            key = one.line.podcast_id
            said[key].append(one)
            wrong = one.result if isinstance(one.result, PodlakeError) else _cancellation(key, ledger)
            if wrong and key not in failed:
                failed[key] = Failure(key, wrong, _cost(said[key]))
            if len(said[key]) == len(turns[key]):
                yield failed.get(key) or _landing(key, turns[key], said[key], studio_files)
            elif all(_is_cancelled(failed.get(other)) for other in said if len(said[other]) < len(turns[other])):
                yield from (failed[other] for other in said if len(said[other]) < len(turns[other]))
                return


def _cancellation(key: str, ledger: Ledger) -> PodcastCancelled | None:
    try:
        ledger.check_wanted(key)
    except PodcastCancelled as error:
        return error
    return None


def _is_cancelled(failure: Failure | None) -> bool:
    return failure is not None and isinstance(failure.error, PodcastCancelled)


def _lines(
    key: str, turns: Sequence[ScriptTurnRow], batch: Batch, lake: Lake, voices: Voices, files: StudioFiles
) -> Iterator[tuple[EngineChoice, Line]]:
    (script,) = batch.rows(lake, SCRIPTS, key)
    for turn in turns:
        choice = voices.choice_for(turn.speaker, script.language)
        fingerprint = registry.describe("synthesizer", choice).fingerprint
        path = files.line(key, turn.turn_idx, fingerprint, turn.spoken_text, script.language, script.seed)
        yield choice, Line(key, turn.turn_idx, turn.spoken_text, path, script.language, script.seed)


def _landing(key: str, turns: Sequence[ScriptTurnRow], said: Sequence[Said], files: StudioFiles) -> Landing:
    rows = []
    for turn, one in zip(turns, said, strict=True):
        assert not isinstance(one.result, PodlakeError)
        name = f"{key}/{turn.turn_idx:04d}.wav"
        rows.append(
            SpeechLineRow(
                turn_idx=turn.turn_idx, speaker=turn.speaker, engine=one.spec.name, model=one.spec.model,
                voice_fingerprint=one.spec.fingerprint, seed=one.line.seed, duration_ms=one.result.duration_ms,
                sample_rate_hz=one.result.sample_rate_hz, samples_sha256=one.result.samples_sha256,
                path=files.publish(key, name, one.line.path.read_bytes()), engine_ms=one.result.engine_ms,
            )
        )  # fmt: skip
    return Landing(key, {"speech_lines": rows}, _cost(said))


def _cost(said: Sequence[Said]) -> Cost:
    """The engines of all lines together."""
    by_engine: dict[str, set[str]] = defaultdict(set)
    for one in said:
        by_engine[one.spec.name].add(one.spec.model)
    done = [one.result for one in said if not isinstance(one.result, PodlakeError)]
    prints = sorted({one.spec.fingerprint for one in said})
    return Cost(
        engine_fingerprint=hashlib.sha256("\n".join(prints).encode()).hexdigest()[:16],
        engine="+".join(sorted(by_engine)),
        model="+".join(sorted(model for models in by_engine.values() for model in models)),
        device="cpu",
        engine_ms=sum(one.engine_ms for one in done),
        audio_ms=sum(one.duration_ms for one in done),
    )
