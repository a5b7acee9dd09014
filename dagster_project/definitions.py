"""The definitions that Dagster loads."""

from __future__ import annotations

import gc

import dagster as dg

from assets.audio.audio_retention import audio_retention
from assets.audio.same_audio import same_audio
from assets.catalogue.feeds import feeds
from assets.dubbing.gates import gate_check
from assets.exports.exports import EXPORTS
from assets.exports.transcripts import export_transcripts
from assets.lake.checks import lake_checks
from assets.lake.sealed_tables import sealed_tables
from assets.lake.warehouse import warehouse
from dagster_project.automation import automation
from dagster_project.build_resources import build_resources
from dagster_project.settings import Settings
from dagster_project.stages import stage_assets
from pipeline.traces import send_traces
from resources.lake.tables.lessons import CONTENT_REVIEWS, VOICEOVER_REVIEWS
from resources.logs import hide_credentials, log_json

GATE_CHECKS = [gate_check(CONTENT_REVIEWS), gate_check(VOICEOVER_REVIEWS)]


def build(settings: Settings) -> dg.Definitions:
    """Assets, resources and automation for these settings."""
    resources = build_resources(settings)
    assets = [
        feeds,
        *stage_assets(settings, resources["engines"], resources["voices"], resources["translators"]),
        sealed_tables,
        warehouse,
        audio_retention,
        same_audio,
        *EXPORTS,
        export_transcripts,
    ]
    return dg.Definitions(
        assets=dg.map_asset_specs(lambda spec: spec.replace_attributes(owners=[settings.owner]), assets),
        asset_checks=[*lake_checks(), *GATE_CHECKS],
        resources=resources,
        **automation(settings),
        executor=dg.in_process_executor,
    )


def load() -> dg.Definitions:
    """The definitions of this process, which logs and sends traces as the settings say."""
    settings = Settings()
    hide_credentials()
    if settings.log_format == "json":
        log_json()
    if settings.traces_url:
        send_traces(settings.traces_url)
    return build(settings)


defs = load()
# What is loaded now stays: each full collection would look at all of it, which takes a tenth of a poll of a large feed.
gc.freeze()
