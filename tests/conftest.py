"""Where Dagster keeps its runs and events in the tests of batches: SQLite, and a real PostgreSQL server."""

from __future__ import annotations

import gc
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pytest

from speech.signals import sigterm_kept
from tests.instances import instance_for_test
from tests.object_store import s3_server
from tests.postgres import postgres_server, postgres_storage

if TYPE_CHECKING:
    from playwright.sync_api import Browser

os.environ.setdefault("PODLAKE_ENGINE_IDLE_S", "30")  # engines that a test has loaded do not stay for minutes

IN_MEMORY, ENOUGH_BYTES = Path("/dev/shm"), 8e9


def _can_hold_tests(folder: Path) -> bool:
    if not os.access(folder, os.W_OK):
        return False
    return shutil.disk_usage(folder).free > ENOUGH_BYTES and not os.statvfs(folder).f_flag & os.ST_NOEXEC


if _can_hold_tests(IN_MEMORY):
    # Every landing and every transaction of SQLite waits for the disk: 0.6 s for the first files of a lake.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(IN_MEMORY))

Storage = dict[str, Any]
"""What dagster.yaml says of it."""

SLOW_FILES = (
    "chaos/test_chaos.py", "dagster_project/test_backup.py", "dagster_project/test_stack.py", "dagster_project/test_run.py",
    "chaos/test_podcasts.py", "assets/studio/test_video.py", "dagster_project/test_automation.py", "sql/test_checks.py",
    "assets/studio/test_podcast.py", "assets/dubbing/test_lesson.py", "gateway/test_work.py", "gateway/test_listening_page.py",
    "dagster_project/test_daemon.py", "dagster_project/test_cli_installed.py", "resources/engines/test_ray_host.py",
    "speech/engines/test_whisper.py", "speech/engines/test_hosted_engine.py", "soak/test_soak.py",
)  # fmt: skip
"""They start first, so that no worker is left alone with one at the end."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported stays: the garbage collector does not look at it again and again, which costs 3 % of all tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    place = {tests / name: index for index, name in enumerate(SLOW_FILES)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A Dagster run in a test must not change which signals end later tests' child processes."""
    with sigterm_kept():
        yield


@pytest.fixture(autouse=True)
def _servers_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODLAKE_ALLOW_HOSTS", "127.0.0.1")


@pytest.fixture(params=["sqlite", "postgres"])
def storage(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """An empty storage of each kind; PostgreSQL with batches of events, as docs/cluster.md advises."""
    if request.param == "sqlite":
        return {}
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "500")
    return postgres_storage(request.getfixturevalue("postgres"), f"test_{time.monotonic_ns()}")


@pytest.fixture
def instance(storage: Storage) -> Iterator[dg.DagsterInstance]:
    with instance_for_test(storage) as instance:
        yield instance


@pytest.fixture(scope="session")
def postgres() -> Iterator[int]:
    """The port of a server with a database `migrated` that has Dagster's tables, and nothing in them."""
    with postgres_server() as port:
        yield port


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[dict[str, str]]:
    """The environment variables by which clients find an S3 server. Tests take buckets of their own."""
    with s3_server() as environment:
        yield environment


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a screen. Not for the session: while it is open, `asyncio.run` fails in its thread."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if path is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--no-first-run",
             "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required"]  # fmt: skip
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=quiet)
        yield browser
        browser.close()


@pytest.fixture
def violations() -> Callable[[Any], list[str]]:
    """The rules of accessibility that an open page breaks, by axe-core."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    return lambda page: [f"{one['id']}: {one['nodes'][0]['html']}" for one in axe.run(page).response["violations"]]
