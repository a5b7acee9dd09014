"""What has landed and what has failed, told by file names: two listings, and no file is opened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, lru_cache

from pyarrow import fs

from resources.lake.commits import Commit, open_commits
from resources.lake.home import Home
from resources.lake.lake import OPEN, Lake
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import FAILURES, QUALITY, TABLES

STAGES = tuple(dict.fromkeys(table.asset for table in TABLES.values() if len(table.landing) == 1))


@dataclass(frozen=True)
class Tries:
    """The open commits and the failures at one moment. A stage that nothing has landed at is there, empty."""

    lake: Lake
    landed: Mapping[str, Mapping[str, Commit]]
    """Stage → key → its newest open commit."""
    failed: Mapping[str, Mapping[str, int]]
    """Stage → key → when its file was written, in ns since 1970."""

    @classmethod
    def listed(cls, lake: Lake) -> Tries:
        return cls(lake, {stage: open_commits(lake.home, stage) for stage in STAGES}, _failures(lake.home))

    @cached_property
    def sealed(self) -> frozenset[str]:
        """Episodes that sealed files hold, which takes all stages to have landed."""
        return frozenset(SealedFiles(self.lake.home, QUALITY).all_keys())

    def state(self, stage: str, key: str) -> tuple[Commit | None, int | None]:
        """Differs between two listings if the key was tried at the stage in between."""
        return self.landed[stage].get(key), self.failed[stage].get(key)

    def next_try(self, stage: str, key: str) -> datetime | None:
        """When a failure is due for another try; None: not by itself. Raises `KeyError` where nothing failed."""
        return _next_try(self.lake.home.uri, FAILURES.landing_key(key, stage), self.failed[stage][key])


def _failures(home: Home) -> Mapping[str, Mapping[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    selector = fs.FileSelector(home.path("lake", FAILURES.name, OPEN), allow_not_found=True)
    for info in home.filesystem.get_file_info(selector):
        key, _, stage = info.base_name.removesuffix(".parquet").rpartition(".")
        if key and info.base_name[0] not in "._":
            found[stage][key] = info.mtime_ns
    return found


@lru_cache(maxsize=100_000)
def _next_try(uri: str, name: str, written_ns: int) -> datetime | None:  # noqa: ARG001 - tells one content from another
    """Read once per content of the file: a sensor asks every half minute."""
    failure = Lake(Home.at(uri)).read_file(FAILURES, name)
    next_try: datetime | None = failure["next_retry_at"].to_pylist()[-1] if failure is not None else None
    return next_try
