"""A commit makes one landing of a stage visible. Its file name says which versions it was made from."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pyarrow import fs

from resources.lake.lake import OPEN, Lake
from resources.lake.tables import FAILURES, STAGE_RUNS

VERSION_DIGITS = 10
UNKNOWN = "?" * VERSION_DIGITS
"""The versions of a landing of a former release, which did not record them. It is never outdated."""


@dataclass(frozen=True)
class Commit:
    """The commit of one key at one stage, parsed from a file name."""

    key: str
    stage: str
    stamp: str

    @property
    def landed_at(self) -> datetime:
        text = self.stamp  # strptime takes ten times as long
        return datetime(
            int(text[:4]), int(text[4:6]), int(text[6:8]), int(text[9:11]), int(text[11:13]), int(text[13:15]),
            int(text[15:21]), UTC,
        )  # fmt: skip

    @property
    def data_version(self) -> str:
        return self.stamp.split("-")[1]

    @property
    def inputs_version(self) -> str:
        return self.stamp.split("-")[2]

    @property
    def engine_version(self) -> str:
        return self.stamp.split("-")[3]


def inputs_version(inputs: Mapping[str, str]) -> str:
    """The version of a set of inputs: stage → data version."""
    return _digest("\n".join(f"{stage} {version}" for stage, version in sorted(inputs.items())))


def engine_version(fingerprint: str | None, stage_version: str) -> str:
    """The version of the engine and of the stage's own rules; zeros without an engine."""
    return "0" * VERSION_DIGITS if fingerprint is None else _digest(f"{fingerprint}\n{stage_version}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:VERSION_DIGITS]


def all_open_commits(lake: Lake) -> dict[str, dict[str, Commit]]:
    """Stage → key → its newest open commit, from one listing."""
    found: dict[str, dict[str, Commit]] = defaultdict(dict)
    failed = {tuple(name.rpartition(".")[::2]) for name in lake.open_keys(FAILURES)}
    selector = fs.FileSelector(lake.home.path("lake", STAGE_RUNS.name, OPEN), allow_not_found=True)
    for info in lake.home.filesystem.get_file_info(selector):
        name = info.base_name.removesuffix(".parquet")
        if name[0] in "._":
            continue
        key, _, rest = name.partition(".")
        stage, _, stamp = rest.partition("@")
        if not stamp and (key, stage) in failed:
            continue
        commit = Commit(key, stage, stamp or unknown_stamp(info.mtime))
        if key not in found[stage] or found[stage][key].stamp < commit.stamp:
            found[stage][key] = commit
    return found


def unknown_stamp(landed_at: datetime, engine: str = UNKNOWN) -> str:
    return f"{landed_at.astimezone(UTC):%Y%m%dT%H%M%S%f}-{UNKNOWN}-{UNKNOWN}-{engine}"
