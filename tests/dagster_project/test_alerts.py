"""Alerts of a real instance and lake: what is observed, who is told, and that each change is told once."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from assets.stages import STAGES
from dagster_project.alerts import alert_sensor, current_alerts, evaluate
from dagster_project.cli import main
from dagster_project.instance import database_url, open_instance
from dagster_project.settings import Settings
from demo.head_servers import head_servers
from partitions.definitions import EPISODES, add_keys
from pipeline.contract import FAILED_EPISODES_TAG
from pipeline.records import Run
from pipeline.stage import Cost, Failure, Landing
from resources.lake.catalogue import Catalogue
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.lake.tables import TABLES
from resources.studio.device_leases import BUSY_FOR_S, DeviceLeases
from resources.studio.head_devices import HeadDevices
from speech.errors import EngineCrashed, NotFound
from speech.talking_head.device import HeadDevice
from tests.landings import land, land_outcome, land_stage

KEYS = [f"show-20260101-{n:08x}" for n in range(6)]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    hear = f"import sys; open({str(tmp_path / 'told')!r}, 'a').write(sys.stdin.read() + chr(10))"
    monkeypatch.setenv("PODLAKE_ALERT_COMMAND", f'{sys.executable} -c "{hear}"')
    monkeypatch.setenv("PODLAKE_ALERT_FEED_HOURS", "1e-10")  # any failure is old enough
    return Settings()


@pytest.fixture
def lake(settings: Settings) -> Lake:
    return Lake(Home.at(settings.home))


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(settings) as found:
        yield found


def told(tmp_path: Path) -> list[tuple[str, str, str]]:
    said = tmp_path / "told"
    lines = [json.loads(line) for line in said.read_text().splitlines()] if said.exists() else []
    return [(line["alert"], line["subject"], line["state"]) for line in lines]


def fail_everywhere(instance: dg.DagsterInstance, lake: Lake, stage: str) -> None:
    add_keys(instance, EPISODES, KEYS)
    run = Run("run-1", "run-1", datetime.now(UTC), len(KEYS))
    for key in KEYS:
        land_outcome(lake, STAGES[stage], Failure(key, EngineCrashed("the GPU is gone")), run)


def test_a_new_home_has_none(instance, lake, settings):
    assert current_alerts(instance, lake, settings) == []


def test_an_engine_that_fails_everywhere_is_told_once_and_its_end_too(instance, lake, settings, tmp_path):
    fail_everywhere(instance, lake, "transcript")
    for _ in range(2):
        found, problems = evaluate(instance, lake, settings)
        assert [(alert.name, alert.subject) for alert in found] == [("engine_fails", "transcript")]
        assert "the GPU is gone" in found[0].message
        assert problems == []
    run = Run("run-2", "run-2", datetime.now(UTC), 1)
    land_outcome(lake, STAGES["transcript"], Landing(KEYS[0], {"words": []}, Cost(audio_sha256="ab" * 32)), run)
    assert evaluate(instance, lake, settings) == ([], [])
    assert told(tmp_path) == [("engine_fails", "transcript", "raised"), ("engine_fails", "transcript", "over")]


def test_a_stalled_feed_unless_it_has_ended(instance, lake, settings):
    catalogue = Catalogue(lake)
    [feed] = catalogue.subscribe([("https://a.test/feed.xml", "Show")])
    run = Run("run-1", "run-1", datetime.now(UTC) - timedelta(days=3), 1)
    land_outcome(lake, STAGES["episodes"], Failure(feed.feed_id, NotFound("404 there")), run)
    assert [(one.name, one.subject) for one in current_alerts(instance, lake, settings)] == [
        ("stalled_feed", feed.feed_id)
    ]
    catalogue.end(feed)
    assert current_alerts(instance, lake, settings) == []


@pytest.mark.parametrize(("seen_ago", "names"), [(timedelta(minutes=1), []), (timedelta(days=1), ["nothing_lands"])])
def test_a_new_episode_after_a_day_without_one_is_no_alert(instance, lake, settings, seen_ago, names):
    now = datetime.now(UTC)
    land_stage(lake, "audio", "show-20260101-ffffffff", {}, finished_at=now - timedelta(days=2))
    row = {"episode_id": KEYS[0], "feed_id": "show", "guid": "1", "first_seen_at": now - seen_ago,
           "enclosure_url": "https://a.test/1.mp3"}  # fmt: skip
    land(lake, TABLES["episodes"], "show", [row])
    add_keys(instance, EPISODES, KEYS[:1])
    found = current_alerts(instance, lake, settings)
    assert [one.name for one in found] == names


def test_a_run_that_failed_as_a_whole(instance, lake, settings):
    @dg.op
    def breaks() -> None:
        raise dg.Failure("nothing works")

    @dg.job
    def broken() -> None:
        breaks()

    lost = broken.execute_in_process(instance=instance, raise_on_error=False)
    of_episodes = broken.execute_in_process(instance=instance, raise_on_error=False, tags={FAILED_EPISODES_TAG: "2"})
    assert not lost.success
    assert not of_episodes.success
    assert [(one.name, one.subject) for one in current_alerts(instance, lake, settings)] == [("lost_run", lost.run_id)]


def test_the_sensor_tells_and_the_command_lists(instance, lake, settings, tmp_path):
    fail_everywhere(instance, lake, "diarization")
    sensor = alert_sensor(settings)
    assert sensor.default_status is dg.DefaultSensorStatus.RUNNING
    context = dg.build_sensor_context(instance, resources={"lake": lake})
    skipped = sensor(context)
    assert isinstance(skipped, dg.SkipReason)
    assert skipped.skip_message == "Raised: engine_fails diarization"
    assert told(tmp_path) == [("engine_fails", "diarization", "raised")]
    listed = CliRunner().invoke(main, ["alerts"])
    assert listed.exit_code == 1
    assert "engine_fails" in listed.output
    tested = CliRunner().invoke(main, ["alerts", "--test"])
    assert tested.output == "command: sent\n"
    assert told(tmp_path)[-1] == ("test", "message", "raised")


def test_without_a_channel_the_sensor_is_off(settings, monkeypatch):
    monkeypatch.setenv("PODLAKE_ALERT_COMMAND", "")
    assert alert_sensor(Settings()).default_status is dg.DefaultSensorStatus.STOPPED
    refused = CliRunner().invoke(main, ["alerts", "--test"])
    assert refused.exit_code == 2
    assert "PODLAKE_ALERT_EMAIL" in refused.output


def test_a_device_that_is_set_aside_is_told_once_and_when_it_is_fit_again(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, tmp_path: Path
) -> None:
    now = [time.time()]
    leases = DeviceLeases(database_url(settings), clock=lambda: now[0])
    with head_servers(tmp_path, 2) as pairs:
        settings = settings.model_copy(update={"head_devices": tuple(pair.device for pair in pairs)})
        heads = HeadDevices(settings.head_devices, leases)
        pairs[0].video.used_by_others = True
        with heads.leased("video-1", lambda: None) as held:
            assert held.device.name == "gpu1"
        for _ in range(2):
            evaluate(instance, lake, settings)
        now[0] -= BUSY_FOR_S + 1  # its time aside is over, and nobody has looked at it
        leases.set_aside("gpu0", "It is busy.", BUSY_FOR_S)
        now[0] = time.time()
        assert leases.states(["gpu0"])[0].is_free
        evaluate(instance, lake, settings)
        assert told(tmp_path) == [("device_set_aside", "gpu0", "raised")]
        pairs[0].video.used_by_others = False
        with heads.leased("video-2", lambda: None, only=["gpu0"]):
            pass
        evaluate(instance, lake, settings)
    assert told(tmp_path) == [("device_set_aside", "gpu0", "raised"), ("device_set_aside", "gpu0", "over")]


def test_a_device_that_timed_out_is_an_alert_until_a_person_brings_it_back(
    instance: dg.DagsterInstance, lake: Lake, settings: Settings, tmp_path: Path
) -> None:
    device = HeadDevice("gpu0", "http://10.0.0.9:1", "http://10.0.0.9:2", tmp_path, tmp_path)
    settings = settings.model_copy(update={"head_devices": (device,)})
    leases = DeviceLeases(database_url(settings))
    leases.set_aside("gone", "The settings do not name it any more.")
    leases.timed_out("gpu0")
    assert current_alerts(instance, lake, settings) == []
    leases.timed_out("gpu0")
    (alert,) = current_alerts(instance, lake, settings)
    assert alert.message.endswith("Restart its servers. Then use it again: podlake video device-back gpu0")
    leases.bring_back("gpu0")
    assert current_alerts(instance, lake, settings) == []
