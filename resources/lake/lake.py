"""The Parquet lake: a stage lands all its tables of a key with one commit, so readers see whole landings only.

`resources.lake.commits` describes the names of open files, `resources.lake.sealed_files` the files of compaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.lake.commits import FAILED, Commit, open_commits
from resources.lake.home import Home
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import STAGE_RUNS, Table
from resources.lake.tables.table import Row_co

OPEN = "open"


@dataclass(frozen=True)
class Lake:
    """Reads and writes landings, without locks."""

    home: Home

    def write_rows(self, commit: Commit, landing: Iterable[tuple[Table, pa.Table]]) -> None:
        """Write the rows of each table of a landing. No reader sees them before `commit`. Raises `StorageError`."""
        for table, rows in landing:
            self._write(table, rows, OPEN, f"{commit.name}.parquet")

    def commit(self, stage: str, commit: Commit, record: pa.Table) -> None:
        """Write the landing's row of `stage_runs`, which makes its rows visible. Raises `StorageError`."""
        self._write(STAGE_RUNS, record, OPEN, stage, f"{commit.name}.parquet")

    def record_failed_try(self, attempt: Commit, record: pa.Table) -> None:
        """Write the row of `stage_runs` of a try that landed nothing."""
        self._write(STAGE_RUNS, record, OPEN, FAILED, f"{attempt.name}.parquet")

    def read(self, table: Table, key: str) -> pa.Table | None:
        """The rows of the key's newest landing in the table; None if there is no landing."""
        return self.read_many(table, [key]).get(key)

    def read_many(self, table: Table, keys: Sequence[str]) -> dict[str, pa.Table]:
        """Key → rows, for the keys that have landed. Lists the commits once; sealed rows come from one query."""
        while True:
            commits = open_commits(self.home, table.asset)
            try:
                found = {key: self.read_name(table, commits[key].name) for key in keys if key in commits}
            except FileNotFoundError:  # compaction removed a landing after it was listed
                continue
            sealed = SealedFiles(self.home, table).landings([key for key in keys if key not in commits])
            return found | sealed

    def rows(self, table: Table[Row_co], key: str) -> list[Row_co]:
        """The rows of the key's newest landing, typed; empty if there is no landing."""
        found = self.read(table, key)
        return [] if found is None else table.rows_of(found)

    def replace(self, table: Table, key: str, rows: pa.Table) -> None:
        """Replace the key's rows in a table that no stage commits. Raises `StorageError`."""
        self._write(table, rows, OPEN, f"{key}.parquet")

    def read_file(self, table: Table, key: str) -> pa.Table | None:
        """The key's rows in a table that no stage commits."""
        try:
            return self.read_name(table, key)
        except FileNotFoundError:
            return None

    def remove(self, table: Table, key: str) -> None:
        """Remove the key's rows from a table that no stage commits."""
        self.home.remove("lake", table.name, OPEN, f"{key}.parquet")

    def keys(self, table: Table) -> list[str]:
        """The keys of a table that no stage commits, from file names."""
        return [name.removesuffix(".parquet") for name in self.home.names("lake", table.name, OPEN)]

    def runs(self, stage: str, keys: Sequence[str]) -> dict[str, pa.Table]:
        """Key → the row of `stage_runs` of its newest landing at the stage."""
        while True:
            commits = open_commits(self.home, stage)
            try:
                found = {key: self.read_name(STAGE_RUNS, stage, commits[key].name) for key in keys if key in commits}
            except FileNotFoundError:
                continue
            rest = [key for key in keys if key not in commits]
            return found | SealedFiles(self.home, STAGE_RUNS).newest_runs(stage, rest)

    def current(self, stage: str, keys: Sequence[str]) -> Mapping[str, Commit]:
        """Key → its newest commit at the stage, open or sealed."""
        commits = open_commits(self.home, stage)
        rest = [key for key in keys if key not in commits]
        sealed = {
            key: Commit.of_record(stage, key, rows)
            for key, rows in SealedFiles(self.home, STAGE_RUNS).newest_runs(stage, rest).items()
        }
        return {key: commits[key] for key in keys if key in commits} | sealed

    def history(self, stage: str, key: str) -> pa.Table:
        """The records of all tries of the key at the stage, oldest first: landings and failed tries."""
        names = [
            (folder, name.removesuffix(".parquet"))
            for folder in (stage, FAILED)
            for name in self.home.names("lake", STAGE_RUNS.name, OPEN, folder)
            if name.startswith(f"{key}@")
        ]
        files = [self.read_name(STAGE_RUNS, *name) for name in names]
        sealed = SealedFiles(self.home, STAGE_RUNS).landings([key])
        rows = pa.concat_tables([STAGE_RUNS.schema.empty_table(), *sealed.values(), *files])
        return rows.filter(pc.field("stage") == stage).sort_by("finished_at")

    def _write(self, table: Table, rows: pa.Table, *place: str) -> None:
        if rows.schema != table.schema:
            raise TypeError(f"rows for {table.name} have another schema:\n{rows.schema}")
        with self.home.writing("lake", table.name, *place) as stream:
            pq.write_table(rows, stream, compression="zstd")

    def read_name(self, table: Table, *name: str) -> pa.Table:
        """The rows of an open file, committed or not. Raises `FileNotFoundError`."""
        path = self.home.path("lake", table.name, OPEN, *name) + ".parquet"
        with self.home.filesystem.open_input_file(path) as file:
            # Not read_table: it looks for partitions and starts threads, which takes twice as long as a small file.
            return table.conform(pq.ParquetFile(file).read(use_threads=False))
