"""`podlake retry` and `podlake reopen`, as a user types them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from assets.stages import STAGES
from dagster_project.backfills import request_backfill
from dagster_project.cli import main
from dagster_project.definitions import build
from dagster_project.instance import open_instance
from dagster_project.retry import failed, retry_by_backfill
from dagster_project.settings import ROOT, Settings
from partitions.definitions import EPISODES, add_keys
from pipeline.dagster_internals import active_backfills
from pipeline.records import Run
from pipeline.run_keys import key_tags
from pipeline.stage import Cost, Failure, Landing
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import ACQUISITIONS, FAILURES
from speech.errors import NetworkError, NotFound
from tests.landings import backlog, land_outcome, open_keys, seal_settled


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that it is put back: opening the instance sets it
    monkeypatch.delenv("DAGSTER_HOME")
    return Settings(home=str(tmp_path / "home"))


def podlake(settings: Settings, *arguments: str) -> str:
    """A command, in this process. What is run needs one of its own: definitions are loaded with the settings."""
    if "--here" not in arguments:
        result = CliRunner().invoke(main, arguments, env={"PODLAKE_HOME": settings.home, "DAGSTER_HOME": None})
        assert result.exit_code == 0, result.output
        return result.stdout
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    environment |= {"PODLAKE_HOME": settings.home, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "dagster_project.cli", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fail(lake: Lake, stage: str, key: str, error: Exception) -> None:
    land_outcome(lake, STAGES[stage], Failure(key, error), Run("run", "run", datetime.now(UTC), 1))


def test_failures_are_chosen_by_stage_class_and_feed(settings: Settings) -> None:
    lake = Lake(Home.at(settings.home))
    fail(lake, "audio", "a-20260101-00000001", NetworkError("the line broke"))
    fail(lake, "audio", "b-20260101-00000001", NotFound("gone"))
    fail(lake, "transcript", "a-20260101-00000002", NetworkError("?"))
    everything = {"audio": ["b-20260101-00000001", "a-20260101-00000001"], "transcript": ["a-20260101-00000002"]}
    assert failed(lake.home) == everything
    assert failed(lake.home, stages=["transcript"]) == {"transcript": ["a-20260101-00000002"]}
    assert failed(lake.home, classes=["http_not_found"]) == {"audio": ["b-20260101-00000001"]}
    assert failed(lake.home, feeds=["a"], stages=["audio"]) == {"audio": ["a-20260101-00000001"]}
    assert failed(lake.home, feeds=["c"]) == {}


def test_fifty_scattered_failures_are_tried_again_in_one_run(settings: Settings) -> None:
    lake = Lake(Home.at(settings.home))
    catalogue = Catalogue(lake)
    for n in range(100):
        path = Path(settings.home).parent / f"{n}.wav"
        path.write_bytes(b"RIFF" + bytes([n]))
        catalogue.add_single(str(path), f"Part {n}", "en")
    job = build(settings).resolve_implicit_global_asset_job_def()
    with open_instance(settings) as instance:
        for asset, partition in (("feeds", None), ("episodes", "singles")):
            job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(asset)], partition_key=partition)
        scattered = instance.get_dynamic_partitions("episodes")[::2]
        for key in scattered:
            fail(lake, "audio", key, NetworkError("the line broke"))
        said = podlake(settings, "retry", "--stage", "audio", "--here")
        runs = [run for run in instance.get_runs() if run.asset_selection == {dg.AssetKey("audio")}]
        assert said.startswith("audio: 50 to try again\n")
        assert sorted(open_keys(lake, ACQUISITIONS)) == sorted(scattered)
        assert open_keys(lake, FAILURES) == []
        assert [run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS]
        assert instance.get_dynamic_partitions("episodes")[-50:] == scattered

        fail(lake, "audio", scattered[0], NotFound("gone"))
        said = podlake(settings, "retry", "--error-class", "http_not_found")
        (backfill,) = instance.get_backfills()
        assert f"Backfill {backfill.backfill_id} is requested" in said
        assert "daemon is not running" in said
        assert backfill.tags["dagster/max_runtime"] == "7200"


def test_an_archived_episode_is_brought_back_to_work(settings: Settings) -> None:
    lake, key = Lake(Home.at(settings.home)), "show-20260101-00000001"
    for stage in STAGES.values():
        if stage.partitions is EPISODES:
            run = Run("run", "run", datetime.now(UTC), 1)
            land_outcome(lake, stage, Landing(key, {}, Cost("a" * 64)), run)
    seal_settled(lake)
    assert backlog(lake) == 0
    with open_instance(settings) as instance:
        add_keys(instance, EPISODES, ["show-20260102-00000002"])
        said = podlake(settings, "reopen", key)
        assert instance.get_dynamic_partitions("episodes") == ["show-20260102-00000002", key]
    assert said.startswith("1 in work again, with 8 landings")
    assert f"--partition {key}" in said
    assert backlog(lake) == 1


def test_the_planner_decides_what_a_retry_requests(settings: Settings) -> None:
    """An input that is missing runs first; what is in flight is not requested again."""
    lake = Lake(Home.at(settings.home))
    ready, without_input, queued = (f"a-2026010{n}-0000000{n}" for n in (1, 2, 3))
    for key in (ready, queued):
        land_outcome(lake, STAGES["audio"], Landing(key, {}, Cost("a" * 64)), Run("r", "r", datetime.now(UTC), 1))
    for key in (ready, without_input, queued):
        fail(lake, "transcript", key, NetworkError("the line broke"))
    wanted = failed(lake.home)
    with open_instance(settings) as instance:
        add_keys(instance, EPISODES, [ready, without_input, queued])
        job = build(settings).resolve_implicit_global_asset_job_def()
        instance.create_run_for_job(
            job, tags=key_tags([queued]), asset_selection=frozenset([dg.AssetKey("transcript")])
        )
        backfill_id = retry_by_backfill(instance, settings, lake, wanted)
        ((targets, _),) = active_backfills(instance)
        assert backfill_id
        assert targets["transcript"] == {ready, without_input}
        assert targets["audio"] == {without_input}
        assert targets["turns"] == {ready, without_input}
        assert targets["hashes"] == {without_input}
        assert retry_by_backfill(instance, settings, lake, wanted) is None


def test_no_retry_moves_a_key_of_a_queued_run_or_an_active_backfill(settings: Settings) -> None:
    """Dagster names only the ends of the key ranges of a backfill's runs, so its keys stay in their order."""
    lake = Lake(Home.at(settings.home))
    keys = [f"a-20260101-{n:08x}" for n in range(6)]
    with open_instance(settings) as instance:
        add_keys(instance, EPISODES, keys)
        request_backfill(instance, settings, {"audio": keys[:3]}, "first")
        job = build(settings).resolve_implicit_global_asset_job_def()
        in_the_ui = {"dagster/asset_partition_range_start": keys[3], "dagster/asset_partition_range_end": keys[4]}
        instance.create_run_for_job(job, tags=in_the_ui, asset_selection=frozenset([dg.AssetKey("audio")]))
        for key in (keys[0], keys[2], keys[5]):
            fail(lake, "hashes", key, NetworkError("the line broke"))
        request_backfill(instance, settings, failed(lake.home), "second")
        assert instance.get_dynamic_partitions("episodes") == keys


def test_an_archived_episode_that_failed_is_brought_back_too(settings: Settings) -> None:
    lake, key = Lake(Home.at(settings.home)), "show-20260101-00000001"
    land_outcome(lake, STAGES["audio"], Landing(key, {}, Cost("a" * 64)), Run("run", "run", datetime.now(UTC), 1))
    fail(lake, "hashes", key, NotFound("gone"))
    with open_instance(settings) as instance:
        assert podlake(settings, "reopen", key).startswith("1 in work again, with 0 landings")
        assert instance.get_dynamic_partitions("episodes") == [key]
