"""What was tried and what failed, told by the names and times of files: two listings, and no file is opened.

Each try at a stage replaces the episode's file in `stage_runs`, and a failure that nobody has mended has one in
`failures`: what was tried and has no failure has landed, at the time of its file or before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache

from pyarrow import fs

from resources.lake.home import Home
from resources.lake.lake import OPEN, Lake
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import FAILURES, QUALITY, STAGE_RUNS, Table

Times = Mapping[str, Mapping[str, int]]
"""Stage → key → when its file was written, in ns since 1970."""


@dataclass(frozen=True)
class Tries:
    """The open tries and failures at one moment. A stage that nobody has tried is there, empty."""

    lake: Lake
    tried: Times
    failed: Times

    @classmethod
    def listed(cls, lake: Lake) -> Tries:
        return cls(lake, _times(lake.home, STAGE_RUNS), _times(lake.home, FAILURES))

    @cached_property
    def sealed(self) -> frozenset[str]:
        """Episodes that sealed files hold, which takes all stages to have landed."""
        return frozenset(SealedFiles(self.lake.home, QUALITY).ids())

    def next_try(self, stage: str, key: str) -> datetime | None:
        """When a failure is due for another try; None: not by itself. Raises `KeyError` where nothing failed."""
        return _next_try(self.lake.home.uri, FAILURES.landing_key(key, stage), self.failed[stage][key])


def _times(home: Home, table: Table) -> Times:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for info in home.filesystem.get_file_info(
        fs.FileSelector(home.path("lake", table.name, OPEN), allow_not_found=True)
    ):
        key, _, stage = info.base_name.removesuffix(".parquet").rpartition(".")
        if key and info.base_name[0] not in "._":
            found[stage][key] = info.mtime_ns
    return found


@lru_cache(maxsize=100_000)
def _next_try(uri: str, name: str, written_ns: int) -> datetime | None:  # noqa: ARG001 - tells one content from another
    """Read once per content of the file: a sensor asks every half minute."""
    failure = Lake(Home.at(uri)).read(FAILURES, name)
    next_try: datetime | None = failure["next_retry_at"].to_pylist()[-1] if failure is not None else None
    return next_try
