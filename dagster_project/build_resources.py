"""Builds the resources from the settings."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from assets.stages import EPISODE_GRAPH
from dagster_project.instance import database_url
from dagster_project.settings import Settings
from pipeline.retention import AudioRule
from resources.admission_window import AdmissionWindow
from resources.engines.devices import Devices, visible
from resources.engines.local_host import LocalHost
from resources.engines.ray_host import RayHost
from resources.engines.routing import Engines, Host, parse_transcribers
from resources.engines.translators import Translators, parse_translator
from resources.engines.voices import Voices, parse_voices
from resources.fetch.addresses import AllowedHosts
from resources.fetch.audio_store import AudioStore
from resources.fetch.hosts import FetchPolicy
from resources.gpu_server.compute import OpenStackServer
from resources.gpu_server.ledger import GpuServerLedger
from resources.gpu_server.on_demand import GpuServer
from resources.gpu_server.servers import GpuServers, parse_servers
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.studio.device_leases import DeviceLeases
from resources.studio.dub_settings import DubSettings
from resources.studio.feed import FeedSettings
from resources.studio.files import StudioFiles
from resources.studio.head_devices import HeadDevices
from resources.studio.ledger import Ledger
from resources.studio.lesson_files import LessonFiles
from resources.studio.lessons import LessonLedger
from resources.studio.publishing import publisher
from resources.studio.video_files import VideoFiles
from resources.studio.video_ledger import VideoLedger
from resources.tiers import load_tiers
from resources.workers.host import WorkerHost
from speech.engines.protocols import EngineChoice
from speech.separation import Separation
from speech.talking_head.heygem import Patience
from speech.utterances import UtteranceRule
from speech.videos import LessonLimits
from speech.waveforms import WaveformCache


def build_resources(settings: Settings) -> dict[str, Any]:
    """Name → resource. Stages name them as parameters."""
    home = Home.at(settings.home)
    lake = Lake(home)
    waveforms = WaveformCache(settings.cache_folder / "waveforms", limit_bytes=int(settings.cache_gb * 1e9))
    engines = Engines(
        diarizer=chosen_diarizer(settings),
        transcribers=chosen_transcribers(settings),
        host=_host(settings, waveforms),
        saturated=second_diarizer(settings),
    )
    lesson_ledger = LessonLedger(partial(database_url, settings))
    return {
        "home": home,
        "lake": lake,
        "catalogue": Catalogue(lake),
        "audio_store": AudioStore(home, settings.cache_folder, int(settings.cache_gb * 1e9), settings.space),
        "fetch_policy": fetch_policy(settings),
        "waveforms": waveforms,
        "engines": engines,
        "window": window(settings),
        "utterance_rule": utterance_rule(settings),
        "tiers": load_tiers(settings.tiers),
        "site_url": settings.site_url.rstrip("/"),
        "audio_rule": audio_rule(settings),
        "episode_graph": EPISODE_GRAPH,
        "voices": voices(settings),
        "studio_files": StudioFiles(home, settings.cache_folder),
        "podcast_feed": podcast_feed(settings),
        "gpu_servers": gpu_servers(settings),
        "ledger": Ledger(partial(database_url, settings)),
        "lesson_ledger": lesson_ledger,
        "publisher": publisher(
            settings.publish_to,
            home,
            lesson_ledger,
            kinescope_url=settings.kinescope_url.rstrip("/"),
            uploader_url=settings.kinescope_uploader_url.rstrip("/"),
            token=settings.kinescope_token.get_secret_value(),
        ),
        "lesson_files": lesson_files(settings, home),
        "lesson_limits": lesson_limits(settings),
        "translators": translators(settings),
        "dub_settings": DubSettings(settings.dub_subtitles),
        "separation": Separation.parse(settings.stems),
        "video_ledger": VideoLedger(partial(database_url, settings)),
        "video_files": VideoFiles(home, settings.cache_folder),
        "head_devices": head_devices(settings),
    }


def voices(settings: Settings) -> Voices:
    """The voices of scripts. They run on this machine, also if other engines run on a cluster."""
    devices = Devices(visible(settings.gpus))
    return Voices(parse_voices(settings.voices), devices, settings.engine_idle_s, gpu_servers(settings))


def gpu_servers(settings: Settings) -> GpuServers:
    """The servers of the cloud that run while there is work."""
    ledger, idle = GpuServerLedger(partial(database_url, settings)), timedelta(minutes=settings.gpu_server_idle_min)
    return GpuServers(
        [
            GpuServer(OpenStackServer(name), ledger, health_url, idle)
            for name, health_url in parse_servers(settings.gpu_servers).items()
        ]
    )


def head_devices(settings: Settings) -> HeadDevices:
    """The devices for talking heads, with their leases."""
    limit_s = 60 * settings.head_limit_minutes
    return HeadDevices(
        settings.head_devices, DeviceLeases(partial(database_url, settings)),
        Patience(poll_s=settings.head_poll_s, limit_s=limit_s), wait_s=limit_s, gpu_servers=gpu_servers(settings),
    )  # fmt: skip


def lesson_files(settings: Settings, home: Home) -> LessonFiles:
    return LessonFiles(home, settings.cache_folder / "dubbing")


def lesson_limits(settings: Settings) -> LessonLimits:
    """What a lesson that is dubbed may have at most."""
    return LessonLimits(
        max_bytes=round(settings.lesson_max_gb * 1e9), max_ms=round(settings.lesson_max_minutes * 60_000)
    )


def translators(settings: Settings) -> Translators:
    return Translators(
        parse_translator(settings.translator), settings.cache_folder / "translations",
        Path(settings.terms).expanduser() if settings.terms else None, gpu_servers(settings),
    )  # fmt: skip


def podcast_feed(settings: Settings) -> FeedSettings:
    return FeedSettings(settings.podcasts_url.rstrip("/"), settings.podcasts_title)


def fetch_policy(settings: Settings) -> FetchPolicy:
    """The rules for requests to other machines."""
    return FetchPolicy(
        allowed=AllowedHosts.parse(settings.allow_hosts),
        contact=settings.contact,
        connections_per_host=settings.connections_per_host,
        spacing_s=settings.request_spacing_s,
        pauses=settings.cache_folder / "pauses",
    )


def utterance_rule(settings: Settings) -> UtteranceRule:
    """Where turns are cut into utterances."""
    return UtteranceRule(
        min_ms=round(1000 * settings.utterance_min_s),
        max_ms=round(1000 * settings.utterance_max_s),
        pause_ms=settings.utterance_pause_ms,
    )


def audio_rule(settings: Settings) -> AudioRule:
    """How much audio of complete episodes is kept."""
    return AudioRule(
        max_age=None if settings.keep_audio_days is None else timedelta(days=settings.keep_audio_days),
        max_bytes=None if settings.keep_audio_gb is None else settings.keep_audio_gb * 1e9,
        copies=settings.audio_copy == "opus",
    )


def window(settings: Settings) -> AdmissionWindow:
    """The rules for admitting episodes to the live window."""
    return AdmissionWindow(
        size=settings.window,
        feeds=_names(settings.window_feeds),
        languages=_names(settings.window_languages),
        max_age_days=settings.window_max_age_days or 0,
        audio_hours=settings.window_audio_hours or 0,
        folders=[str(folder) for folder in settings.space.folders],
        min_free_gb=settings.min_free_gb,
    )


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def chosen_diarizer(settings: Settings) -> EngineChoice:
    return _placed(EngineChoice.parse(settings.diarizer, preset=settings.diarizer_preset), settings)


def second_diarizer(settings: Settings) -> EngineChoice | None:
    """For episodes in which the first has reached its limit; one without a limit needs none."""
    if settings.diarizer_saturated in ("keep", chosen_diarizer(settings).name):
        return None
    return _placed(EngineChoice(settings.diarizer_saturated), settings)


def chosen_transcribers(settings: Settings) -> dict[str, EngineChoice]:
    """Language → transcriber; `*` is any other language."""
    return {
        language: _placed(_decoding(choice, settings), settings)
        for language, choice in parse_transcribers(settings.transcriber).items()
    }


def _decoding(choice: EngineChoice, settings: Settings) -> EngineChoice:
    """With the language that is decoded, if it is not the declared one."""
    if settings.transcriber_language == "declared":
        return choice
    return replace(choice, options={**choice.options, "decode": settings.transcriber_language})


def _placed(choice: EngineChoice, settings: Settings) -> EngineChoice:
    """With the Python that the engine runs under, if it is another one."""
    python = settings.pythons.get(choice.name)
    return replace(choice, options={**choice.options, "python": python}) if python else choice


def _host(settings: Settings, waveforms: WaveformCache) -> Host:
    if settings.engine_host == "local":
        return LocalHost(waveforms, Devices(visible(settings.gpus)), settings.engine_idle_s)
    if settings.engine_host == "workers":
        return WorkerHost(database_url(settings))
    home = Home.at(settings.home)
    return RayHost(
        address=settings.ray_address,
        gpus_per_engine=settings.ray_gpus_per_engine,
        home=home.root if home.is_local else home.uri,
        cache=settings.cache or "~/.cache/podlake",  # not in the home, which all nodes of a cluster share
        cache_limit_bytes=int(settings.cache_gb * 1e9),
    )
