"""`stream_package`: the audio as WebM in parts of half a second, with an index, so that a server sends it from any time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import dagster as dg
import pyarrow as pa

from pipeline.stage import Batch, Landing, Outcome, Stage, each
from resources.lake.lake import Lake
from resources.lake.tables.studio import (
    PODCAST_AUDIO,
    STREAM_CLUSTERS,
    STREAM_PACKAGES,
    StreamClusterRow,
    StreamPackageRow,
)
from resources.studio.feed import FeedSettings, write_feed
from resources.studio.files import StudioFiles
from resources.studio.ledger import Ledger
from speech.podcast_files import webm_clusters
from speech.webm import MIME, Cluster, webm_header


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    (row,) = tables["stream_packages"].to_pylist()
    return {"webm": row["path"], "clusters": row["n_clusters"], "dagster/row_count": row["n_clusters"]}


def publish_in_feed(
    instance: dg.DagsterInstance,  # noqa: ARG001 - the contract's signature
    packages: Sequence[Mapping[str, pa.Table]],
    *,
    lake: Lake,
    studio_files: StudioFiles,
    podcast_feed: FeedSettings,
) -> None:
    """The podcasts appear in the feed. The local files of their lines are not needed any more."""
    write_feed(lake, studio_files, podcast_feed)
    for tables in packages:
        studio_files.forget_lines(tables["stream_packages"]["podcast_id"][0].as_py())


@Stage(
    tables=(STREAM_PACKAGES, STREAM_CLUSTERS), ui_metadata=_ui_metadata, group="studio", batch_size=1, version="2",
    inputs=("podcast_audio", "podcast_transcript"), partition_kind="podcast", kinds=frozenset({"webm", "parquet"}),
    after_batch=publish_in_feed,
)  # fmt: skip
def stream_package(batch: Batch, lake: Lake, studio_files: StudioFiles, ledger: Ledger) -> Iterator[Outcome]:
    """Packs the Opus audio into WebM without encoding it again, and notes where each half second begins."""
    return each(batch.keys, lambda key: _package(key, batch, lake, studio_files, ledger))


def _package(key: str, batch: Batch, lake: Lake, files: StudioFiles, ledger: Ledger) -> Landing:
    ledger.check_wanted(key)
    (audio,) = batch.rows(lake, PODCAST_AUDIO, key)
    clusters = [Cluster(0, webm_header()), *webm_clusters(files.read(audio.opus_path))]
    offsets = [0, *accumulate(len(one.content) for one in clusters)]
    ends = [0, *(one.start_ms for one in clusters[2:]), audio.duration_ms]
    rows = [
        StreamClusterRow(
            cluster_idx=index - 1, start_ms=one.start_ms, end_ms=max(end, one.start_ms), offset_bytes=offset,
            size_bytes=len(one.content),
        )
        for index, (one, end, offset) in enumerate(zip(clusters, ends, offsets[:-1], strict=True))
    ]  # fmt: skip
    path = files.publish(key, f"{key}.webm", b"".join(one.content for one in clusters))
    package = StreamPackageRow(path=path, mime=MIME, size_bytes=offsets[-1], n_clusters=len(clusters) - 1)
    return Landing(key, {"stream_packages": [package], "stream_clusters": rows})
