"""Commits: a stage's landing for one partition becomes visible when its commit file is written.

The file is `lake/stage_runs/open/<stage>/<key>@<stamp>.parquet`, and the landing's rows lie in
`lake/<table>/open/<key>@<stamp>.parquet`. The stamp says when, from which data, and by which engine the rows were
made, so that readers and the planner decide by file names alone.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from pyarrow import fs

from resources.lake.home import Home

FAILED = "failed"
"""The folder of tries that failed: rows of `stage_runs`, but no commits."""
NO_VERSION = "0" * 10
"""The digest of no inputs, or of no engine."""
UNKNOWN = "x" * 10
"""The inputs of a sealed landing of lake version 1, which did not record them: it is never outdated by them."""
_TIME = "%Y%m%dT%H%M%S%f"
_PROVENANCE = frozenset({"run_id", "landed_at", "fetched_at", "last_polled_at", "data_version"})
"""Columns that differ between two landings of the same data."""


@dataclass(frozen=True, order=True)
class Commit:
    """A landing, as its file name describes it."""

    key: str
    stage: str
    stamp: str

    @classmethod
    def parse(cls, stage: str, name: str) -> Commit:
        """From `<key>@<stamp>`, with or without `.parquet`."""
        key, _, stamp = name.removesuffix(".parquet").partition("@")
        return cls(key, stage, stamp)

    @property
    def name(self) -> str:
        return f"{self.key}@{self.stamp}"

    @property
    def landed_at(self) -> datetime:
        text = self.stamp  # strptime takes ten times as long
        return datetime(
            int(text[:4]), int(text[4:6]), int(text[6:8]), int(text[9:11]), int(text[11:13]), int(text[13:15]),
            int(text[15:21]), UTC,
        )  # fmt: skip

    @property
    def data_version(self) -> str:
        """Changes with the content of the rows."""
        return self.stamp.split("-")[1]

    @property
    def inputs_version(self) -> str:
        """Changes with the data versions of the inputs that the rows were made from."""
        return self.stamp.split("-")[2]

    @property
    def engine_version(self) -> str:
        """Changes with the engine's fingerprint and with the stage's version."""
        return self.stamp.split("-")[3]


def new_commit(
    key: str,
    stage: str,
    *,
    data: str,
    inputs: str,
    engine: str,
    after: Commit | None = None,
    at: datetime | None = None,
) -> Commit:
    """A commit with the current time (or `at`), always later than the commit that it replaces."""
    at = at or datetime.now(UTC)
    if after is not None:
        at = max(at, after.landed_at + timedelta(microseconds=1))
    return Commit(key, stage, f"{at.strftime(_TIME)}-{data}-{inputs}-{engine}")


def inputs_version(versions: Mapping[str, str]) -> str:
    """One version for the data versions of all inputs, by stage."""
    return digest(f"{stage}={version}" for stage, version in sorted(versions.items())) if versions else NO_VERSION


def engine_version(fingerprint: str | None, stage_version: str) -> str:
    """One version for an engine and the code of the stage that calls it."""
    return digest([fingerprint or "", stage_version])


def data_version(tables: Iterable[pa.Table]) -> str:
    """The content of the rows, whichever run made them, and when."""
    digest = hashlib.sha256()
    for table in tables:
        content = table.drop_columns([name for name in table.column_names if name in _PROVENANCE])
        # No copy in memory: a feed can have 100 000 episodes.
        with (
            pa.BufferedOutputStream(pa.PythonFile(_Hashed(digest), mode="w"), _BUFFER_BYTES) as sink,
            pa.ipc.new_stream(sink, content.schema.remove_metadata()) as writer,
        ):
            writer.write_table(content.combine_chunks())
    return digest.hexdigest()[:10]


_BUFFER_BYTES = 64 << 10
"""Arrow writes every array by itself, and each write that is not collected is a call of Python."""


class _Hashed(io.RawIOBase):
    """A file whose bytes are hashed and not kept."""

    def __init__(self, digest: hashlib._Hash) -> None:
        self._digest = digest

    def writable(self) -> bool:
        return True

    def write(self, some: Any) -> int:
        self._digest.update(some)
        return len(some)


def open_commits(home: Home, stage: str) -> dict[str, Commit]:
    """Key → its newest open commit at the stage, from one listing of names."""
    newest: dict[str, Commit] = {}
    for name in home.names("lake", "stage_runs", "open", stage):
        commit = Commit.parse(stage, name)
        newest[commit.key] = commit  # names are sorted, and so are the stamps of a key
    return newest


def all_open_commits(home: Home) -> dict[str, dict[str, Commit]]:
    """Stage → key → its newest open commit."""
    return {stage: open_commits(home, stage) for stage in record_folders(home) if stage != FAILED}


def record_folders(home: Home) -> list[str]:
    """The folders of open records: the stages that have committed something, and `failed`."""
    selector = fs.FileSelector(home.path("lake", "stage_runs", "open"), allow_not_found=True)
    found = home.filesystem.get_file_info(selector)
    return sorted(info.base_name for info in found if info.type == fs.FileType.Directory)


def digest(parts: Iterable[str]) -> str:
    """Ten hexadecimal digits that change with the parts."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]
