"""The partitioned stages, one line each. Their order follows from their inputs."""

from __future__ import annotations

from collections.abc import Mapping

from assets.audio.audio import audio
from assets.audio.hashes import hashes
from assets.catalogue.episodes import episodes
from assets.speech.diarization import diarization
from assets.speech.quality import quality
from assets.speech.transcript import transcript
from assets.speech.turns import turns
from pipeline.stage import Stage
from resources.lake.graph import StageGraph

_DECLARED = (
    episodes,
    audio,
    hashes,
    diarization,
    transcript,
    turns,
    quality,
)
GRAPH = StageGraph(_DECLARED)
STAGES: Mapping[str, Stage] = {name: next(one for one in _DECLARED if one.name == name) for name in GRAPH.names}
"""Name → stage, inputs first."""
EPISODE_GRAPH = GRAPH.of_kind("episode")
FEED_GRAPH = GRAPH.of_kind("feed")
