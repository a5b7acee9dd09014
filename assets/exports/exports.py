"""`export_*`: an asset for each format of data sets. Profile, splits and licenses are its run configuration."""

from typing import Any, Literal

import dagster as dg
from pydantic import Field

from pipeline.run_process import tag_process
from resources.exports.dataset import Result, export_dataset
from resources.exports.licenses import PERMISSIVE
from resources.exports.registry import DATASETS
from resources.exports.selection import Choice
from resources.exports.splits import SplitRule
from resources.lake.lake import Lake
from speech.errors import PodlakeError


class Export(dg.Config):
    """What a data set contains, and where it is written."""

    profile: str = Field("", description="Quality profile. Empty: every utterance.")
    feeds: list[str] = Field([], description="Only these feeds. Empty: all.")
    licenses: list[str] = Field(
        [PERMISSIVE], description="permissive, any, unstated, or names of licenses such as cc-by-sa."
    )
    split: str = Field("100", description="Shares of train, validation and test, such as 98/1/1.")
    split_by: Literal["feed", "voice"] = Field("feed", description="What is in one split only.")
    audio: Literal["flac", "opus", "wav"] = Field("flac", description="Format of the audio.")
    out: str = Field("", description="Folder, or s3://bucket/prefix. Empty: exports/FORMAT in the home.")

    def choice(self) -> Choice:
        """Raises ValueError and PodlakeError."""
        rule = SplitRule.parse(self.split, self.split_by)
        return Choice(self.profile or None, tuple(self.feeds), (), tuple(self.licenses), rule)


def export_asset(form: str) -> dg.AssetsDefinition:
    """The asset that writes data sets in a format."""

    @dg.asset(
        name=f"export_{form.replace('-', '_')}",
        group_name="exports",
        kinds={_KINDS.get(form, form)},
        description=f"{(DATASETS[form].__doc__ or '').splitlines()[0]} The same as `podlake export {form}`; run it again "
        "to continue an interrupted export.",
        pool="cpu",
        deps=["utterances", "voices"],
        required_resource_keys={"lake", "audio_store", "waveforms"},
        code_version="1",
    )
    def export(context: dg.AssetExecutionContext, config: Export) -> dg.MaterializeResult:
        tag_process(context.instance, context.run.run_id)
        lake: Lake = context.resources.lake
        out = config.out or "/".join((lake.home.uri.rstrip("/"), "exports", form))
        try:
            choice = config.choice()
        except ValueError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        logged_percent = 0

        def progress(done_ms: int, total_ms: int) -> None:
            nonlocal logged_percent
            if (percent := 100 * done_ms // total_ms) >= logged_percent + 10:
                logged_percent = percent
                context.log.info("%s: %d %% of %.2f h", out, percent, total_ms / 3.6e6)

        try:
            result = export_dataset(
                lake,
                context.resources.audio_store,
                context.resources.waveforms,
                form,
                choice,
                out,
                codec=config.audio,
                command=f"materialize the asset {context.asset_key.to_user_string()}",
                progress=progress,
            )
        except PodlakeError as error:
            raise dg.Failure(str(error), allow_retries=False) from error
        metadata = _metadata(result, config, out)
        if not result.selection.n_utterances:
            raise dg.Failure("No utterance can be exported, so nothing was written.", metadata, allow_retries=False)
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(result.plan))

    return export


_KINDS = {"nemo-tarred": "nemo", "lhotse-shar": "lhotse", "jsonl": "json"}


def _metadata(result: Result, config: Export, out: str) -> dict[str, Any]:
    selection, facts = result.selection, result.facts
    excluded = [
        dg.TableRecord({"reason": one.reason, "episodes": one.n_episodes, "utterances": one.n_utterances,
                        "hours": round(one.duration_ms / 3.6e6, 3)})
        for one in selection.excluded
    ]  # fmt: skip
    return {
        "dagster/uri": out,
        "dagster/row_count": selection.n_utterances,
        "profile": config.profile or "none",
        "lake_state": selection.lake_state,
        "plan": result.plan,
        "hours": selection.duration_ms / 3.6e6,
        "episodes": facts.n_episodes,
        "speakers": facts.n_speakers,
        "splits": {one.name: round(one.hours, 3) for one in facts.splits},
        "licenses": {one.name or "unstated": round(one.hours, 3) for one in facts.licenses},
        "audio": config.audio,
        "was_complete": result.was_complete,
        **({"left_out": dg.MetadataValue.table(excluded)} if excluded else {}),
    }


EXPORTS = [export_asset(form) for form in DATASETS]
