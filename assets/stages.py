"""The partitioned stages: each line names a module, which declares the stage of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from pipeline.stage import Stage
from resources.lake.graph import StageGraph

_MODULES = (
    "assets.catalogue.episodes",
    "assets.audio.audio",
    "assets.audio.hashes",
    "assets.speech.diarization",
    "assets.speech.transcript",
    "assets.speech.turns",
    "assets.catalogue.publisher_transcript",
    "assets.speech.quality",
    "assets.dataset.utterances",
    "assets.speech.voices",
    "assets.studio.script",
    "assets.studio.speech_lines",
    "assets.studio.podcast_audio",
    "assets.studio.podcast_transcript",
    "assets.studio.stream_package",
    "assets.studio.podcast_hearing",
    "assets.audio.repeated_audio",
    "assets.dubbing.lesson_video",
    "assets.dubbing.content_review",
    "assets.dubbing.lesson_transcript",
    "assets.dubbing.stems",
    "assets.dubbing.sentences",
    "assets.dubbing.terminology",
    "assets.dubbing.translation",
    "assets.dubbing.subtitles",
    "assets.dubbing.dub_lines",
    "assets.dubbing.dub_audio",
    "assets.dubbing.dubbed_video",
    "assets.dubbing.dub_hearing",
    "assets.dubbing.voiceover_review",
    "assets.dubbing.published_video",
    "assets.studio.reference_audio",
    "assets.studio.speech_text",
    "assets.studio.cloned_speech",
    "assets.studio.talking_head_video",
)


def _declared(module: str) -> Stage:
    stage: Stage = getattr(import_module(module), module.rpartition(".")[2])
    return stage


_DECLARED = {stage.name: stage for stage in map(_declared, _MODULES)}
GRAPH = StageGraph(tuple(_DECLARED.values()))
STAGES: Mapping[str, Stage] = {name: _DECLARED[name] for name in GRAPH.names}
"""Name → stage, inputs first."""
EPISODE_GRAPH = GRAPH.of_kind("episode")
FEED_GRAPH = StageGraph(tuple(stage for stage in GRAPH.of_kind("feed") if not stage.gathers))
"""The stages that poll feeds."""
PODCAST_GRAPH = GRAPH.of_kind("podcast")
"""The stages that make podcasts from scripts."""
LESSON_GRAPH = GRAPH.of_kind("lesson")
"""The stages that dub a lesson."""
VIDEO_GRAPH = GRAPH.of_kind("video")
"""The stages that make videos on request."""
GATHERING = tuple(stage for stage in GRAPH.of_kind("feed") if stage.gathers)
"""The stages of feeds that read the landings of their episodes. No episode waits for them."""
