"""Instances of Dagster with empty SQLite databases, copied: creating their tables costs five times as much."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg


@contextmanager
def instance_for_test(
    overrides: Mapping[str, Any] | None = None, temp_dir: str | Path | None = None
) -> Iterator[dg.DagsterInstance]:
    """The same as Dagster's function of this name. `overrides` is added to dagster.yaml."""
    with tempfile.TemporaryDirectory() as own:
        folder = Path(temp_dir or own)
        if not overrides or "storage" not in overrides:
            shutil.copytree(_empty_databases(), folder, dirs_exist_ok=True)
        with dg.instance_for_test(dict(overrides or {}), temp_dir=str(folder)) as instance:
            yield instance


@cache
def _empty_databases() -> Path:
    """A folder with the databases of an instance that nothing has used. It is removed at the end of the process."""
    _kept.append(folder := tempfile.TemporaryDirectory(prefix="podlake-databases-"))
    with dg.instance_for_test(temp_dir=folder.name) as instance:
        instance.get_runs(limit=1)
    (Path(folder.name) / "dagster.yaml").unlink()
    return Path(folder.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []
