"""NeMo through the whole pipeline: five podcasts from their feed to turns, in real Dagster runs, and how good they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from importlib.util import find_spec
from operator import add
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from assets.catalogue.feeds import feeds
from bench.error_rates import WordErrors, cpwer, der, wer
from dagster_project.build_resources import build_resources
from dagster_project.settings import Settings
from dagster_project.stages import stage_assets
from demo.serve import serving
from resources.lake.lake import Lake
from resources.lake.tables import EPISODES, QUALITY, SEGMENTS, STAGE_RUNS, TURNS, WORDS, Table
from speech.engines import registry
from speech.engines.protocols import EngineChoice
from speech.types import Segment
from tests.instances import instance_for_test

ROOT = Path(__file__).parents[3]
MODELS = ROOT / "tests" / "nemo"
PODCASTS = sorted(path.stem for path in MODELS.glob("pod_*.flac"))
ONE_TO_THREE = [name for name in PODCASTS if name != "pod_4spk"]
STAGES = ("audio", "hashes", "diarization", "transcript", "turns", "utterances", "quality")

pytestmark = [
    pytest.mark.nemo,
    pytest.mark.skipif(not Settings().nemo_python and find_spec("nemo") is None, reason="needs NeMo: make nemo"),
]

FEED = """<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0"><channel><title>Held Out</title><language>en-US</language>{items}</channel></rss>"""
ITEM = """<item><title>{name}</title><guid>{name}</guid><pubDate>Thu, 01 Jan 2026 08:00:00 GMT</pubDate>
<enclosure url="http://demo.invalid/{name}.flac" length="1" type="audio/flac"/></item>"""


