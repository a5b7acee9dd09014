"""`podlake podcast forget`: remove a podcast that was made from a script: its request, files, rows and events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from assets.stages import PODCAST_GRAPH
from dagster_project.commands.forget import InWork
from dagster_project.forget_metadata import Traces, remove_traces
from dagster_project.podcasts import PODCAST_TAG
from partitions.definitions import PODCASTS
from pipeline.after_batch import forget_keys
from pipeline.dagster_internals import UNFINISHED, remove_keys
from resources.lake.compaction import remove_podcasts
from resources.studio.feed import write_feed


def forget_podcast(
    instance: dg.DagsterInstance, resources: Mapping[str, Any], service_url: str, podcast_id: str
) -> int:
    """Returns the number of files in the home that are removed. Raises `InWork`.

    A removal that is interrupted is completed when it is repeated.
    """
    if instance.get_runs_count(dg.RunsFilter(tags={PODCAST_TAG: podcast_id}, statuses=list(UNFINISHED))):
        raise InWork(f"A run makes {podcast_id}. Wait until it ends, or `podlake podcast cancel {podcast_id}`.")
    lake, files = resources["lake"], resources["studio_files"]
    remove_keys(instance, PODCASTS, [podcast_id])
    forget_keys(lake.home, PODCAST_GRAPH.names, [podcast_id])
    remove_podcasts(lake, [podcast_id])
    write_feed(lake, files, resources["podcast_feed"])
    count: int = files.forget(podcast_id)
    remove_traces(instance, Traces(frozenset({podcast_id}), frozenset()), service_url)  # its request too
    return count
