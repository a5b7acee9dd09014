"""The definitions: light to load, and everything filled in that the UI shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from assets.stages import LESSON_GRAPH, PODCAST_GRAPH, VIDEO_GRAPH
from dagster_project.definitions import build
from dagster_project.settings import Settings

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torch",
    "nemo",
    "librosa",
    "sklearn",
    "scipy",
    "numba",
    "ray",
    "faster_whisper",
    "ctranslate2",
    "onnxruntime",
    "matplotlib",
    "openstack",
)


@pytest.fixture(scope="module")
def defs(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build(Settings(home=str(tmp_path_factory.mktemp("home"))))


def test_loading_the_definitions_imports_nothing_heavy() -> None:
    code = f"import sys, dagster_project.definitions; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_asset_has_group_description_owner_kind_and_columns(defs: dg.Definitions) -> None:
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    assert set(specs) >= {
        "feeds", "episodes", "audio", "hashes", "diarization", "transcript", "turns", "quality", "warehouse"
    }  # fmt: skip
    for name, spec in specs.items():
        assert spec.group_name in {"catalogue", "audio", "speech", "dataset", "lake", "studio", "dubbing", "exports"}, (
            name
        )
        assert spec.description, name
        assert spec.owners, name
        assert spec.kinds, name
        if spec.partitions_def is not None or name == "feeds":
            schema = spec.metadata["dagster/column_schema"]
            assert all(column.description for column in schema.columns), name


def test_the_lineage_is_the_design_s(defs: dg.Definitions) -> None:
    parents = {
        spec.key.to_user_string(): {dep.asset_key.to_user_string() for dep in spec.deps}
        for spec in defs.resolve_all_asset_specs()
    }
    assert parents["episodes"] == {"feeds"}
    assert parents["audio"] == {"episodes"}
    assert parents["hashes"] == parents["diarization"] == parents["transcript"] == {"audio"}
    assert parents["turns"] == {"diarization", "transcript"}
    assert parents["utterances"] == {"audio", "diarization", "transcript", "turns"}
    assert parents["quality"] == {"hashes", "turns", "utterances", "publisher_transcript"}
    assert parents["publisher_transcript"] == {"episodes"}
    assert parents["voices"] == {"diarization"}
    assert parents["script"] == set()
    assert parents["speech_lines"] == {"script"}
    assert parents["podcast_audio"] == {"script", "speech_lines"}
    assert parents["podcast_transcript"] == {"podcast_audio"}
    assert parents["stream_package"] == {"podcast_audio", "podcast_transcript"}
    assert parents["reference_audio"] == parents["speech_text"] == set()
    assert parents["cloned_speech"] == {"reference_audio", "speech_text"}
    assert parents["talking_head_video"] == {"cloned_speech", "speech_text"}
    assert parents["podcast_hearing"] == {"script", "podcast_audio", "stream_package"}


def test_stages_that_advance_independently_have_batches_of_different_sizes(defs: dg.Definitions) -> None:
    sizes = [
        policy.max_partitions_per_run
        for assets_def in defs.assets or []
        if isinstance(assets_def, dg.AssetsDefinition) and (policy := assets_def.backfill_policy)
        if assets_def.key.to_user_string()
        not in PODCAST_GRAPH.names + LESSON_GRAPH.names + VIDEO_GRAPH.names  # these run one after the other
    ]
    assert len(sizes) == 11
    assert len(set(sizes)) == 11


def test_the_engine_s_fingerprint_is_part_of_the_code_version(tmp_path: Path) -> None:
    def versions(**settings: str) -> dict[str, str | None]:
        specs = build(Settings(home=str(tmp_path), **settings)).resolve_all_asset_specs()
        return {spec.key.to_user_string(): spec.code_version for spec in specs}

    default, other = versions(), versions(transcriber="en=whisper,zh=firered:/nowhere")
    assert default["diarization"] == other["diarization"]
    assert default["transcript"] != other["transcript"]
    assert default["audio"] == other["audio"] == "1"
