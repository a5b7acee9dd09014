"""`export_*` writes what `podlake export` writes, and Dagster shows profile, lake state, hours and what is left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.exports.exports import EXPORTS, export_asset
from assets.exports.transcripts import export_transcripts
from dagster_project.build_resources import build_resources
from dagster_project.settings import Settings
from resources.exports.registry import DATASETS
from tests.exports import land_exportable, talk
from tests.instances import instance_for_test
from tests.talks import RAIN, land_talks

KEY = "show-20260101-00000001"


def materialized(folder: Path, form: str, **config: Any) -> dict[str, Any]:
    asset = export_asset(form)
    with instance_for_test() as instance:
        result = dg.materialize(
            [asset],
            instance=instance,
            resources=build_resources(Settings(home=str(folder))),
            run_config={"ops": {asset.op.name: {"config": config}}},
        )
        (event,) = result.get_asset_materialization_events()
    return {
        name: value.records if isinstance(value, dg.TableMetadataValue) else value.value
        for name, value in event.materialization.metadata.items()
    }


def test_every_format_of_data_sets_is_an_asset() -> None:
    names = {asset.key.to_user_string() for asset in EXPORTS}
    assert names == {f"export_{form.replace('-', '_')}" for form in DATASETS}


def test_metadata_tells_profile_and_lake_state(tmp_path: Path) -> None:
    talks = [talk(KEY, 10, {"A": "host"}), talk("show-20260102-00000002", 4, license="all rights reserved")]
    land_exportable(tmp_path, talks, {"show": {}})
    metadata = materialized(tmp_path, "huggingface", profile="asr", split="50/50", split_by="voice")
    manifest = json.loads((tmp_path / "exports" / "huggingface" / "manifest.json").read_text())
    assert (metadata["profile"], metadata["lake_state"], metadata["plan"]) == (
        "asr",
        manifest["lake_state"],
        manifest["plan"],
    )
    assert metadata["dagster/row_count"] == manifest["utterances"] == 10
    assert metadata["splits"].keys() == {"train", "validation"}
    assert metadata["licenses"].keys() == {"cc-by-4.0"}
    (left_out,) = metadata["left_out"]
    assert left_out.data["utterances"] == 4
    assert left_out.data["reason"].startswith("license all-rights-reserved")
    again = materialized(tmp_path, "huggingface", profile="asr", split="50/50", split_by="voice")
    assert (metadata["was_complete"], again["was_complete"]) == (False, True)
    assert again["plan"] == metadata["plan"]


def test_a_new_landing_changes_the_lake_state(tmp_path: Path) -> None:
    land_exportable(tmp_path, [talk(KEY, 4)], {"show": {}})
    before = materialized(tmp_path, "jsonl")["lake_state"]
    land_exportable(tmp_path, [talk(KEY, 5)], {"show": {}})
    assert materialized(tmp_path, "jsonl")["lake_state"] != before


def test_nothing_to_export_fails_with_the_reasons(tmp_path: Path) -> None:
    land_exportable(tmp_path, [talk(KEY, 4, license=None)], {"show": {}})
    with pytest.raises(dg.Failure, match="No utterance can be exported") as failed:
        materialized(tmp_path, "jsonl")
    assert "no license is stated" in str(failed.value.metadata["left_out"])


def test_transcripts(tmp_path: Path) -> None:
    lake = land_talks(tmp_path).home
    resources = build_resources(Settings(home=str(tmp_path)))
    config = {"ops": {"export_transcripts": {"config": {"formats": ["srt", "rttm"], "feeds": ["show"]}}}}
    with instance_for_test() as instance:
        result = dg.materialize([export_transcripts], instance=instance, resources=resources, run_config=config)
        (event,) = result.get_asset_materialization_events()
    metadata = {name: value.value for name, value in event.materialization.metadata.items()}
    assert (metadata["episodes"], metadata["dagster/row_count"], len(metadata["lake_state"])) == (2, 4, 10)
    assert (Path(lake.path("exports")) / "srt" / f"{RAIN}.srt").read_text().startswith("1\n00:00:00,000 --> ")
    assert (Path(lake.path("exports")) / "rttm" / f"{RAIN}.rttm").exists()
    config["ops"]["export_transcripts"]["config"]["formats"] = ["doc"]
    with instance_for_test() as instance, pytest.raises(dg.Failure, match="There is no format doc"):
        dg.materialize([export_transcripts], instance=instance, resources=resources, run_config=config)
