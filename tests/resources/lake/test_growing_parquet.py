"""A growing file: each version reads as it should, also by a reader that holds the footer of the one before."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from resources.lake.growing_parquet import read_footer, write_version

SCHEMA = pa.schema(
    [pa.field("key", pa.string(), nullable=False), pa.field("n", pa.int32()), pa.field("tags", pa.list_(pa.string()))]
)


def rows(key: str, n: int) -> pa.Table:
    values = [{"key": key, "n": i if i % 3 else None, "tags": [key] * (i % 4)} for i in range(n)]
    return pa.Table.from_pylist(values, schema=SCHEMA)


def version(row_groups: list[pa.Table], before: bytes | None = None, dropped: tuple[int, ...] = ()) -> bytes:
    sink = BytesIO()
    old = pa.BufferReader(before) if before else None
    written = write_version(
        sink, SCHEMA, row_groups, before=old, dropped=dropped, bloom={"key": {"ndv": 64, "fpp": 0.01}}
    )
    assert written == sum(group.num_rows for group in row_groups)
    return sink.getvalue()


def test_new_row_groups_follow_the_old_ones():
    first = version([rows("a", 5), rows("b", 7)])
    second = version([rows("c", 3)], before=first)

    assert pq.read_table(BytesIO(second)).equals(pa.concat_tables([rows("a", 5), rows("b", 7), rows("c", 3)]))
    assert pq.read_metadata(BytesIO(second)).num_rows == 15


def test_dropped_row_groups_are_named_no_more():
    first = version([rows("a", 5), rows("b", 7), rows("c", 3)])
    second = version([rows("d", 2)], before=first, dropped=(0, 2))

    assert pq.read_table(BytesIO(second)).equals(pa.concat_tables([rows("b", 7), rows("d", 2)]))


def test_all_rows_can_be_dropped():
    second = version([], before=version([rows("a", 5)]), dropped=(0,))

    assert pq.read_table(BytesIO(second)).num_rows == 0


@pytest.mark.parametrize("count", [14, 15, 16, 200])
def test_any_number_of_row_groups_can_be_named(count):
    """Thrift writes lists of up to 14 elements otherwise than longer ones."""
    grown = version([rows("b", 1)] * (count - 1), before=version([rows("a", 1)]))

    assert pq.read_metadata(BytesIO(grown)).num_row_groups == count
    assert pq.read_table(BytesIO(grown))["key"].to_pylist() == ["a"] + ["b"] * (count - 1)


def test_a_reader_with_the_old_footer_reads_the_old_rows_from_the_new_bytes():
    versions = [version([rows("a", 50), rows("b", 7)])]
    versions.append(version([rows("c", 30)], before=versions[-1]))
    versions.append(version([rows("d", 90)], before=versions[-1], dropped=(1,)))
    versions.append(version([rows("e", 9)], before=versions[-1], dropped=(0, 1)))

    for old, new in pairwise(versions):
        footer = pq.read_metadata(BytesIO(old))
        torn = pq.ParquetFile(pa.BufferReader(new), metadata=footer)
        assert torn.read().equals(pq.read_table(BytesIO(old)))
        ends_at = read_footer(pa.BufferReader(old)).starts_at
        assert new[:ends_at] == old[:ends_at]


def test_duckdb_finds_rows_by_statistics_and_bloom_filters(tmp_path):
    grown = version([rows(key, 100) for key in "dbf"], before=version([rows(key, 100) for key in "aec"]), dropped=(1,))
    path = tmp_path / "grown.parquet"
    path.write_bytes(grown)

    found = duckdb.sql(f"select key, count(*), count(n), sum(len(tags)) from '{path}' group by key order by key")
    assert found.fetchall() == [(key, 100, 66, 150) for key in "abcdf"]
    assert duckdb.sql(f"select count(*) from '{path}' where key = 'b'").fetchall() == [(100,)]
    assert duckdb.sql(f"select count(*) from '{path}' where key = 'e'").fetchall() == [(0,)]
