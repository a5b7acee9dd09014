"""Materialization events with the tags that Dagster reads versions and provenance from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster import AssetKey, AssetMaterialization
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)

from pipeline.stage import Landed, Stage

EVENTS_LOGGED = {"__source_asset_observation__": True}
"""Metadata that tells Dagster's output handling that a step's events are logged already.

The contract logs an event the moment an episode has landed, with that episode's own data version: an
operator sees progress, and a killed run has said what it landed. Yielding the step's result would log a
second event for every partition, all of them with one data version; not yielding it would skip the next
step of the run. Dagster has no public word for this, hence its private one; a test holds it in place.
"""


def materialization(
    stage: Stage,
    key: str,
    landed: Landed,
    upstream: Mapping[str, Mapping[str, Landed]],
    code_version: str,
    metadata: Mapping[str, Any],
) -> AssetMaterialization:
    """The event that says that an episode has landed at a stage."""
    tags = {
        CODE_VERSION_TAG: code_version,
        DATA_VERSION_TAG: landed.data_version,
        DATA_VERSION_IS_USER_PROVIDED_TAG: "true",
    }
    for name in stage.inputs:
        tags[get_input_data_version_tag(AssetKey(name))] = upstream[name][key].data_version
        tags[get_input_event_pointer_tag(AssetKey(name))] = NULL_EVENT_POINTER
    for name in stage.catalogue:
        tags[get_input_data_version_tag(AssetKey(name))] = CATALOGUE_VERSION
        tags[get_input_event_pointer_tag(AssetKey(name))] = NULL_EVENT_POINTER
    return AssetMaterialization(AssetKey(stage.name), partition=key, metadata=dict(metadata), tags=tags)


CATALOGUE_VERSION = "catalogue"
"""The data version of the catalogue's assets, always: a new poll makes no episode outdated."""
