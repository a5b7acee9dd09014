"""The stages as Dagster assets for these settings and engines."""

from __future__ import annotations

import hashlib

import dagster as dg

from assets.stages import STAGES
from dagster_project.settings import Settings
from pipeline.asset_definition import as_asset
from pipeline.stage import Stage
from resources.engines.routing import Engines
from resources.engines.translators import Translators
from resources.engines.voices import Voices
from speech.engines import registry


def stage_assets(
    settings: Settings, engines: Engines, voices: Voices, translators: Translators | None = None
) -> list[dg.AssetsDefinition]:
    return [
        as_asset(
            stage,
            batch_size=settings.batch_size(stage),
            code_version=code_version(stage, engines, voices, translators),
        )
        for stage in STAGES.values()
    ]


def code_version(
    stage: Stage, engines: Engines, voices: Voices | None = None, translators: Translators | None = None
) -> str:
    """The stage's version and, for inference, the engine's fingerprint. The UI shows rows of other versions as outdated."""
    return ".".join([stage.version, *_fingerprints(stage, engines, voices, translators)])


def _fingerprints(stage: Stage, engines: Engines, voices: Voices | None, translators: Translators | None) -> list[str]:
    if stage.engine_slot == "diarizer":
        return [engines.diarizer_spec().fingerprint]
    if stage.engine_slot == "synthesizer" and voices:
        return [voices.fingerprint]
    if stage.engine_slot == "translator" and translators:
        return [translators.spec.fingerprint]
    if stage.engine_slot == "transcriber":
        table = {
            language: registry.describe_transcriber(choice).fingerprint
            for language, choice in engines.transcribers.items()
        }
        if len(set(table.values())) == 1:
            return [next(iter(table.values()))]
        return [hashlib.sha256(repr(sorted(table.items())).encode()).hexdigest()[:16]]
    return []
