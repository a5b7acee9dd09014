"""The entry that Dagster loads."""

from __future__ import annotations

import dagster as dg

from assets.feeds import feeds
from assets.sealed_tables import sealed_tables
from assets.warehouse import warehouse
from dagster_project.automation import automation
from dagster_project.executor import in_own_process
from dagster_project.given import resources
from dagster_project.settings import Settings
from dagster_project.stages import stage_assets


def build(settings: Settings) -> dg.Definitions:
    """Assets, resources and automation for these settings."""
    given = resources(settings)
    assets = [feeds, *stage_assets(settings, given["engines"]), sealed_tables, warehouse]
    return dg.Definitions(
        assets=dg.map_asset_specs(lambda spec: spec.replace_attributes(owners=[settings.owner]), assets),
        resources=given,
        **automation(settings),
        executor=in_own_process,
    )


defs = build(Settings())
