"""The sealed files of a table: which landings lie where, taken out, and put in.

A row group holds whole landings, in the order of their keys, so one episode is found by the row groups' statistics
and Bloom filters. A file is named by the moment it was begun; it keeps its name, only grows
(`resources.lake.growing_parquet`), and goes when no row of it is left.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.lake.growing_parquet import write_version
from resources.lake.home import Home
from resources.lake.lake import SEALED
from resources.lake.tables import Table

_BLOOM = {"ndv": 4096, "fpp": 0.01}
"""For the episodes of a row group: 5 kB."""


@dataclass(frozen=True)
class Sizes:
    """How large sealed files and their row groups become."""

    file_bytes: int = 64 << 20
    """A file of this size is full. Until then, each sealing that adds to it writes all of it again."""
    row_group_rows: int = 100_000
    """A row group is closed at this many rows; it holds whole landings, so it is larger by one of them at most."""
    moved_landings: int = 2_000
    """A full file that is more than half dead bytes gives up so many of its landings at each sealing."""


@dataclass(frozen=True)
class SealedFiles:
    """Reads and writes a table's sealed files. Whoever writes sees to it that nobody else does."""

    home: Home
    table: Table
    sizes: Sizes = Sizes()

    def names(self) -> list[str]:
        """File names, oldest first."""
        return self.home.names("lake", self.table.name, SEALED)

    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.home.filesystem.get_file_info(self._path(name)).size for name in self.names())

    def ids(self) -> set[str]:
        """Every episode (or feed) that has sealed rows."""
        found: set[str] = set()
        for name in self.names():
            with suppress(FileNotFoundError), self._open(name) as file:  # gone: what it held has landed again
                ids = pq.ParquetFile(file).read(columns=[self.table.landing[0]])
                found.update(ids.column(0).unique().to_pylist())
        return found

    def landings(self, name: str, ids: Collection[str]) -> Iterator[tuple[str, pa.Table]]:
        """Key and rows of the landings in a file that belong to these episodes or feeds."""
        with self._open(name) as file:
            parquet = pq.ParquetFile(file)
            for index, keys in self._keys_by_row_group(parquet, ids):
                rows = parquet.read_row_group(index)
                of_rows = _keys(rows, self.table)
                for key in keys:
                    if key.split(".", 1)[0] in ids:
                        yield key, rows.filter(pc.equal(of_rows, key))

    def take_out(self, keys: Collection[str]) -> None:
        """Take the landings' rows out. Their open files must stand: a killed process may have taken out a part."""
        gone, ids = set(keys), {key.split(".", 1)[0] for key in keys}
        for name in self.names():
            with self._open(name) as file:
                parquet = pq.ParquetFile(file)
                touched = {index: held for index, held in self._keys_by_row_group(parquet, ids) if held & gone}
                whole = [index for index, held in touched.items() if held <= gone]
                if len(whole) == parquet.num_row_groups:
                    self.home.remove("lake", self.table.name, SEALED, name)
                elif touched:
                    rest = (_without(parquet.read_row_group(i), self.table, gone) for i in touched if i not in whole)
                    self._write(name, parquet.schema_arrow, rest, before=file, dropped=touched)

    def put_in(self, landings: Iterator[pa.Table]) -> int:
        """Add landings to the last file, or to a new one where that is full, until this one is full.

        What is left in the iterator is left to the next call. Returns the rows added.
        """
        last = next(reversed(self.names()), None)
        if last is not None and self.home.filesystem.get_file_info(self._path(last)).size < self.sizes.file_bytes:
            with self._open(last) as file:
                if pq.read_schema(file).equals(self.table.schema):
                    return self._write(last, self.table.schema, landings, until_full=True, before=file)
        new = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}.parquet"
        return self._write(new, self.table.schema, landings, until_full=True)

    def to_be_moved(self) -> Iterator[tuple[str, pa.Table]]:
        """Landings to land anew, so that a later sealing moves them out of a file that is more than half dead bytes."""
        for name in self.names():
            with self._open(name) as file:
                parquet = pq.ParquetFile(file)
                if file.size() < max(self.sizes.file_bytes, 2 * _live_bytes(parquet.metadata)):
                    continue
                ids = parquet.read(columns=[self.table.landing[0]]).column(0).unique().to_pylist()
            yield from self.landings(name, set(ids[: self.sizes.moved_landings]))

    def tidy(self) -> None:
        """Remove what a killed process has left half-written."""
        for left in Path(self._path("")).glob(".[0-9]*.tmp"):
            left.unlink()

    def _write(
        self, name: str, schema: pa.Schema, landings: Iterator[pa.Table], *, until_full: bool = False, **version: Any
    ) -> int:
        with self.home.writing("lake", self.table.name, SEALED, name) as sink:
            if until_full:
                landings = _while_smaller(landings, sink, self.sizes.file_bytes)
            row_groups = _concatenated(landings, self.sizes.row_group_rows)
            rows = write_version(sink, schema, row_groups, bloom={self.table.landing[0]: _BLOOM}, **version)
        if self.home.is_local:
            _sync(self._path(""))
        return rows

    def _keys_by_row_group(self, parquet: pq.ParquetFile, ids: Collection[str]) -> Iterator[tuple[int, set[str]]]:
        """Row groups whose statistics do not rule the ids out, with all keys that they hold."""
        wanted = sorted(ids)
        names = [parquet.metadata.schema.column(index).path for index in range(parquet.metadata.num_columns)]
        column = names.index(self.table.landing[0])
        for index in range(parquet.num_row_groups):
            limits = parquet.metadata.row_group(index).column(column).statistics
            first = bisect_left(wanted, limits.min)
            if first < len(wanted) and wanted[first] <= limits.max:
                rows = parquet.read_row_group(index, columns=list(self.table.landing))
                yield index, set(_keys(rows, self.table).unique().to_pylist())

    @contextmanager
    def _open(self, name: str) -> Iterator[pa.NativeFile]:
        with self.home.filesystem.open_input_file(self._path(name)) as file:
            yield file

    def _path(self, name: str) -> str:
        return self.home.path("lake", self.table.name, SEALED, name)


def _while_smaller(landings: Iterator[pa.Table], sink: BinaryIO, limit: int) -> Iterator[pa.Table]:
    """Landings until the file has grown to the limit; what follows stays in the iterator."""
    while sink.tell() < limit and (rows := next(landings, None)) is not None:
        yield rows


def _keys(rows: pa.Table, table: Table) -> pa.ChunkedArray:
    """Each row's landing key."""
    return pc.binary_join_element_wise(*(rows[name] for name in table.landing), ".")


def _without(rows: pa.Table, table: Table, keys: Collection[str]) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(_keys(rows, table), pa.array(sorted(keys), pa.string()))))


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
    if group:
        yield pa.concat_tables(group)


def _live_bytes(metadata: pq.FileMetaData) -> int:
    """Bytes that the footer names, and itself."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    columns = [group.column(index) for group in groups for index in range(group.num_columns)]
    return metadata.serialized_size + sum(
        column.total_compressed_size + (column.bloom_filter_length or 0) for column in columns
    )


def _sync(folder: str) -> None:
    """See to it that the names in a folder survive a power cut before other files are removed."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
