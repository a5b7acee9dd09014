"""The Dagster instance: where its history lies, and with which dagster.yaml."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_project.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

CONFIG = "dagster.yaml"

EVENT_BATCH = "DAGSTER_EVENT_BATCH_SIZE"
"""Dagster's variable; from 2 on, what a run is to land is logged in one go. Set with the home, unless it is already."""


def open_instance(settings: Settings) -> DagsterInstance:
    """The instance of DAGSTER_HOME. Use it as a context manager, or close it with `dispose`."""
    from dagster import DagsterInstance

    prepare_home(settings)
    return DagsterInstance.get()


def prepare_home(settings: Settings) -> Path:
    """Make DAGSTER_HOME, by default `<cache folder>/dagster`, and let this process and its children know it.

    The project's dagster.yaml is copied to the default home, with the time limit of runs that the settings say; a
    home that the user chose keeps its own.
    """
    chosen = os.environ.get("DAGSTER_HOME")
    home = Path(chosen).expanduser().absolute() if chosen else settings.cache_folder / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    config, own = home / CONFIG, _own_config(settings)
    if not config.exists() or (home == settings.cache_folder / "dagster" and config.read_text() != own):
        fresh = config.with_name(f".{CONFIG}.{os.getpid()}")
        fresh.write_text(own)
        fresh.replace(config)
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ.setdefault(EVENT_BATCH, "500")
    _make_databases(home)
    return home


def _make_databases(home: Path) -> None:
    """Dagster's databases on SQLite appear whole, before Dagster looks for them.

    Two processes that Dagster lets make them at once, or one that is killed over it, leave two revisions of one
    database, or none: no process can ever open that again.
    """
    history, schedules = home / "history", home / "schedules"
    if history.exists():
        return
    from dagster import DagsterInstance
    from dagster._core.instance import InstanceRef

    chosen = InstanceRef.from_dir(str(home)).run_storage_data
    if chosen is None or chosen.class_name != "SqliteRunStorage" or Path(chosen.config_dict["base_dir"]) != history:
        return
    with tempfile.TemporaryDirectory(prefix=".new-", dir=home) as folder:
        new = Path(folder)
        (new / CONFIG).touch()  # nothing but the defaults
        with DagsterInstance.from_ref(InstanceRef.from_dir(folder)) as instance:
            instance.get_runs_count()
        for made, place in ((new / "schedules", schedules), (new / "history", history)):
            with suppress(OSError):  # another process was first
                made.rename(place)


def _own_config(settings: Settings) -> str:
    limit_s = round(settings.job_timeout_hours * 3600)
    config = files("dagster_project").joinpath(CONFIG).read_text()
    return re.sub(r"(?m)^(  max_runtime_seconds:) \d+", rf"\1 {limit_s}", config)
