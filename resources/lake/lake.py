"""The Parquet lake: a stage lands all its tables of a key with one commit, so readers see whole landings only.

`resources.lake.commits` describes the names of open files, `resources.lake.sealed_files` the files of compaction.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.lake.commits import FAILED, Commit, digest, open_commits
from resources.lake.duckdb_files import connect_files, duckdb_schema, is_missing_lake_file
from resources.lake.home import Home
from resources.lake.sealed_files import SealedFiles
from resources.lake.tables import FAILURES, STAGE_RUNS, Table
from resources.lake.tables.pipeline import FailureRow, StageRunRow
from resources.lake.tables.table import Row_co
from speech.errors import StorageError

OPEN = "open"
SMALL_BYTES = 64 << 10
"""Below this, compression saves a few blocks of the disk until compaction, and takes more time than all the rest of
writing and reading the file."""
READ_TRIES, READ_AGAIN_AFTER_S = 5, 0.2
"""A listing of an object store may be older than the removal of a file."""
_COMMIT_COLUMNS = "episode_id, stage, stamp, audio_sha256, engine_fingerprint, finished_at"
"""The columns of `stage_runs` that a commit is made of."""


@dataclass(frozen=True)
class Lake:
    """Reads and writes landings, without locks."""

    home: Home

    def write_rows(self, commit: Commit, landing: Iterable[tuple[Table, pa.Table]]) -> None:
        """Write the rows of each table of a landing. No reader sees them before `commit`. Raises `StorageError`."""
        for table, rows in landing:
            self._write(table, rows, OPEN, f"{commit.name}.parquet")

    def commit(self, record: StageRunRow) -> None:
        """Write the landing's row of `stage_runs`, which makes its rows visible. Raises `StorageError`."""
        self._write(STAGE_RUNS, STAGE_RUNS.of([record]), OPEN, record.stage, f"{record.commit.name}.parquet")

    def record_failed_try(self, record: StageRunRow) -> None:
        """Write the row of `stage_runs` of a try that landed nothing. Raises `StorageError`."""
        self._write(STAGE_RUNS, STAGE_RUNS.of([record]), OPEN, FAILED, f"{record.commit.name}.parquet")

    def read(
        self,
        table: Table,
        key: str,
        listed: Mapping[str, Commit] | None = None,
        columns: Sequence[str] | None = None,
    ) -> pa.Table | None:
        """The rows of the key's newest landing in the table; None if there is no landing.

        `listed` are the open commits of the table's stage, if they have been listed already; without `columns`, all.
        """
        missing = _Missing()
        while True:
            commit = (open_commits(self.home, table.asset) if listed is None else listed).get(key)
            listed = None
            if commit is None:
                rows = SealedFiles(self.home, table).landings([key]).get(key)
                return rows if rows is None or columns is None else rows.select(columns)
            try:
                return self.read_name(table, commit.name, columns=columns)
            except FileNotFoundError as error:  # compaction removed the landing after it was listed
                missing.note(commit, error)

    def read_many(self, table: Table, keys: Sequence[str]) -> dict[str, pa.Table]:
        """Key → rows, for the keys that have landed. Lists the commits once; sealed rows come from one query."""
        missing = _Missing()
        while True:
            commits, found = open_commits(self.home, table.asset), {}
            opened = [commits[key] for key in keys if key in commits]
            for commit in opened:
                try:
                    found[commit.key] = self.read_name(table, commit.name)
                except FileNotFoundError as error:  # compaction removed the landing after it was listed
                    missing.note(commit, error)
                    break
            if len(found) == len(opened):
                return found | SealedFiles(self.home, table).landings([key for key in keys if key not in commits])

    def read_columns(
        self, table: Table, keys: Sequence[str], listed: Mapping[str, Commit], columns: Sequence[str]
    ) -> pa.Table:
        """Some columns of the keys' newest landings, by two queries: less than half of the work of reading each file.

        `listed` are the open commits of the table's stage.
        """
        open_keys = [key for key in keys if key in listed]
        opened = self._read_open(table, [listed[key] for key in open_keys], columns)
        # If a compaction has removed a file, each landing is read where it is now.
        found = self.read_many(table, open_keys) if opened is None else {}
        found |= SealedFiles(self.home, table).landings([key for key in keys if key not in listed])
        none = pa.schema([table.schema.field(name) for name in columns]).empty_table()
        return pa.concat_tables(
            [none if opened is None else opened, *(rows.select(columns) for rows in found.values())]
        )

    def _read_open(self, table: Table, commits: Sequence[Commit], columns: Sequence[str]) -> pa.Table | None:
        """Of these open landings. None if there are none, or if one of the files is gone."""
        if not commits:
            return None
        schema = pa.schema([table.schema.field(name) for name in columns])
        paths = (self.home.path("lake", table.name, OPEN, f"{commit.name}.parquet") for commit in commits)
        files = {"files": [self.home.duckdb_path(path) for path in paths]}
        query = f"select {', '.join(columns)} from read_parquet($files, schema = {duckdb_schema(schema)})"
        try:
            with connect_files(self.home) as connection:
                return table.conform(connection.sql(query, params=files).to_arrow_table(), columns)
        except Exception as error:
            if is_missing_lake_file(error):
                return None
            raise

    def read_landing(self, table: Table, commit: Commit) -> pa.Table | None:
        """The rows of this landing in the table; None if it is no longer there, because another has replaced it."""
        try:
            return self.read_name(table, commit.name)
        except FileNotFoundError:
            rows = SealedFiles(self.home, table).landings([commit.key])
            is_current = self.current(commit.stage, [commit.key]).get(commit.key) == commit
            return rows.get(commit.key, table.schema.empty_table()) if is_current else None

    def rows(self, table: Table[Row_co], key: str, listed: Mapping[str, Commit] | None = None) -> list[Row_co]:
        """The rows of the key's newest landing, typed; empty if there is no landing."""
        found = self.read(table, key, listed)
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

    def last_failure(self, name: str) -> FailureRow | None:
        """The row of `failures` under this name, if the key has not landed since."""
        rows = self.read_file(FAILURES, name)
        return None if rows is None else next(reversed(FAILURES.rows_of(rows)), None)

    def failures(self, stage: str, keys: Sequence[str]) -> dict[str, FailureRow]:
        """Key → its failure at the stage, for those of the keys that have one."""
        present = set(self.keys(FAILURES))
        names = {key: FAILURES.landing_key(key, stage) for key in keys}
        return {key: row for key, name in names.items() if name in present and (row := self.last_failure(name))}

    def remove(self, table: Table, key: str) -> None:
        """Remove the key's rows from a table that no stage commits."""
        self.home.remove("lake", table.name, OPEN, f"{key}.parquet")

    def keys(self, table: Table) -> list[str]:
        """The keys of a table that no stage commits, from file names."""
        return [name.removesuffix(".parquet") for name in self.home.names("lake", table.name, OPEN)]

    def runs(self, stage: str, keys: Sequence[str]) -> dict[str, StageRunRow]:
        """Key → the row of `stage_runs` of its newest landing at the stage, for those of the keys that have one."""
        missing = _Missing()
        while True:
            commits, found = open_commits(self.home, stage), []
            opened = [commits[key] for key in keys if key in commits]
            for commit in opened:
                try:
                    found.append(self.read_name(STAGE_RUNS, stage, commit.name))
                except FileNotFoundError as error:  # compaction removed the commit after it was listed
                    missing.note(commit, error)
                    break
            if len(found) == len(opened):
                rest = [key for key in keys if key not in commits]
                rows = {row.episode_id: row for table in found for row in STAGE_RUNS.rows_of(table)}
                return rows | SealedFiles(self.home, STAGE_RUNS).newest_runs(stage, rest)

    def current(self, stage: str, keys: Sequence[str]) -> Mapping[str, Commit]:
        """Key → its newest commit at the stage, open or sealed."""
        commits = open_commits(self.home, stage)
        rest = [key for key in keys if key not in commits]
        sealed = SealedFiles(self.home, STAGE_RUNS).newest_runs(stage, rest, _COMMIT_COLUMNS)
        return {key: commits[key] for key in keys if key in commits} | {key: row.commit for key, row in sealed.items()}

    def landed(self, stage: str) -> set[str]:
        """All keys that have landed at the stage, open or sealed."""
        found = set(open_commits(self.home, stage))  # first: a key is sealed before its open commit is removed
        return found | SealedFiles(self.home, STAGE_RUNS).landed_keys(stage)

    def state(self, stage: str, keys: Sequence[str]) -> str:
        """A fingerprint of the keys' landings at the stage: the same for the same data."""
        current = self.current(stage, keys)
        return digest(f"{key}={current[key].data_version}" for key in sorted(current))

    def history(self, stage: str, key: str) -> pa.Table:
        """The records of all tries of the key at the stage, oldest first: landings and failed tries."""
        files = self._open_records(stage, key)
        stamps = [stamp for file in files if (stamp := file["stamp"][0].as_py())]  # NULL in lakes of version 1
        sealed = SealedFiles(self.home, STAGE_RUNS).landings([key]).get(key, STAGE_RUNS.schema.empty_table())
        # While a compaction works, a record may be both open and sealed.
        is_open = pc.is_in(sealed["stamp"], pa.array(stamps, pa.string()))
        rows = pa.concat_tables([sealed.filter(pc.invert(is_open)), *files])
        return rows.filter(pc.field("stage") == stage).sort_by("finished_at")

    def _open_records(self, stage: str, key: str) -> list[pa.Table]:
        """The open records of the key's landings at the stage, and of its failed tries at all stages."""
        missing = _Missing()
        while True:
            names = [
                (folder, name.removesuffix(".parquet"))
                for folder in (stage, FAILED)
                for name in self.home.names("lake", STAGE_RUNS.name, OPEN, folder)
                if name.startswith(f"{key}@")
            ]
            files = []
            for folder, name in names:
                try:
                    files.append(self.read_name(STAGE_RUNS, folder, name))
                except FileNotFoundError as error:  # compaction removed the record after it was listed
                    missing.note(Commit.parse(folder, name), error)
                    break
            if len(files) == len(names):
                return files

    def _write(self, table: Table, rows: pa.Table, *place: str) -> None:
        if rows.schema != table.schema:
            raise TypeError(f"rows for {table.name} have another schema:\n{rows.schema}")
        is_small = rows.get_total_buffer_size() < SMALL_BYTES
        with self.home.writing("lake", table.name, *place) as stream:
            if is_small:  # in one write: Arrow makes a hundred, and each is a call of Python
                collected = pa.BufferOutputStream()
                # No reader of a small file uses statistics, which take a tenth of the time.
                pq.write_table(rows, collected, compression="none", use_dictionary=False, write_statistics=False)
                stream.write(collected.getvalue())
            else:
                pq.write_table(rows, stream, compression="zstd")

    def read_name(self, table: Table, *name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of an open file, committed or not. Raises `FileNotFoundError`."""
        path = self.home.path("lake", table.name, OPEN, *name) + ".parquet"
        with self.home.filesystem.open_input_file(path) as file:
            # Not read_table: it looks for partitions and starts threads, which takes twice as long as a small file.
            return table.conform(pq.ParquetFile(file).read(columns, use_threads=False), columns)


class _Missing:
    """Files of commits that were listed, and were not there. Compaction removes a commit before its rows."""

    def __init__(self) -> None:
        self._tries: Counter[Commit] = Counter()

    def note(self, commit: Commit, error: FileNotFoundError) -> None:
        """Raises `StorageError` if the same commit was listed again and again: its rows are lost."""
        self._tries[commit] += 1
        if self._tries[commit] == READ_TRIES:
            raise StorageError(
                f"The lake is damaged: {commit.stage} of {commit.key} has the commit {commit.name}, whose file is missing "
                f"({error}). Restore the file from a backup. Without one, remove lake/{STAGE_RUNS.name}/{OPEN}/"
                f"{commit.stage}/{commit.name}.parquet, and materialize {commit.stage} of {commit.key} again."
            ) from error
        if self._tries[commit] > 1:
            time.sleep(READ_AGAIN_AFTER_S)
