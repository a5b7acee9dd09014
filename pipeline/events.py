"""Materialization events with the tags that Dagster reads versions and provenance from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster import AssetKey, AssetMaterialization

from pipeline.dagster_internals import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_GIVEN_TAG,
    DATA_VERSION_TAG,
    INPUT_DATA_VERSION_TAG,
    INPUT_EVENT_POINTER_TAG,
    NO_DATA_VERSION,
    NO_EVENT_POINTER,
)
from pipeline.stage import Stage
from resources.lake.tables.pipeline import StageRunRow

CATALOGUE_VERSION = "catalogue"
"""The constant data version of the catalogue's assets: a new poll makes no episode outdated."""

EVENTS_LOGGED = {"__source_asset_observation__": True}
"""Metadata of a step's result that prevents further materialization events.

The contract logs one event per episode when it has landed, with that episode's data version. Without this private
metadata, Dagster would log a second event for every partition of the step. A step that yields no result at all
would skip the next step of its run.
"""


def materialization(
    stage: Stage,
    key: str,
    landed: StageRunRow,
    upstream: Mapping[str, Mapping[str, StageRunRow]],
    code_version: str,
    metadata: Mapping[str, Any],
) -> AssetMaterialization:
    """The event of an episode that has landed at a stage."""
    tags = {
        CODE_VERSION_TAG: code_version,
        DATA_VERSION_TAG: landed.data_version,
        DATA_VERSION_IS_GIVEN_TAG: "true",
    }
    versions = {
        name: upstream[name][key].data_version if key in upstream[name] else NO_DATA_VERSION
        for name in stage.inputs + stage.optional_inputs
    }
    for name, version in (versions | dict.fromkeys(stage.catalogue, CATALOGUE_VERSION)).items():
        tags[f"{INPUT_DATA_VERSION_TAG}/{name}"] = version
        tags[f"{INPUT_EVENT_POINTER_TAG}/{name}"] = NO_EVENT_POINTER
    return AssetMaterialization(AssetKey(stage.name), partition=key, metadata=dict(metadata), tags=tags)
