"""The sealed files of a table: immutable Parquet files, named by a manifest that one rename replaces.

`lake/<table>/manifest/<version>.parquet` with the greatest version names the files of `lake/<table>/sealed` that count,
and the keys whose rows in a file are superseded. Files that no manifest names are left over from a killed compaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from io import BytesIO
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.lake.duckdb_files import connect_files, duckdb_schema, retry_if_file_vanished
from resources.lake.home import Home
from resources.lake.tables import STAGE_RUNS, Table
from resources.lake.tables.pipeline import StageRunRow

SEALED = "sealed"
MANIFEST = "manifest"
MANIFEST_SCHEMA = pa.schema(
    [("file", pa.string()), ("superseded", pa.list_(pa.string())), ("superseded_rows", pa.int64())]
)


@dataclass(frozen=True)
class SealedFile:
    """A file that the manifest names."""

    name: str
    superseded: frozenset[str] = frozenset()
    """Keys whose rows in this file do not count: they have landed again since."""
    superseded_rows: int = 0

    def superseding(self, n_rows: Mapping[str, int]) -> SealedFile:
        """The file without the rows of further keys; `n_rows` says how many it holds of each."""
        new = {key: count for key, count in n_rows.items() if key not in self.superseded}
        return SealedFile(self.name, self.superseded.union(new), self.superseded_rows + sum(new.values()))


@dataclass(frozen=True)
class Sizes:
    """How large sealed files and their row groups become."""

    file_bytes: int = 64 << 20
    """A file of this size is full. A smaller one is merged into the next compaction."""
    row_group_rows: int = 100_000
    """A row group is closed at this many rows; it holds whole landings, so it is larger by one of them at most."""
    superseded_share: float = 0.3
    """A file is rewritten when more of its rows than this are superseded."""


@dataclass(frozen=True)
class SealedFiles:
    """Reads and writes a table's sealed files. Only one process may write at a time."""

    home: Home
    table: Table
    sizes: Sizes = Sizes()

    def manifest(self) -> list[SealedFile]:
        """The files of the current manifest, oldest first."""

        def read() -> list[SealedFile]:
            manifests = self.home.names("lake", self.table.name, MANIFEST)
            if not manifests:
                return []
            path = self.home.path("lake", self.table.name, MANIFEST, manifests[-1])
            with self.home.filesystem.open_input_file(path) as file:
                rows = pq.read_table(file).to_pylist()
            # A manifest without `superseded` was written before the column existed.
            return [
                SealedFile(row["file"], frozenset(row.get("superseded") or ()), row.get("superseded_rows") or 0)
                for row in rows
                if row["file"]
            ]

        return retry_if_file_vanished(read)

    def names(self) -> list[str]:
        """Names of the files, without `.parquet`."""
        return [file.name for file in self.manifest()]

    def paths(self) -> list[str]:
        return [self._path(name) for name in self.names()]

    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.home.filesystem.get_file_info(path).size for path in self.paths())

    def landings(self, keys: Sequence[str]) -> dict[str, pa.Table]:
        """Key → its sealed rows, for those of the keys that have any."""
        if not keys:
            return {}
        column = self.table.landing[0]
        rows = self._query(
            f"from files where {column} in (select unnest($keys)) "
            f"and concat(parse_filename(filename, true), '/', {column}) not in (select unnest($superseded))",
            keys=list(keys),
        )
        return {key: rows.filter(pc.field(column) == key) for key in pc.unique(rows[column]).to_pylist()}

    def all_rows(self, keys: Sequence[str]) -> pa.Table:
        """All rows of the keys, superseded ones too."""
        return self._query(f"from files where {self.table.landing[0]} in (select unnest($keys))", keys=list(keys))

    def records(self, keys: Collection[str]) -> set[str]:
        """`<key>@<stamp>` of the sealed rows of `stage_runs` of the keys."""
        names = "select concat(episode_id, '@', stamp) as name from files where episode_id in (select unnest($keys))"
        return set(self._query(names, keys=list(keys)).column(0).to_pylist())

    def newest_runs(self, stage: str, keys: Sequence[str], columns: str = "*") -> dict[str, StageRunRow]:
        """Key → the sealed row of `stage_runs` of its newest landing at the stage, with these columns alone."""
        if not keys:
            return {}
        rows = self._query(
            f"select {columns} from files where episode_id in (select unnest($keys)) and stage = $stage "
            "and outcome = 'landed' "
            "qualify row_number() over (partition by episode_id order by stamp desc nulls last, finished_at desc) = 1",
            keys=list(keys),
            stage=stage,
        )
        return {row.episode_id: row for row in STAGE_RUNS.rows_of(STAGE_RUNS.conform(rows))}

    def landed(self) -> dict[str, set[str]]:
        """Stage → keys, of the sealed rows of `stage_runs` that say that a stage landed."""
        rows = self._query("select distinct stage, episode_id from files where outcome = 'landed'")
        return {
            stage: set(rows.filter(pc.field("stage") == stage)["episode_id"].to_pylist())
            for stage in pc.unique(rows["stage"]).to_pylist()
        }

    def landed_keys(self, stage: str) -> set[str]:
        """The keys that landed at the stage, of the sealed rows of `stage_runs`."""
        keys = "select distinct episode_id from files where stage = $stage and outcome = 'landed'"
        return set(self._query(keys, stage=stage).column(0).to_pylist())

    def landed_feeds(self, stage: str) -> set[str]:
        """The feeds of the episodes that landed at the stage, of the sealed rows of `stage_runs`."""
        feeds = "select distinct regexp_replace(episode_id, '-[^-]*-[^-]*$', '') as feed_id from files "
        rows = self._query(feeds + "where stage = $stage and outcome = 'landed'", stage=stage)
        return set(rows.column(0).to_pylist())

    def write(self, landings: Iterable[pa.Table]) -> list[SealedFile]:
        """New files with the landings, in the given order; no reader sees them yet."""
        new: list[SealedFile] = []
        groups = _concatenated(landings, self.sizes.row_group_rows)
        group = next(groups, None)
        while group is not None:
            name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{uuid.uuid4().hex[:6]}"
            # As many keys as the first row group has, so that the filter is neither large nor full.
            n_keys = pc.count_distinct(group[self.table.landing[0]]).as_py()
            bloom = {self.table.landing[0]: {"ndv": n_keys, "fpp": 0.01}}
            with (
                self.home.writing("lake", self.table.name, SEALED, f"{name}.parquet") as sink,
                pq.ParquetWriter(sink, self.table.schema, compression="zstd", bloom_filter_options=bloom) as writer,
            ):
                is_full = False
                while group is not None and not is_full:
                    writer.write_table(group, row_group_size=group.num_rows)
                    is_full = sink.tell() >= self.sizes.file_bytes
                    group = next(groups, None)
            new.append(SealedFile(name))
        return new

    def rows(self, file: SealedFile) -> Iterator[pa.Table]:
        """The rows of a file that count, a row group at a time."""
        superseded = pa.array(sorted(file.superseded), pa.string())
        with self.home.filesystem.open_input_file(self._path(file.name)) as stream:
            parquet = pq.ParquetFile(stream)
            for index in range(parquet.num_row_groups):
                rows = self.table.conform(parquet.read_row_group(index))
                yield (
                    rows.filter(pc.invert(pc.is_in(rows[self.table.landing[0]], superseded)))
                    if len(superseded)
                    else rows
                )

    def holding(self, keys: Collection[str]) -> dict[str, dict[str, int]]:
        """File → key → number of rows, for the files that hold rows of any of the keys, superseded ones too."""
        column = self.table.landing[0]
        found = self._query(
            f"select parse_filename(filename, true) as file, {column} as key, count(*) as n_rows "
            f"from files where {column} in (select unnest($keys)) group by all",
            keys=sorted(keys),
        )
        held: dict[str, dict[str, int]] = {}
        for row in found.to_pylist() if "n_rows" in found.column_names else ():
            held.setdefault(row["file"], {})[row["key"]] = row["n_rows"]
        return held

    def is_mostly_superseded(self, file: SealedFile) -> bool:
        """Whether so many rows are superseded that the file is worth rewriting."""
        if not file.superseded_rows:
            return False
        with self.home.filesystem.open_input_file(self._path(file.name)) as stream:
            n_rows: int = pq.ParquetFile(stream).metadata.num_rows
        return file.superseded_rows > self.sizes.superseded_share * n_rows

    def is_small(self, name: str) -> bool:
        return bool(self.home.filesystem.get_file_info(self._path(name)).size < self.sizes.file_bytes)

    def commit(self, files: Sequence[SealedFile]) -> None:
        """Make these the table's files. Readers see all of the change at once."""
        manifests = self.home.names("lake", self.table.name, MANIFEST)
        version = int(manifests[-1].removesuffix(".parquet")) + 1 if manifests else 0
        with self.home.writing("lake", self.table.name, MANIFEST, f"{version:012d}.parquet") as stream:
            stream.write(_manifest(tuple(files)))

    def remove_replaced(self) -> None:
        """Remove the files that the current manifest does not name, and older manifests."""
        current = {f"{name}.parquet" for name in self.names()}
        for name in self.home.names("lake", self.table.name, SEALED):
            if name not in current:
                self.home.remove("lake", self.table.name, SEALED, name)
        for name in self.home.names("lake", self.table.name, MANIFEST)[:-1]:
            self.home.remove("lake", self.table.name, MANIFEST, name)

    def _query(self, sql: str, **parameters: object) -> pa.Table:
        """Ask DuckDB about `files`, the rows of the sealed files. `$superseded` lists `<file>/<key>` of `$keys`."""

        def ask() -> pa.Table:
            manifest = self.manifest()
            if not manifest:
                return self.table.schema.empty_table()
            if "$superseded" in sql:
                keys = frozenset(cast("Sequence[str]", parameters["keys"]))
                parameters["superseded"] = [f"{file.name}/{key}" for file in manifest for key in file.superseded & keys]
            paths = [self.home.duckdb_path(self._path(file.name)) for file in manifest]
            source = f"with files as (from read_parquet($files, filename = true, schema = {duckdb_schema(self.table.schema)})) "
            with connect_files(self.home) as connection:
                rows = connection.sql(source + sql, params={**parameters, "files": paths}).to_arrow_table()
            return self.table.conform(rows.drop_columns(["filename"])) if "filename" in rows.column_names else rows

        return retry_if_file_vanished(ask)

    def _path(self, name: str) -> str:
        return self.home.path("lake", self.table.name, SEALED, f"{name}.parquet")


@lru_cache(maxsize=1)  # all tables of a new lake have the same
def _manifest(files: tuple[SealedFile, ...]) -> bytes:
    rows = [
        {"file": file.name, "superseded": sorted(file.superseded), "superseded_rows": file.superseded_rows}
        for file in files
    ]
    stream = BytesIO()
    # An empty manifest has one row, because readers learn the version from the rows.
    pq.write_table(pa.Table.from_pylist(rows or [{}], schema=MANIFEST_SCHEMA), stream)
    return stream.getvalue()


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
