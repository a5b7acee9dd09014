"""The sensor that shelves GPU servers, and the alerts about those that run without work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dagster_project.alerts import current_alerts
from dagster_project.build_resources import build_resources
from dagster_project.gpu_servers import gpu_server_sensor, has_runs
from dagster_project.instance import database_url
from dagster_project.settings import Settings
from resources.gpu_server.ledger import GpuServerLedger, KnownServer, costly
from resources.lake.home import Home
from resources.lake.lake import Lake
from resources.studio.ledger import Asked, Limits
from resources.studio.lessons import NewLesson
from resources.studio.video_ledger import AskedVideo, VideoLimits
from speech.talking_head.device import HeadDevice
from tests.resources.gpu_server.clouds import Cloud, running_cloud

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
IDLE = timedelta(minutes=15)
pytestmark = pytest.mark.filterwarnings(
    "ignore:Support for InfluxDB", "ignore:The _compute_attributes", "ignore:The 'service_type'"
)  # openstacksdk's own


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with running_cloud(status="ACTIVE") as found:
        for name in [name for name in os.environ if name.startswith("OS_")]:
            monkeypatch.delenv(name)
        for name, value in found.environment().items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture
def settings(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("PODLAKE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PODLAKE_DATABASE_URL", f"sqlite:///{tmp_path}/service.db")
    monkeypatch.setenv("PODLAKE_GPU_SERVERS", f"gpu-1={cloud.url}/health")
    monkeypatch.setenv("PODLAKE_GPU_SERVER_IDLE_MIN", "0.000001")
    return Settings()


@pytest.fixture
def instance(settings: Settings) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        if settings.gpu_servers:
            GpuServerLedger(database_url(settings)).known("gpu-1")  # its idle time begins
        yield found


def given(settings: Settings) -> dict[str, Any]:
    """What the sensor asks for."""
    names = ("gpu_servers", "lake", "ledger", "lesson_ledger", "video_ledger", "head_devices")
    resources = build_resources(settings)
    return {name: resources[name] for name in names}


def tick(settings: Settings, instance: dg.DagsterInstance) -> str:
    context = dg.build_sensor_context(instance=instance, resources=given(settings))
    found = gpu_server_sensor(settings)(context)
    assert isinstance(found, dg.SkipReason)
    return str(found.skip_message)


def begin_run(instance: dg.DagsterInstance, asset: str) -> str:
    run = instance.create_run_for_job(
        _job(asset), status=dg.DagsterRunStatus.STARTED, asset_selection=frozenset({dg.AssetKey(asset)})
    )
    return run.run_id


def _job(asset: str) -> dg.JobDefinition:
    @dg.asset(name=asset)
    def work() -> None: ...

    return dg.Definitions(assets=[work]).resolve_implicit_global_asset_job_def()


def test_an_idle_server_is_shelved_unless_runs_need_it(
    settings: Settings, instance: dg.DagsterInstance, cloud: Cloud
) -> None:
    begin_run(instance, "transcript")
    assert not has_runs(instance)
    run_id = begin_run(instance, "speech_lines")
    assert has_runs(instance)
    assert tick(settings, instance) == "gpu-1: Work waits for it."
    run = instance.get_run_by_id(run_id)
    assert run
    instance.report_run_canceled(run)
    assert tick(settings, instance) == "gpu-1: Shelved after 0 idle minutes."
    assert cloud.actions == ["shelve"]


def test_requests_that_wait_for_a_run_keep_the_server(settings: Settings, instance: dg.DagsterInstance) -> None:
    resources = given(settings)
    podcasts, lessons = resources["ledger"], resources["lesson_ledger"]
    asked = Asked("ana", "[S1] Hello there, everyone, and welcome. [S2] Good morning to you.", "A show")
    answer = podcasts.admit(asked, Limits(), lambda _: [])
    assert tick(settings, instance) == "gpu-1: Work waits for it."
    assert podcasts.cancel(answer.podcast_id)
    new = NewLesson("Mitosis", "en", "es", "ana")
    lesson_id = lessons.new_key(new)
    lessons.add(lesson_id, new, "file:///mitosis.mp4")
    assert tick(settings, instance) == "gpu-1: Work waits for it."
    lessons.cancel(lesson_id)
    assert tick(settings, instance).startswith("gpu-1: Shelved")


def test_a_talking_head_that_waits_keeps_the_server_of_a_device_that_may_film_it(
    settings: Settings, instance: dg.DagsterInstance, cloud: Cloud, tmp_path: Path
) -> None:
    here = HeadDevice("gpu0", cloud.url, f"{cloud.url}/video", tmp_path, tmp_path)
    elsewhere = HeadDevice("gpu1", "http://10.0.0.9:1", "http://10.0.0.9:2", tmp_path, tmp_path)
    settings = settings.model_copy(update={"head_devices": (elsewhere,)})
    videos, leases = given(settings)["video_ledger"], given(settings)["head_devices"].leases
    asked = AskedVideo("ana", "Good morning.", wanted="talking_head", video_upload="me.mp4")
    videos.admit(asked, VideoLimits(), lambda _: [], has_devices=True)
    with_device = settings.model_copy(update={"head_devices": (here, elsewhere)})
    assert tick(with_device, instance) == "gpu-1: Work waits for it."
    leases.set_aside("gpu0", "It is busy.", 600)
    assert tick(with_device, instance) == "gpu-1: Work waits for it."
    leases.set_aside("gpu0", "Restart its servers.")
    assert tick(with_device, instance).startswith("gpu-1: Shelved")


def test_a_leased_device_keeps_the_server(
    settings: Settings, instance: dg.DagsterInstance, cloud: Cloud, tmp_path: Path
) -> None:
    device = HeadDevice("gpu0", cloud.url, f"{cloud.url}/video", tmp_path, tmp_path)
    settings = settings.model_copy(update={"head_devices": (device,)})
    leases = given(settings)["head_devices"].leases
    lease = leases.take("video-1", ["gpu0"])
    assert tick(settings, instance) == "gpu-1: Work waits for it."
    leases.release(lease)
    assert tick(settings, instance).startswith("gpu-1: Shelved")


def test_a_failure_to_shelve_is_an_alert_until_it_is_over(
    settings: Settings, instance: dg.DagsterInstance, cloud: Cloud
) -> None:
    lake = Lake(Home.at(settings.home))
    cloud.is_locked = True
    assert "openstack server unlock gpu-1" in tick(settings, instance)
    (alert,) = current_alerts(instance, lake, settings)
    assert (alert.name, alert.subject) == ("gpu_server_runs", "gpu-1")
    assert "openstack server shelve gpu-1" in alert.message
    cloud.is_locked = False
    assert "Shelved" in tick(settings, instance)
    while cloud.coming:
        tick(settings, instance)
    tick(settings, instance)
    assert current_alerts(instance, lake, settings) == []
    assert GpuServerLedger(database_url(settings)).known("gpu-1").is_on is False


@pytest.mark.parametrize(
    ("known", "users", "is_costly"),
    [
        (KnownServer("g", True, NOW - timedelta(minutes=31), NOW, None, None), [], True),
        (KnownServer("g", True, NOW - timedelta(minutes=29), NOW, None, None), [], False),
        (KnownServer("g", True, NOW - timedelta(minutes=31), NOW, None, None), ["dub_lines"], False),
        (KnownServer("g", False, NOW - timedelta(days=9), NOW, None, None), [], False),
        (KnownServer("g", None, NOW - timedelta(days=9), None, None, None), [], False),
        (KnownServer("g", True, NOW, NOW, NOW, "It could not be shelved."), [], True),
    ],
)  # fmt: skip
def test_servers_that_cost_without_work(known: KnownServer, users: list[str], is_costly: bool) -> None:
    assert (costly(known, users, IDLE, NOW) is not None) is is_costly


def test_without_a_server_the_sensor_is_off(instance: dg.DagsterInstance) -> None:
    settings = Settings(gpu_servers="")
    assert gpu_server_sensor(settings).default_status is dg.DefaultSensorStatus.STOPPED
    assert tick(settings, instance) == "Set PODLAKE_GPU_SERVERS."


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(ValueError, match="is no GPU server"):
        Settings(gpu_servers="gpu-1")
