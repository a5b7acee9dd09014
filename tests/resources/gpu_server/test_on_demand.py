"""GPU servers on demand, through openstacksdk, against a local Keystone and Nova."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import sqlalchemy as sa

from resources.gpu_server import ledger as gpu_ledger
from resources.gpu_server.compute import OpenStackServer, ServerState
from resources.gpu_server.errors import CloudRefused, CloudUnreachable, NotReadyInTime, ServerFailed
from resources.gpu_server.health import not_healthy
from resources.gpu_server.ledger import GpuServerLedger
from resources.gpu_server.on_demand import GpuServer
from resources.gpu_server.servers import GpuServers, parse_servers
from tests.conftest import Storage
from tests.resources.gpu_server.clouds import (
    ERROR_AFTER_UNSHELVING,
    FAILED_SHELVING,
    FAILED_UNSHELVING,
    Cloud,
    running_cloud,
)

Start = Callable[..., tuple[Cloud, GpuServer]]
IDLE = timedelta(minutes=15)
pytestmark = pytest.mark.filterwarnings(
    "ignore:Support for InfluxDB", "ignore:The _compute_attributes", "ignore:The 'service_type'"
)  # openstacksdk's own


@pytest.fixture
def ledger(storage: Storage, tmp_path: Path) -> GpuServerLedger:
    return GpuServerLedger(
        storage["storage"]["postgres"]["postgres_url"] if storage else f"sqlite:///{tmp_path}/service.db"
    )


@pytest.fixture
def local_ledger(tmp_path: Path) -> GpuServerLedger:
    return GpuServerLedger(f"sqlite:///{tmp_path}/service.db")


@pytest.fixture
def start(local_ledger: GpuServerLedger, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """A cloud in a state, and the server in it; no time passes between two looks."""
    contexts = []

    def started(**state: Any) -> tuple[Cloud, GpuServer]:
        context = running_cloud(**state)
        cloud = context.__enter__()
        contexts.append(context)
        for name in [name for name in os.environ if name.startswith("OS_")]:
            monkeypatch.delenv(name)
        for name, value in cloud.environment().items():
            monkeypatch.setenv(name, value)
        ticks = count()
        server = GpuServer(
            OpenStackServer(cloud.name), local_ledger, f"{cloud.url}/health", IDLE,
            active_s=12, healthy_s=12, pause=lambda _: None, clock=lambda: float(next(ticks)),
        )  # fmt: skip
        return cloud, server

    yield started
    for context in contexts:
        context.__exit__(None, None, None)


def later(minutes: float = 16) -> datetime:
    return datetime.now(UTC) + timedelta(minutes=minutes)


def test_a_shelved_server_is_woken_and_its_model_is_waited_for(start: Start) -> None:
    cloud, server = start(
        health=[(503, {}), (200, {"status": "ok", "model_loaded": False}), (200, {"status": "loading"})]
    )
    with server.in_use("dub_lines"):
        cloud.work()
        assert server.ledger.users("gpu-1") == ["dub_lines"]
    assert (cloud.actions, cloud.work_met) == (["unshelve"], [])
    assert server.ledger.users("gpu-1") == []
    with server.in_use("dub_lines"):
        cloud.work()
    assert (cloud.actions, cloud.work_met) == (["unshelve"], [])


def test_a_stopped_server_is_started(start: Start) -> None:
    cloud, server = start(status="SHUTOFF")
    with server.in_use("work"):
        cloud.work()
    assert (cloud.actions, cloud.work_met) == (["os-start"], [])


def test_a_server_that_is_going_away_is_waited_for_and_woken(start: Start) -> None:
    cloud, server = start(
        status="ACTIVE", task="shelving", coming=[("SHELVED", "shelving_offloading"), ("SHELVED_OFFLOADED", None)]
    )
    with server.in_use("work"):
        cloud.work()
    assert (cloud.actions, cloud.work_met) == (["unshelve"], [])


def test_a_cloud_without_a_free_gpu_is_asked_three_times(start: Start) -> None:
    cloud, server = start(after_unshelve=[FAILED_UNSHELVING] * 2)
    with server.in_use("work"):
        cloud.work()
    assert (cloud.actions, cloud.work_met) == (["unshelve"] * 3, [])
    full, server = start(after_unshelve=[FAILED_UNSHELVING] * 9)
    with (
        pytest.raises(ServerFailed, match="woken 3 times and is SHELVED_OFFLOADED: no GPU is free"),
        server.in_use("work"),
    ):
        pass
    assert full.actions == ["unshelve"] * 3
    assert server.ledger.users("gpu-1") == []


def test_a_server_in_error_says_why(start: Start) -> None:
    _, server = start(after_unshelve=[ERROR_AFTER_UNSHELVING])
    with (
        pytest.raises(ServerFailed, match="is ERROR and does not start: No valid host was found"),
        server.in_use("work"),
    ):
        pass


def test_waiting_has_an_end(start: Start) -> None:
    _, slow = start(after_unshelve=[[("SHELVED_OFFLOADED", "spawning")] * 40])
    with (
        pytest.raises(NotReadyInTime, match=r"not ACTIVE after 12 s: it is SHELVED_OFFLOADED \(spawning\)"),
        slow.in_use("work"),
    ):
        pass
    _, loading = start(status="ACTIVE", health=[(200, {"model_loaded": False})] * 40)
    with pytest.raises(NotReadyInTime, match="has not loaded its model yet"), loading.in_use("work"):
        pass
    assert loading.ledger.try_lock("gpu-1", "another")


def test_an_expired_token_is_renewed_and_server_errors_are_waited_out(start: Start) -> None:
    cloud, server = start(faults=[0, 401, 500, 503])
    with server.in_use("work"):
        cloud.work()
    assert len(cloud.tokens) == 2
    assert cloud.work_met == []


def test_a_conflict_is_looked_at_again(start: Start) -> None:
    cloud, server = start(faults=[0, 0, 409])
    with server.in_use("work"):
        cloud.work()
    assert (cloud.actions, cloud.work_met) == (["unshelve"], [])


def test_errors_of_the_cloud_are_told_apart(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud, _ = start()
    with pytest.raises(CloudRefused, match="gpu-2 is not there"):
        OpenStackServer("gpu-2").state()
    cloud.faults = [0, 403]
    with pytest.raises(CloudRefused, match=r"refuses access to the GPU server gpu-1 \(403\)"):
        OpenStackServer("gpu-1").state()
    cloud.faults = [0, 503]
    with pytest.raises(CloudUnreachable, match="answers 503"):
        OpenStackServer("gpu-1").state()
    cloud.is_locked = True
    with pytest.raises(CloudRefused, match="openstack server unlock gpu-1"):
        OpenStackServer("gpu-1").shelve()
    cloud.is_locked, cloud.same_name = False, True
    with pytest.raises(CloudRefused, match="several of this name"):
        OpenStackServer("gpu-1").state()
    monkeypatch.setenv("OS_PASSWORD", "wrong")
    with pytest.raises(CloudRefused) as refused:
        OpenStackServer("gpu-1").state()
    assert "wrong" not in str(refused.value).replace("wrong credentials", "")
    monkeypatch.setenv("OS_AUTH_URL", "http://127.0.0.1:9/v3")
    with pytest.raises(CloudUnreachable, match="no answer about the GPU server gpu-1"):
        OpenStackServer("gpu-1").state()
    monkeypatch.delenv("OS_AUTH_URL")
    with pytest.raises(CloudRefused, match="credentials of the cloud are incomplete"):
        OpenStackServer("gpu-1").state()


def test_an_idle_server_is_shelved(start: Start) -> None:
    cloud, server = start()
    with server.in_use("work"):
        assert server.shelve_if_idle(now=later()) == "In use by work."
    assert server.shelve_if_idle(now=later(14)).startswith("Idle since")
    assert server.shelve_if_idle(lambda: True, now=later()) == "Work waits for it."
    assert cloud.actions == ["unshelve"]
    assert server.shelve_if_idle(now=later()) == "Shelved after 16 idle minutes."
    assert cloud.actions == ["unshelve", "shelve"]
    while cloud.coming:
        assert server.shelve_if_idle(now=later()).startswith("It is ")
    server.shelve_if_idle(now=later())
    assert (server.ledger.known("gpu-1").is_on, server.ledger.known("gpu-1").problem) == (False, None)
    cloud.faults = [500] * 9  # it is not asked for ten minutes
    assert replace(server, idle=timedelta(minutes=5)).shelve_if_idle(now=later(6)) == "It is shelved."


def test_work_that_arrives_after_the_first_look_keeps_the_server(start: Start) -> None:
    cloud, server = start(status="ACTIVE")
    server.ledger.known("gpu-1")
    arrived: list[str] = []

    def work_arrives() -> bool:
        """The look of the sensor at the queue: right after it, a run begins."""
        if not arrived:
            arrived.append(server.ledger.arrive("gpu-1", "late work"))
        return False

    assert server.shelve_if_idle(work_arrives, now=later()) == "In use by late work."
    assert cloud.actions == []


def test_a_server_that_another_program_has_woken_is_left_for_its_idle_time(start: Start) -> None:
    cloud, server = start()
    assert server.shelve_if_idle(now=later()) == "It is shelved."
    cloud.status = "ACTIVE"
    assert server.shelve_if_idle(now=later(30)).endswith("Its idle time begins now.")
    assert server.shelve_if_idle(now=datetime.now(UTC)).startswith("Idle since")
    assert server.shelve_if_idle(now=later()).startswith("Shelved after")


def test_a_failure_to_shelve_is_kept_until_it_is_over(start: Start) -> None:
    _, server = start(status="ACTIVE", faults=[0, 0, 500])
    server.ledger.known("gpu-1")
    found = server.shelve_if_idle(now=later())
    assert found.startswith("The GPU server gpu-1 is idle and could not be shelved: The cloud answers 500")
    assert server.ledger.known("gpu-1").problem == found
    assert server.shelve_if_idle(now=later()).startswith("Shelved after")
    assert server.ledger.known("gpu-1").problem is None


def test_a_server_that_stays_active_is_a_problem_after_a_while(start: Start) -> None:
    cloud, server = start(status="ACTIVE", after_shelve=[FAILED_SHELVING] * 9)
    server.ledger.known("gpu-1")
    assert server.shelve_if_idle(now=later()).startswith("Shelved")
    server.shelve_if_idle(now=later(17))
    assert server.ledger.known("gpu-1").problem is None
    server.shelve_if_idle(now=later(50))
    server.shelve_if_idle(now=later(51))
    assert "although it was asked to be shelved at" in str(server.ledger.known("gpu-1").problem)
    assert cloud.actions.count("shelve") >= 3


def test_an_error_state_cannot_be_shelved(start: Start) -> None:
    _, server = start(status="ERROR")
    server.ledger.known("gpu-1")
    assert "it is ERROR: No valid host" in server.shelve_if_idle(now=later())


def test_work_never_meets_a_server_that_is_going_away(start: Start) -> None:
    cloud, server = start()
    server = replace(server, pause=lambda _: time.sleep(0.002), clock=time.monotonic, active_s=300, healthy_s=300)
    ended = Event()
    shelvings: list[str] = []

    def shelve_all_the_time() -> None:
        while not ended.is_set():
            shelvings.append(server.shelve_if_idle(now=later()))

    def work(number: int) -> None:
        with server.in_use(f"work {number}"):
            for _ in range(3):
                cloud.work()

    shelver = Thread(target=shelve_all_the_time)
    shelver.start()
    try:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(work, range(12)))
        while "shelve" not in cloud.actions:
            time.sleep(0.002)
    finally:
        ended.set()
        shelver.join()
    assert cloud.work_met == []
    assert server.ledger.users("gpu-1") == []


def test_uses_and_locks_of_killed_processes_end(ledger: GpuServerLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    use_id = ledger.arrive("gpu-1", "work")
    assert ledger.try_lock("gpu-1", "a")
    assert not ledger.try_lock("gpu-1", "b")
    ledger.renew(use_id, "gpu-1", "a")
    now = gpu_ledger._now()
    monkeypatch.setattr(gpu_ledger, "_now", lambda: now + timedelta(seconds=121))
    assert ledger.users("gpu-1") == []
    assert ledger.try_lock("gpu-1", "b")
    ledger.unlock("gpu-1", "a")
    assert not ledger.try_lock("gpu-1", "c")
    ledger.renew(use_id, "gpu-1", "a")
    assert ledger.users("gpu-1") == ["work"]
    ledger.leave(use_id, "gpu-1")
    assert ledger.users("gpu-1") == []
    with ledger.database.connect() as connection:
        assert connection.execute(sa.text("select count(*) from gpu_server_uses")).scalar() == 0
    assert [one.server for one in ledger.all()] == ["gpu-1"]


def test_a_service_uses_the_server_of_its_host(start: Start) -> None:
    cloud, server = start()
    servers = GpuServers((server,))
    with servers.in_use([None, "http://10.0.0.9:8000/v1"], "work"):
        pass
    assert cloud.actions == []
    with servers.in_use([f"{cloud.url}/v1"], "work"):
        cloud.work()
    assert (cloud.actions, cloud.work_met) == (["unshelve"], [])


def test_servers_are_named_with_their_services() -> None:
    assert parse_servers("") == {}
    assert parse_servers("a=http://h:1/health, b=https://i/up") == {"a": "http://h:1/health", "b": "https://i/up"}
    for wrong in ("a", "a=h:1", "=http://h"):
        with pytest.raises(ValueError, match="is no GPU server"):
            parse_servers(wrong)


def test_services_tell_their_health_in_many_ways(start: Start) -> None:
    cloud, server = start(status="ACTIVE")
    for answer, reason in [
        ((200, {"status": "healthy"}), None),
        ((200, b"OK"), None),
        ((200, []), None),
        ((200, {"loaded": False}), "has not loaded its model yet"),
        ((200, {"status": "starting"}), "says starting"),
        ((503, {}), "answers 503"),
    ]:
        cloud.health = [answer]
        found = not_healthy(server.health_url)
        assert found is None if reason is None else reason in str(found)
    assert "gives no answer" in str(not_healthy("http://127.0.0.1:9/health"))
    assert str(ServerState("ACTIVE", "shelving")) == "ACTIVE (shelving)"
