"""`same_audio`: which episodes of all feeds are copies of others."""

from collections import Counter
from datetime import UTC, datetime

import dagster as dg

from pipeline.run_process import tag_process
from resources.lake.compaction import exclusive
from resources.lake.lake import Lake
from resources.lake.near_copies import same_audio_rows
from resources.lake.tables import SAME_AUDIO


@dg.asset(
    group_name="audio",
    kinds={"parquet"},
    pool="sealing",
    deps=["hashes"],
    required_resource_keys={"lake"},
    code_version="1",
)
def same_audio(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Finds episodes with equal files, equal samples or near copies of each other, in the whole lake."""
    tag_process(context.instance, context.run.run_id)
    lake: Lake = context.resources.lake
    rows = same_audio_rows(lake, context.run.run_id, datetime.now(UTC))
    with exclusive(lake.home):
        there = lake.current(
            "hashes", sorted({key for row in rows for key in (row.episode_id, row.original_episode_id)})
        )
        # Not the episodes that were forgotten during the search.
        rows = [row for row in rows if row.episode_id in there and row.original_episode_id in there]
        lake.replace(SAME_AUDIO, SAME_AUDIO.landing_key(), SAME_AUDIO.of(rows))
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": len(rows),
            "originals": len({row.original_episode_id for row in rows}),
            **dict(Counter(row.method for row in rows)),
        }
    )
