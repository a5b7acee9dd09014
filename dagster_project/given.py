"""The resources, made from the settings."""

from __future__ import annotations

from typing import Any

from dagster_project.settings import Settings
from resources.audio_store import AudioStore
from resources.catalogue import Catalogue
from resources.devices import Devices, visible
from resources.engines import Engines, parse_transcribers
from resources.home import Home
from resources.lake import Lake
from resources.local_host import LocalHost
from speech.engines.protocols import EngineChoice
from speech.waveforms import WaveformCache


def resources(settings: Settings) -> dict[str, Any]:
    """Name → resource, as stages ask for them by the names of their parameters."""
    home = Home.at(settings.home)
    lake = Lake(home)
    waveforms = WaveformCache(settings.cache_folder / "waveforms", limit_bytes=int(settings.cache_gb * 1e9))
    engines = Engines(
        diarizer=EngineChoice.parse(settings.diarizer, preset=settings.diarizer_preset),
        transcribers=parse_transcribers(settings.transcriber),
        host=LocalHost(waveforms, Devices(visible(settings.gpus))),
    )
    return {
        "home": home,
        "lake": lake,
        "catalogue": Catalogue(lake),
        "audio_store": AudioStore(home, settings.cache_folder),
        "waveforms": waveforms,
        "engines": engines,
    }
