"""The Dagster instance: where its history lies, and with which dagster.yaml."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from dagster_project.settings import ROOT, Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

CONFIG = "dagster.yaml"


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
    return home


def _own_config(settings: Settings) -> str:
    limit_s = round(settings.job_timeout_hours * 3600)
    return re.sub(r"(?m)^(  max_runtime_seconds:) \d+", rf"\1 {limit_s}", (ROOT / CONFIG).read_text())