@dataclass(frozen=True)
class Pipeline:
    """The instance and the lake after the runs."""

    lake: Lake
    settings: Settings
    keys: dict[str, str]
    """Podcast → episode."""

    def rows(self, table: Table, name: str, *stage: str) -> list[dict[str, Any]]:
        key = self.keys[name]
        found = self.lake.history(*stage, key) if stage else self.lake.read(table, key)
        assert found is not None
        return found.to_pylist()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """From the feed to `quality`, each stage in one run over all five episodes."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "feed.xml").write_text(FEED.format(items="".join(ITEM.format(name=name) for name in PODCASTS)))
    for name in PODCASTS:
        shutil.copy(MODELS / f"{name}.flac", folder)
    settings = Settings(
        home=str(tmp_path_factory.mktemp("home")),
        diarizer="nemo:tests/nemo/sortformer_tiny.nemo",
        transcriber="nemo:tests/nemo/parakeet_tdt_tiny.nemo",
        gpus="none",
        allow_hosts="127.0.0.1",
    )
    given = build_resources(settings)
    assets = [feeds, *stage_assets(settings, given["engines"], given["voices"])]
    with serving(folder) as base, instance_for_test() as instance, pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)  # the models are chosen by relative paths
        (feed,) = given["catalogue"].subscribe([(f"{base}/feed.xml", "Held Out")])

        def run(name: str, **partitions: Any) -> None:
            assert dg.materialize(assets, selection=[name], instance=instance, resources=given, **partitions).success

        run("feeds")
        run("episodes", partition_key=feed.feed_id)
        order = instance.get_dynamic_partitions("episodes")
        every_one = {ASSET_PARTITION_RANGE_START_TAG: order[0], ASSET_PARTITION_RANGE_END_TAG: order[-1]}
        for stage in STAGES:
            run(stage, tags=every_one)
        listed = given["lake"].read(EPISODES, feed.feed_id)
        assert listed is not None
        keys = {row["guid"]: row["episode_id"] for row in listed.to_pylist()}
        yield Pipeline(given["lake"], settings, keys)


def truth(name: str) -> dict[str, Any]:
    return json.loads((MODELS / f"{name}.json").read_text())


def said(name: str) -> dict[str, str]:
    """Speaker → everything that speaker says, in truth."""
    texts: dict[str, str] = {}
    for turn in truth(name)["turns"]:
        texts[turn["speaker"]] = f"{texts.get(turn['speaker'], '')} {turn['text']}"
    return texts


def audio_inputs(made: Pipeline, name: str) -> dict[str, str]:
    """Speaker → everything that was heard of that speaker."""
    texts: dict[str, str] = {}
    for turn in made.rows(TURNS, name):
        texts[str(turn["speaker"])] = f"{texts.get(str(turn['speaker']), '')} {turn['text']}"
    return texts


def test_every_episode_has_landed(made: Pipeline) -> None:
    assert sorted(made.keys) == PODCASTS
    for name in PODCASTS:
        assert [run["outcome"] for stage in STAGES for run in made.rows(STAGE_RUNS, name, stage)] == ["landed"] * len(
            STAGES
        )


@pytest.mark.parametrize("name", ONE_TO_THREE)
def test_der_without_collar_of_one_to_three_speakers(made: Pipeline, name: str) -> None:
    spoken = [
        Segment(turn["speaker"], round(start * 1000), round(end * 1000))
        for turn in truth(name)["turns"]
        for start, end, _ in turn["sentences"]  # pauses between sentences are not speech
    ]
    found = [Segment(row["speaker"], row["start_ms"], row["end_ms"]) for row in made.rows(SEGMENTS, name)]
    assert der(spoken, found).rate <= 0.05
    assert {segment.speaker for segment in found} == {f"S{i + 1}" for i in range(len(said(name)))}


def test_four_speakers_are_found_and_said_to_be_all_that_can_be_told_apart(made: Pipeline) -> None:
    assert {row["speaker"] for row in made.rows(SEGMENTS, "pod_4spk")} == {"S1", "S2", "S3", "S4"}
    (row,) = made.rows(QUALITY, "pod_4spk")
    assert (row["n_speakers"], row["speaker_capacity"], row["speakers_saturated"]) == (4, 4, True)
    assert "speakers_saturated" in row["flags"]


def test_wer(made: Pipeline) -> None:
    errors = [
        wer(
            " ".join(turn["text"] for turn in truth(name)["turns"]),
            " ".join(row["word"] for row in made.rows(WORDS, name)),
        )
        for name in ONE_TO_THREE  # where two talk at once, the order of words is nobody's
        if name != "pod_overlap"
    ]
    assert reduce(add, errors).rate <= 0.10


@pytest.mark.parametrize("name", ONE_TO_THREE)
def test_cpwer_of_one_to_three_speakers(made: Pipeline, name: str) -> None:
    found: WordErrors = cpwer(said(name), audio_inputs(made, name))
    assert found.rate <= 0.10


def test_rows_carry_the_fingerprint_and_runs_say_what_made_them(made: Pipeline) -> None:
    diarizer = registry.describe_diarizer(
        EngineChoice("nemo", str(MODELS / "sortformer_tiny.nemo"), {"preset": "high_latency"})
    )
    transcriber = registry.describe_transcriber(EngineChoice("nemo", str(MODELS / "parakeet_tdt_tiny.nemo")))
    assert {row["engine_fingerprint"] for row in made.rows(SEGMENTS, "pod_2spk")} == {diarizer.fingerprint}
    assert {row["engine_fingerprint"] for row in made.rows(WORDS, "pod_2spk")} == {transcriber.fingerprint}
    (run,) = made.rows(STAGE_RUNS, "pod_2spk", "diarization")
    assert (run["engine"], run["device"], run["peak_device_mb"]) == ("nemo", "cpu", None)
    assert run["model"] == f"tests/nemo/sortformer_tiny.nemo {diarizer.revision} high_latency"
    assert run["engine_ms"] > 0
    assert run["rtfx"] == pytest.approx(run["audio_ms"] / run["engine_ms"])


def test_words_have_confidence_and_times_inside_the_episode(made: Pipeline) -> None:
    (quality,) = made.rows(QUALITY, "pod_3spk")
    words = made.rows(WORDS, "pod_3spk")
    assert all(0 < row["confidence"] <= 1 and not row["times_estimated"] for row in words)
    assert all(row["language"] == "en" for row in words)
    assert max(row["end_ms"] for row in words) <= quality["duration_ms"]
    assert quality["n_words"] == len(words)


def test_one_episode_by_the_command_line_with_another_preset(made: Pipeline, tmp_path: Path) -> None:
    """Dagster's own command, whose `--select` NeMo's dependencies would break in the same environment."""
    key = made.keys["pod_solo"]
    (tmp_path / "dagster.yaml").touch()
    environment = {
        **os.environ,
        "DAGSTER_HOME": str(tmp_path),
        "PODLAKE_HOME": made.settings.home,
        "PODLAKE_NEMO_PYTHON": made.settings.nemo_python,
        "PODLAKE_DIARIZER": made.settings.diarizer,
        "PODLAKE_DIARIZER_PRESET": "low_latency",
        "PODLAKE_TRANSCRIBER": made.settings.transcriber,
        "PODLAKE_GPUS": "none",
    }
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        instance.add_dynamic_partitions("episodes", [key])
    command = [
        str(Path(sys.executable).parent / "dagster"),
        "asset",
        "materialize",
        "-m",
        "dagster_project.definitions",
    ]
    done = subprocess.run(
        [*command, "--select", "diarization", "--partition", key], cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    low = registry.describe_diarizer(
        EngineChoice("nemo", str(MODELS / "sortformer_tiny.nemo"), {"preset": "low_latency"})
    )
    assert {row["engine_fingerprint"] for row in made.rows(SEGMENTS, "pod_solo")} == {low.fingerprint}
    assert made.rows(STAGE_RUNS, "pod_solo", "diarization")[-1]["model"].endswith(f"{low.revision} low_latency")
