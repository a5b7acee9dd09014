"""Results of engines kept in a folder, so that an evaluation that was ended continues where it was.

A result belongs to the engine's fingerprint, the source of `speech`, and the samples: after a change of any of them the
recording is processed again.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from speech.engines.protocols import EngineSpec, Slot
from speech.engines.results import RecordingResult, result_from_json, result_json
from speech.types import Recording

SPEECH = Path(__file__).parents[1] / "speech"


def kept(folder: Path, slot: Slot, spec: EngineSpec, recording: Recording) -> RecordingResult | None:
    """The result of this engine on these samples; None if there is none yet."""
    path = _path(folder, spec, recording)
    return result_from_json(slot, path.read_bytes(), recording.duration_ms) if path.exists() else None


def keep(folder: Path, spec: EngineSpec, recording: Recording, result: RecordingResult) -> None:
    path = _path(folder, spec, recording)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part")
    unfinished.write_bytes(result_json(result))
    unfinished.replace(path)


def _path(folder: Path, spec: EngineSpec, recording: Recording) -> Path:
    samples = hashlib.sha256(recording.waveform_path.read_bytes()).hexdigest()
    return folder / f"{spec.name}-{spec.fingerprint}-{_source()}" / f"{recording.episode_id}-{samples[:16]}.json"


@cache
def _source() -> str:
    digest = hashlib.sha256()
    for path in sorted(SPEECH.rglob("*.py")):
        digest.update(str(path.relative_to(SPEECH)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]
