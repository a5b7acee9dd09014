"""The partitioned stages in the order of the lineage, and what the settings say of each."""

from __future__ import annotations

import hashlib

import dagster as dg

from assets.stages import EPISODE_GRAPH, STAGES
from dagster_project.settings import Settings
from partitions.definitions import FEEDS
from pipeline.asset_definition import as_asset
from pipeline.stage import Stage
from resources.engines.routing import Engines
from speech.engines import registry

EPISODE_STAGES = tuple(STAGES[name] for name in EPISODE_GRAPH.names)


def stage_assets(settings: Settings, engines: Engines) -> list[dg.AssetsDefinition]:
    """The stages as Dagster assets."""
    return [
        as_asset(stage, batch_size=batch_size(settings, stage), code_version=code_version(stage, engines))
        for stage in STAGES.values()
    ]


def batch_size(settings: Settings, stage: Stage) -> int:
    """Partitions in one run of the stage."""
    size: int = settings.batch_feeds if stage.partitions is FEEDS else getattr(settings, f"batch_{stage.name}")
    return size


def code_version(stage: Stage, engines: Engines) -> str:
    """The stage's version, and for inference the engine's fingerprint: what the UI calls outdated."""
    return ".".join([stage.version, *_fingerprints(stage.name, engines)])


def _fingerprints(name: str, engines: Engines) -> list[str]:
    if name == "diarization":
        return [engines.diarizer_spec().fingerprint]
    if name == "transcript":
        table = {
            language: registry.describe_transcriber(choice).fingerprint
            for language, choice in engines.transcribers.items()
        }
        if len(set(table.values())) == 1:
            return [next(iter(table.values()))]
        return [hashlib.sha256(repr(sorted(table.items())).encode()).hexdigest()[:16]]
    return []
