"""`export_transcripts`: transcripts as files for other tools, one for each episode and format."""

from pathlib import Path

import dagster as dg
from pydantic import Field

from pipeline.run_process import tag_process
from resources.exports.known import remember
from resources.exports.registry import TRANSCRIPTS
from resources.exports.transcripts import episodes_with_turns, write_transcripts
from resources.lake.lake import Lake
from resources.lake.warehouse import connect


class Transcripts(dg.Config):
    """Which transcripts are written, and where."""

    formats: list[str] = Field(["vtt"], description=f"Among {', '.join(TRANSCRIPTS)}.")
    feeds: list[str] = Field([], description="Only these feeds. Empty: all.")
    out: str = Field("", description="Folder of this machine. Empty: exports/FORMAT in the home, if that is a folder.")


@dg.asset(
    group_name="exports",
    kinds={"text"},
    pool="cpu",
    deps=["turns"],
    required_resource_keys={"lake"},
    code_version="1",
)
def export_transcripts(context: dg.AssetExecutionContext, config: Transcripts) -> dg.MaterializeResult:
    """Captions, RTTM, CTM, STM, TextGrid, text or JSON of every episode. The same as `podlake export FORMAT`."""
    tag_process(context.instance, context.run.run_id)
    lake: Lake = context.resources.lake
    if unknown := sorted(set(config.formats) - TRANSCRIPTS.keys()):
        raise dg.Failure(
            f"There is no format {unknown[0]}. Choose among: {', '.join(TRANSCRIPTS)}.", allow_retries=False
        )
    if not config.out and not lake.home.is_local:
        raise dg.Failure("The home is an object store. Name a folder of this machine with `out`.", allow_retries=False)
    root = Path(config.out or lake.home.path("exports"))
    with connect(lake.home) as connection:
        keys = episodes_with_turns(connection, feeds=config.feeds)
        for form in config.formats:
            remember(lake.home, str(root / form), form, f"materialize the asset export_transcripts with {form}")
            for _ in write_transcripts(connection, form, keys, root / form):
                pass
    return dg.MaterializeResult(
        metadata={
            "dagster/uri": str(root),
            "dagster/row_count": len(keys) * len(config.formats),
            "episodes": len(keys),
            "lake_state": lake.state("turns", keys),
        }
    )
