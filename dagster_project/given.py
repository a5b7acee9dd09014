"""The resources, made from the settings."""

from __future__ import annotations

from typing import Any

from dagster_project.settings import Settings
from resources.audio_store import AudioStore
from resources.catalogue import Catalogue
from resources.devices import Devices, visible
from resources.engines import Engines, Host, parse_transcribers
from resources.home import Home
from resources.lake import Lake
from resources.local_host import LocalHost
from resources.ray_host import RayHost
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
        host=_host(settings, waveforms),
    )
    return {
        "home": home,
        "lake": lake,
        "catalogue": Catalogue(lake),
        "audio_store": AudioStore(home, settings.cache_folder),
        "waveforms": waveforms,
        "engines": engines,
    }


def _host(settings: Settings, waveforms: WaveformCache) -> Host:
    if settings.engine_host == "local":
        return LocalHost(waveforms, Devices(visible(settings.gpus)))
    home = Home.at(settings.home)
    return RayHost(
        address=settings.ray_address,
        gpus_per_engine=settings.ray_gpus_per_engine,
        home=home.root if home.is_local else home.uri,
        cache=settings.cache or "~/.cache/podlake",  # never the home: on a cluster that is shared by all nodes
        cache_limit_bytes=int(settings.cache_gb * 1e9),
    )
