"""The sealed files of a table: immutable, sorted by key, named by a manifest that one rename replaces.

`lake/<table>/sealed/<name>.parquet` are the files; `lake/<table>/manifest/<version>.parquet` with the greatest version
names those that count. A file that no manifest names is left from a killed compaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.lake.duckdb_files import connect_files, duckdb_schema, retry_if_file_vanished
from resources.lake.home import Home
from resources.lake.tables import Table

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SEALED = "sealed"
MANIFEST = "manifest"
_BLOOM = {"ndv": 4096, "fpp": 0.01}
"""For the keys of a row group: 5 kB."""
_MANIFEST_SCHEMA = pa.schema([("file", pa.string())])


@dataclass(frozen=True)
class Sizes:
    """How large sealed files and their row groups become."""

    file_bytes: int = 64 << 20
    """A file of this size is full. A smaller one is merged into the next compaction."""
    row_group_rows: int = 100_000
    """A row group is closed at this many rows; it holds whole landings, so it is larger by one of them at most."""


@dataclass(frozen=True)
class SealedFiles:
    """Reads and writes a table's sealed files. Only one process may write at a time."""

    home: Home
    table: Table
    sizes: Sizes = Sizes()

    def names(self) -> list[str]:
        """The files of the current manifest, oldest first, without `.parquet`."""
        while True:
            manifests = self.home.names("lake", self.table.name, MANIFEST)
            if not manifests:
                return []
            try:
                with self.home.filesystem.open_input_file(
                    self.home.path("lake", self.table.name, MANIFEST, manifests[-1])
                ) as file:
                    return [name for name in pq.read_table(file)["file"].to_pylist() if name]
            except FileNotFoundError:  # a newer one has replaced it since it was listed
                continue

    def paths(self) -> list[str]:
        return [self._path(name) for name in self.names()]

    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.home.filesystem.get_file_info(path).size for path in self.paths())

    def all_keys(self) -> set[str]:
        """Every episode (or feed) that has sealed rows."""
        column = self.table.landing[0]
        return set(self._query(f"select distinct {column} from files").column(0).to_pylist())

    def landings(self, keys: Sequence[str]) -> dict[str, pa.Table]:
        """Key → its sealed rows, for those of the keys that have any."""
        if not keys:
            return {}
        column = self.table.landing[0]
        rows = self._query(f"from files where {column} in (select unnest($keys))", keys=list(keys))
        return {key: rows.filter(pc.field(column) == key) for key in pc.unique(rows[column]).to_pylist()}

    def newest_runs(self, stage: str, keys: Sequence[str]) -> dict[str, pa.Table]:
        """Key → the sealed row of `stage_runs` of its newest landing at the stage."""
        if not keys:
            return {}
        rows = self._query(
            "from files where episode_id in (select unnest($keys)) and stage = $stage and outcome = 'landed' "
            "qualify row_number() over (partition by episode_id order by stamp desc nulls last, finished_at desc) = 1",
            keys=list(keys),
            stage=stage,
        )
        return {rows["episode_id"][index].as_py(): rows.slice(index, 1) for index in range(rows.num_rows)}

    def landed(self) -> dict[str, set[str]]:
        """Stage → keys, of the sealed rows of `stage_runs` that say that a stage landed."""
        rows = self._query("select distinct stage, episode_id from files where outcome = 'landed'")
        return {
            stage: set(rows.filter(pc.field("stage") == stage)["episode_id"].to_pylist())
            for stage in pc.unique(rows["stage"]).to_pylist()
        }

    def write(self, landings: Iterable[pa.Table]) -> list[str]:
        """New files with the landings, in the given order. Returns their names; no reader sees them yet."""
        names: list[str] = []
        groups = _concatenated(landings, self.sizes.row_group_rows)
        group = next(groups, None)
        while group is not None:
            name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:6]}"
            with self.home.writing("lake", self.table.name, SEALED, f"{name}.parquet") as sink:
                bloom = {self.table.landing[0]: _BLOOM}
                with pq.ParquetWriter(
                    sink, self.table.schema, compression="zstd", bloom_filter_options=bloom
                ) as writer:
                    while group is not None and sink.tell() < self.sizes.file_bytes:
                        writer.write_table(group, row_group_size=group.num_rows)
                        group = next(groups, None)
            names.append(name)
        return names

    def row_groups(self, name: str) -> Iterator[pa.Table]:
        """The rows of a file, a row group at a time."""
        with self.home.filesystem.open_input_file(self._path(name)) as file:
            parquet = pq.ParquetFile(file)
            for index in range(parquet.num_row_groups):
                yield self.table.conform(parquet.read_row_group(index))

    def holding(self, keys: Collection[str]) -> set[str]:
        """The files that hold rows of any of the keys."""
        column = self.table.landing[0]
        found = self._query(
            f"select distinct parse_filename(filename, true) from files where {column} in (select unnest($keys))",
            keys=sorted(keys),
        )
        return set(found.column(0).to_pylist())

    def is_small(self, name: str) -> bool:
        return bool(self.home.filesystem.get_file_info(self._path(name)).size < self.sizes.file_bytes)

    def commit(self, names: Sequence[str]) -> None:
        """Make these the table's files. Readers see all of the change at once."""
        manifests = self.home.names("lake", self.table.name, MANIFEST)
        version = int(manifests[-1].removesuffix(".parquet")) + 1 if manifests else 0
        with self.home.writing("lake", self.table.name, MANIFEST, f"{version:012d}.parquet") as stream:
            # An empty manifest has one row, because readers learn the version from the rows.
            rows: Sequence[str | None] = names or [None]
            pq.write_table(pa.table([pa.array(rows, pa.string())], schema=_MANIFEST_SCHEMA), stream)

    def remove_replaced(self) -> None:
        """Remove the files that the current manifest does not name, and older manifests."""
        current = {f"{name}.parquet" for name in self.names()}
        for name in self.home.names("lake", self.table.name, SEALED):
            if name not in current:
                self.home.remove("lake", self.table.name, SEALED, name)
        for name in self.home.names("lake", self.table.name, MANIFEST)[:-1]:
            self.home.remove("lake", self.table.name, MANIFEST, name)

    def _query(self, sql: str, **parameters: object) -> pa.Table:
        """Ask DuckDB about `files`, the rows of the sealed files."""

        def ask() -> pa.Table:
            names = self.names()
            if not names:
                return self.table.schema.empty_table()
            with connect_files(self.home) as connection:
                return self._rows(connection, names, sql, parameters)

        return retry_if_file_vanished(ask)

    def _rows(
        self, connection: DuckDBPyConnection, names: Sequence[str], sql: str, parameters: dict[str, object]
    ) -> pa.Table:
        schema, files = duckdb_schema(self.table), [self.home.duckdb_path(self._path(name)) for name in names]
        source = f"with files as (from read_parquet($files, filename = true, schema = {schema})) "
        rows = connection.sql(source + sql, params={**parameters, "files": files}).to_arrow_table()
        return self.table.conform(rows.drop_columns(["filename"])) if "filename" in rows.column_names else rows

    def _path(self, name: str) -> str:
        return self.home.path("lake", self.table.name, SEALED, f"{name}.parquet")


def _concatenated(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Tables put together until each has at least so many rows."""
    group: list[pa.Table] = []
    count = 0
    for table in tables:
        group.append(table)
        count += table.num_rows
        if count >= rows:
            yield pa.concat_tables(group)
            group, count = [], 0
    if count:
        yield pa.concat_tables(group)
