"""The Parquet lake: a landing is a file per episode (or feed), replaced atomically.

`lake/<table>/open/<key>.parquet` holds what has landed lately, `lake/<table>/sealed/*.parquet` what sealing
has folded together. An open file outranks sealed rows of the same key, also when it holds no rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resources.lake.home import Home
from resources.lake.tables import Table

OPEN = "open"
SEALED = "sealed"


@dataclass(frozen=True)
class Lake:
    """Reads and writes landings. No lock is needed for either."""

    home: Home

    def land(self, table: Table, key: str, rows: pa.Table) -> None:
        """Replace what `key` has in the table. Raises `StorageError`, and then nothing has changed."""
        if rows.schema != table.schema:
            raise TypeError(f"rows for {table.name} have another schema:\n{rows.schema}")
        with self.home.writing("lake", table.name, OPEN, f"{key}.parquet") as stream:
            pq.write_table(rows, stream, compression="zstd")

    def read(self, table: Table, key: str) -> pa.Table | None:
        """What `key` has landed, None where it never has."""
        rows = self._read_open(table, key)
        if rows is None:
            sealed = self.read_sealed(table, table.schema.names, {key})
            if sealed is not None and sealed.num_rows:
                return table.conform(sealed)
            rows = self._read_open(table, key)  # it may have landed anew, and its sealed rows have gone, meanwhile
        return rows

    def remove(self, table: Table, key: str) -> None:
        """Take a landing out of the open files. Sealed rows of the key come to light again."""
        self.home.remove("lake", table.name, OPEN, f"{key}.parquet")

    def open_keys(self, table: Table) -> list[str]:
        """Keys with an open landing, by file name alone."""
        return [name.removesuffix(".parquet") for name in self.home.names("lake", table.name, OPEN)]

    def sealed_files(self, table: Table) -> list[str]:
        return [
            self.home.path("lake", table.name, SEALED, name) for name in self.home.names("lake", table.name, SEALED)
        ]

    def _read_open(self, table: Table, key: str) -> pa.Table | None:
        try:
            with self.home.filesystem.open_input_file(
                self.home.path("lake", table.name, OPEN, f"{key}.parquet")
            ) as file:
                # Not read_table: it looks for partitions and starts threads, which takes twice as long as a small file.
                return table.conform(pq.ParquetFile(file).read(use_threads=False))
        except FileNotFoundError:  # never landed, or sealed
            return None

    def read_sealed(self, table: Table, columns: Sequence[str], keys: Collection[str] | None = None) -> pa.Table | None:
        """Columns of what these landings (None: all) have in the sealed files; None where the table has no such file."""
        wanted = None if keys is None else sealed_filter(table, keys)
        while files := self.sealed_files(table):
            try:
                return pq.read_table(
                    files, columns=list(columns), filters=wanted, filesystem=self.home.filesystem, schema=table.schema
                )
            except FileNotFoundError:  # a sealing has taken a file away since it was listed
                continue
        return None


def sealed_filter(table: Table, keys: Collection[str]) -> pc.Expression:
    """Which sealed rows belong to these landings."""
    named = [dict(zip(table.landing, key.split("."), strict=True)) for key in keys]
    if len(table.landing) == 1:
        (column,) = table.landing
        return pc.field(column).isin(sorted(row[column] for row in named))
    rows = [reduce(and_, (pc.field(column) == value for column, value in row.items())) for row in named]
    return reduce(or_, rows)
