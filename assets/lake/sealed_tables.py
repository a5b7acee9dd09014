"""`sealed_tables`: compact landed episodes into large sorted files."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import chain

import dagster as dg
from pydantic import Field

from assets.stages import EPISODE_GRAPH, FEED_GRAPH, GATHERING, LESSON_GRAPH, PODCAST_GRAPH, VIDEO_GRAPH
from pipeline.live_window import admit, archive_finished, keys_to_seal
from pipeline.run_process import tag_process
from resources.lake.compaction import Sealed, open_before, seal, settled
from resources.lake.lake import Lake

GATHERING_NAMES = tuple(stage.name for stage in GATHERING)
REQUESTED_NAMES = (*PODCAST_GRAPH.names, *LESSON_GRAPH.names, *VIDEO_GRAPH.names)


class Sealing(dg.Config):
    """Which landings are compacted."""

    after_hours: float = Field(1.0, ge=0, description="Compact landings that are at least so old.")
    episodes: bool = Field(True, description="Also those of episodes and of polls, and not only what feeds gather.")
    requested: bool = Field(True, description="Also those of podcasts, lessons and videos.")


@dg.asset(
    group_name="lake",
    kinds={"parquet"},
    pool="sealing",
    deps=EPISODE_GRAPH.terminal,
    required_resource_keys={"lake", "catalogue", "window"},
    code_version="1",
)
def sealed_tables(context: dg.AssetExecutionContext, config: Sealing) -> dg.MaterializeResult:
    """Compacts finished episodes into sealed files of 64 MB, sorted by episode, so that queries open few files.

    It can run at any time, beside readers and stages. Finished episodes leave the live window first; then waiting ones
    are admitted. What feeds gather from their episodes, such as voices, is a file per feed, which views join with every
    transcript: it is compacted more often. A podcast, lesson or video is compacted when nothing of it has landed for a
    while, finished or not: a lesson may wait for its review for weeks.
    """
    tag_process(context.instance, context.run.run_id)
    lake: Lake = context.resources.lake
    window = context.resources.window
    older_than = timedelta(hours=config.after_hours)
    before = datetime.now(UTC) - older_than
    done: list[Sealed] = []
    archived: list[str] = []
    admitted: list[str] = []
    if config.episodes:
        keys = keys_to_seal(context.instance, lake, EPISODE_GRAPH, older_than)
        archived = archive_finished(context.instance, lake, EPISODE_GRAPH, window, keys)
        done += seal(lake, keys | settled(lake, FEED_GRAPH, before))
        admitted = admit(context.instance, context.resources.catalogue, window, EPISODE_GRAPH)
    requested = seal(lake, open_before(lake, REQUESTED_NAMES, before)) if config.requested else iter(())
    gathered = seal(lake, open_before(lake, GATHERING_NAMES, before), stages=GATHERING_NAMES)
    done += [sealed for sealed in chain(requested, gathered) if sealed.landings]
    return dg.MaterializeResult(
        metadata={
            "episodes_archived": len(archived),
            "episodes_admitted": len(admitted),
            "landings_sealed": sum(sealed.landings for sealed in done),
            "rows_sealed": sum(sealed.rows for sealed in done),
            "bytes_added": sum(sealed.bytes_added for sealed in done),
            "seconds": sum(sealed.seconds for sealed in done),
            "tables": dg.MetadataValue.table(
                [dg.TableRecord(asdict(sealed)) for sealed in done],
                schema=None if done else dg.TableSchema(columns=[]),  # there is no row to infer it from
            ),
        }
    )
