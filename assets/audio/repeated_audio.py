"""`repeated_audio`: ads, jingles and intros that recur within a feed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
import numpy as np
import pyarrow as pa

from pipeline.gathering import by_feed, gathered_version
from pipeline.stage import Batch, Landing, Outcome, Stage, each
from resources.lake.commits import open_commits
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES, HASHES, REPEATED_AUDIO
from resources.lake.tables.audio import HashesRow
from resources.lake.tables.duplicates import RepeatedAudioRow
from speech.audio_matches import milliseconds
from speech.repeated_audio import repeated_spans

_SHOWN = 20


def _ui_metadata(tables: Mapping[str, pa.Table]) -> dict[str, Any]:
    rows = REPEATED_AUDIO.rows_of(tables["repeated_audio"])
    first = {row.repeat_id: row for row in reversed(rows)}
    often = sorted(first.values(), key=lambda row: row.n_occurrences, reverse=True)[:_SHOWN]
    lines = [
        f"- {row.repeat_id}: {(row.end_ms - row.start_ms) / 1000:.0f} s in {row.n_episodes} episodes" for row in often
    ]
    return {
        "dagster/row_count": len(rows),
        "repeated": len(first),
        "seconds": sum(row.end_ms - row.start_ms for row in rows) / 1000,
        "most_frequent": dg.MetadataValue.md("\n".join(lines) or "none"),
    }


@Stage(
    tables=(REPEATED_AUDIO,), ui_metadata=_ui_metadata, group="audio", batch_size=20, version="1",
    gathers=("hashes",), partition_kind="feed", pool="cpu",
)  # fmt: skip
def repeated_audio(batch: Batch, lake: Lake) -> Iterator[Outcome]:
    """Finds audio of about 5 s or more that recurs in the episodes of a feed, by the fingerprints of `hashes`."""
    versions = by_feed(open_commits(lake.home, "hashes"))
    return each(batch.keys, lambda key: _landing(key, gathered_version(versions.get(key, ())), lake))


def _landing(feed_id: str, version: str, lake: Lake) -> Landing:
    rows = _newest(lake, feed_id)
    spans = repeated_spans([np.frombuffer(row.fingerprint or b"", "<u4") for row in rows])
    occurrences = Counter(span.cluster for span in spans)
    found = []
    for span in spans:
        row = rows[span.recording]
        start_ms, end_ms = milliseconds(span.start, span.n_items)
        found.append(RepeatedAudioRow(
            episode_id=row.episode_id, audio_sha256=row.audio_sha256, start_ms=start_ms,
            end_ms=min(end_ms, row.duration_ms), repeat_id=f"{feed_id}-r{span.cluster + 1:04d}",
            n_episodes=span.n_recordings, n_occurrences=occurrences[span.cluster], similarity=span.similarity,
        ))  # fmt: skip
    return Landing(feed_id, {"repeated_audio": found}, gathered={"hashes": version})


def _newest(lake: Lake, feed_id: str) -> list[HashesRow]:
    """The hashes of the feed's episodes that have a fingerprint, oldest episode first."""
    keys = sorted(row.episode_id for row in lake.rows(EPISODES, feed_id))
    found = lake.read_many(HASHES, keys)
    rows = [row for key in keys if key in found for row in HASHES.rows_of(found[key])]
    return [row for row in rows if row.fingerprint]
