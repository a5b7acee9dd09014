"""Opens the Dagster instance: finds DAGSTER_HOME, writes its dagster.yaml, creates its databases."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

log = logging.getLogger("podlake")

CONFIG = "dagster.yaml"
ENGINE_POOL, POLL_POOL = "gpu", "feeds"
POLL_RUNS = min(2, os.cpu_count() or 1)
"""Runs that poll at once: reading feeds is work in Python, for which a process uses one core. Each takes 0.4 GB."""
OTHER_RUNS = 3
"""Runs without an engine at once: polls, downloads, hashes or compaction."""
DEFAULTS = Path(__file__).with_name(CONFIG)

EVENT_BATCH = "DAGSTER_EVENT_BATCH_SIZE"
"""Dagster's variable: PostgreSQL logs the planned materializations of a run in batches of this size."""

_STORAGES = ("storage", "run_storage", "event_log_storage", "schedule_storage")

_EVENT_LOG = re.compile(r"(?m)^event_log_storage:.*(?:(?:\n[ \t]*(?:#.*)?)*\n[ \t]+[^\s#].*)*\n?")
"""The block of dagster.yaml, up to its last indented line."""
_OLD_MODULE = "resources.event_log"
"""The module of an earlier version's event log class. Dagster's own class reads the same files."""


def open_instance(settings: Settings) -> DagsterInstance:
    """The instance of DAGSTER_HOME. Use it as a context manager, or close it with `dispose`."""
    from dagster import DagsterInstance

    is_own = prepare_home(settings) == settings.cache_folder / "dagster"
    instance = DagsterInstance.get()
    if is_own:
        limit_pools(instance, settings)
    return instance


def limit_pools(instance: DagsterInstance, settings: Settings) -> None:
    """Set the limits of the pools of engines and of polls, where they are not the default."""
    store = instance.event_log_storage
    set_before = {pool.name: pool.limit for pool in store.get_pool_limits() if not pool.from_default}
    for pool, limit in ((ENGINE_POOL, engine_runs(settings)), (POLL_POOL, POLL_RUNS)):
        if set_before.get(pool, 1) != limit:
            store.set_concurrency_slots(pool, limit)


def prepare_home(settings: Settings) -> Path:
    """Create DAGSTER_HOME, by default `<cache folder>/dagster`, and set the variable for this process and its children.

    The default home gets our dagster.yaml, with limits of runs from the settings. A home that the user chose
    keeps its own, except for the event log class of an earlier version.
    """
    chosen = os.environ.get("DAGSTER_HOME")
    default = settings.cache_folder / "dagster"
    home = Path(chosen).expanduser().absolute() if chosen else default
    home.mkdir(parents=True, exist_ok=True)
    config = home / CONFIG
    before = config.read_text() if config.exists() else None
    wanted = own_config(settings) if before is None or home == default else _without_old_event_log(before, config)
    if before != wanted:
        new = config.with_name(f".{CONFIG}.{os.getpid()}")
        new.write_text(wanted)
        new.replace(config)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault(EVENT_BATCH, "500")
    _create_databases(home)
    return home


def database_url(settings: Settings) -> str:
    """Where jobs, keys and requests are: PODLAKE_DATABASE_URL, the PostgreSQL of the instance, or a SQLite file.

    Raises ValueError if dagster.yaml names an environment variable that is not set.
    """
    import yaml

    if settings.database_url:
        return settings.database_url
    config = yaml.safe_load((prepare_home(settings) / CONFIG).read_text()) or {}
    url = config.get("storage", {}).get("postgres", {}).get("postgres_url")
    if isinstance(url, dict):
        variable = url["env"]
        url = os.environ.get(variable)
        if not url:
            raise ValueError(f"dagster.yaml takes PostgreSQL's URL from the variable {variable}, which is not set.")
    return url or f"sqlite:///{settings.cache_folder / 'service.db'}"


def _without_old_event_log(text: str, config: Path) -> str:
    new = _EVENT_LOG.sub(lambda block: "" if _OLD_MODULE in block[0] else block[0], text)
    if new != text:
        log.warning("%s named an event log of an earlier podlake; the block is removed: Dagster's own event log reads "
                    "the same files. Pools work best with `granularity: run`, see docs/automation.md.", config)  # fmt: skip
    return new


def _create_databases(home: Path) -> None:
    """Create Dagster's SQLite databases in a temporary folder, and rename them into place.

    If two processes create them at once, or one is killed meanwhile, a database has two revisions or none, and no
    process can open it again.
    """
    import yaml

    history, schedules = home / "history", home / "schedules"
    config = yaml.safe_load((home / CONFIG).read_text()) or {}
    if history.exists() or any(name in config for name in _STORAGES):
        return
    from dagster import DagsterInstance

    with tempfile.TemporaryDirectory(prefix=".new-", dir=home) as folder:
        new = Path(folder)
        (new / CONFIG).touch()  # the defaults
        with DagsterInstance.from_config(folder) as instance:
            instance.daemon_cursor_storage.set_cursor_values(
                # The daemon warns if it has no cursor: a new instance has no older events that it could miss.
                {f"EVENT_LOG_CONSUMER_CURSOR-{event}": "0" for event in ("PIPELINE_FAILURE", "PIPELINE_SUCCESS")}
            )
        for created, place in ((new / "schedules", schedules), (new / "history", history)):
            with suppress(OSError):  # another process was first
                created.rename(place)


def own_config(settings: Settings) -> str:
    """Our dagster.yaml, with limits of runs from the settings."""
    limit_s = round(settings.job_timeout_hours * 3600)
    config = re.sub(r"(?m)^(  max_runtime_seconds:) \d+", rf"\1 {limit_s}", DEFAULTS.read_text())
    return re.sub(r"(?m)^(    max_concurrent_runs:) \d+", rf"\1 {OTHER_RUNS + engine_runs(settings)}", config)


def engine_runs(settings: Settings) -> int:
    """Runs with an engine at once: one for each device, and one that starts meanwhile. On a CPU, one."""
    return settings.n_devices + 1 if settings.n_devices else 1
