"""`audio_retention`: remove the audio of complete episodes that is too old or too much."""

from datetime import UTC, datetime

import dagster as dg

from assets.stages import EPISODE_GRAPH
from pipeline.retention import AudioRule, removals, remove_audio
from pipeline.run_process import tag_process
from resources.fetch.audio_store import AudioStore
from resources.lake.lake import Lake


@dg.asset(
    group_name="audio",
    kinds={"parquet"},
    pool="sealing",
    deps=EPISODE_GRAPH.terminal,
    required_resource_keys={"lake", "audio_store", "audio_rule"},
    code_version="1",
)
def audio_retention(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Removes audio of complete episodes by age or size, as PODLAKE_KEEP_AUDIO_DAYS and PODLAKE_KEEP_AUDIO_GB say.

    Rows stay valid. With PODLAKE_AUDIO_COPY=opus a small copy stays. A materialization of `audio` fetches it again.
    """
    tag_process(context.instance, context.run.run_id)
    lake: Lake = context.resources.lake
    store: AudioStore = context.resources.audio_store
    rule: AudioRule = context.resources.audio_rule
    chosen = removals(context.instance, lake, EPISODE_GRAPH, rule, datetime.now(UTC))
    removed = list(remove_audio(lake, store, chosen, copies=rule.copies, run_id=context.run.run_id))
    return dg.MaterializeResult(
        metadata={
            "files_removed": len(removed),
            "bytes_removed": sum(row.bytes for row in removed),
            "bytes_of_copies": sum(row.copy_bytes or 0 for row in removed),
            "kept_because_the_copy_failed": len(chosen) - len(removed),
        }
    )
