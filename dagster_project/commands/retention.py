"""`podlake retention`: remove audio as the settings say, or show what would be removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import dagster as dg

from assets.stages import EPISODE_GRAPH
from dagster_project.build_resources import audio_rule
from dagster_project.commands.terminal import render
from dagster_project.settings import Settings
from pipeline.retention import Removal, removals
from resources.lake.lake import Lake

_SHOWN = 20


def planned(instance: dg.DagsterInstance, settings: Settings, lake: Lake) -> list[Removal]:
    """What a materialization of `audio_retention` removes now."""
    return removals(instance, lake, EPISODE_GRAPH, audio_rule(settings), datetime.now(UTC))


def lines(settings: Settings, chosen: Sequence[Removal]) -> Iterator[str]:
    """What is removed, to read."""
    if settings.keep_audio_days is None and settings.keep_audio_gb is None:
        yield "All audio is kept. PODLAKE_KEEP_AUDIO_DAYS and PODLAKE_KEEP_AUDIO_GB set limits."
        return
    total_gb = sum(one.bytes for one in chosen) / 1e9
    stays = "a mono Opus copy of each stays" if settings.audio_copy == "opus" else "no copy stays"
    yield f"{len(chosen)} files of complete episodes, {total_gb:.3f} GB; {stays}, and all rows."
    if chosen:
        rows = [(one.episodes[0], f"{one.bytes / 1e6:.1f}", one.fetched_at, one.reason) for one in chosen[:_SHOWN]]
        yield render(("episode", "MB", "fetched (UTC)", "limit"), rows)
    if len(chosen) > _SHOWN:
        yield f"… and {len(chosen) - _SHOWN} more"
