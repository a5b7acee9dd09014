"""A Parquet file that only ever grows, so that replacing it never tears a reader.

A reader opens a file by its name more than once: for the footer, and again for the pages (DuckDB once per
thread). Were the file replaced in between by one that is laid out anew, it would look for pages where other
bytes lie now. So each version begins with the bytes of the one before: whoever has read the old footer finds
every page where it was. Row groups that are dropped keep their bytes, but the new footer does not name them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

_MAGIC = b"PAR1"
_BLOCK_BYTES = 8 << 20


def write_version(
    sink: BinaryIO,
    schema: pa.Schema,
    row_groups: Iterable[pa.Table],
    *,
    before: pa.NativeFile | None = None,
    dropped: Collection[int] = (),
    bloom: Mapping[str, Mapping[str, float]] | None = None,
) -> int:
    """Write the file's next version: `before` without the dropped row groups, then each table as a row group.

    The schema must be that of `before`. Returns the rows written anew.
    """
    old = read_footer(before) if before else None
    out = pa.PythonFile(sink, "w")
    collected: list[pq.FileMetaData] = []
    writer = pq.ParquetWriter(
        out,
        schema,
        compression="zstd",
        metadata_collector=collected,
        bloom_filter_options={name: dict(options) for name, options in bloom.items()} if bloom else None,
    )
    if before and old:
        # The writer has just written the four bytes that `before` begins with too; it asks the sink where it is.
        _copy(before, len(_MAGIC), old.starts_at, out)
    for table in row_groups:
        if table.num_rows:
            writer.write_table(table, row_group_size=table.num_rows)
    writer.close()
    if old:
        kept = [group for index, group in enumerate(old.row_groups) if index not in dropped]
        out.write(old.naming([*kept, *Footer.of(_serialized(collected[0])).row_groups]))
    out.flush()
    return collected[0].num_rows


@dataclass(frozen=True)
class Footer:
    """A Parquet footer taken apart, so that others of its row groups can be named. Nothing in them is touched."""

    head: bytes
    """The version and the schema, up to the number of rows."""
    row_groups: tuple[bytes, ...]
    tail: bytes
    """Whatever follows the row groups."""
    starts_at: int = 0
    """Where in the file the footer starts, and so the row groups end."""

    @classmethod
    def of(cls, raw: bytes, starts_at: int = 0) -> Footer:
        """Read the struct FileMetaData of parquet.thrift: field 3 is the number of rows, field 4 its row groups."""
        fields = dict(_fields(raw, 0))
        groups_at, groups_end = fields[4]
        count, at = _list_header(raw, groups_at)
        groups = []
        for _ in range(count):
            end = _skip(raw, at, _STRUCT)
            groups.append(raw[at:end])
            at = end
        return cls(raw[: fields[3][0]], tuple(groups), raw[groups_end:], starts_at)

    def naming(self, row_groups: Collection[bytes]) -> bytes:
        """The end of a file that holds these row groups: the footer, its length, and the magic."""
        rows = sum(_zigzag(_varint(group, dict(_fields(group, 0))[3][0])[0]) for group in row_groups)
        raw = self.head + _to_varint(rows << 1) + bytes([0x10 | _LIST, 0xF0 | _STRUCT]) + _to_varint(len(row_groups))
        raw += b"".join(row_groups) + self.tail
        return raw + len(raw).to_bytes(4, "little") + _MAGIC


def read_footer(file: pa.NativeFile) -> Footer:
    """The footer of an open Parquet file."""
    size = file.size()
    length = int.from_bytes(file.read_at(4, size - 8), "little")
    starts_at = size - 8 - length
    return Footer.of(file.read_at(length, starts_at), starts_at)


def _serialized(metadata: pq.FileMetaData) -> bytes:
    out = BytesIO()
    metadata.write_metadata_file(out)
    return out.getvalue()[len(_MAGIC) : -8]


def _copy(source: pa.NativeFile, start: int, end: int, sink: pa.NativeFile) -> None:
    while start < end:
        block = source.read_at(min(_BLOCK_BYTES, end - start), start)
        sink.write(block)
        start += len(block)


# Thrift's compact protocol, as far as one must read it to know where a value ends.
# https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md

_BINARY, _LIST, _SET, _STRUCT = 8, 9, 10, 12
_FIXED_BYTES = {1: 0, 2: 0, 3: 1, 7: 8}
"""Booleans live in the field's header; a byte; a double. Integers (4, 5, 6) are varints."""


def _fields(raw: bytes, at: int) -> Iterable[tuple[int, tuple[int, int]]]:
    """Field number → where its value starts and ends, for the struct at a position."""
    number = 0
    while raw[at]:
        delta, kind = raw[at] >> 4, raw[at] & 15
        at += 1
        if delta:
            number += delta
        else:
            coded, at = _varint(raw, at)
            number = _zigzag(coded)
        end = _skip(raw, at, kind)
        yield number, (at, end)
        at = end


def _skip(raw: bytes, at: int, kind: int) -> int:
    """Where the value at a position ends."""
    if kind in _FIXED_BYTES:
        return at + _FIXED_BYTES[kind]
    if kind == _BINARY:
        length, at = _varint(raw, at)
        return at + length
    if kind in (_LIST, _SET):
        element = raw[at] & 15
        count, at = _list_header(raw, at)
        if element <= 3:  # in a list, a boolean takes a byte
            return at + count
        for _ in range(count):
            at = _skip(raw, at, element)
        return at
    if kind == _STRUCT:
        for _, (_, end) in _fields(raw, at):
            at = end
        return at + 1
    return _varint(raw, at)[1]


def _list_header(raw: bytes, at: int) -> tuple[int, int]:
    """Number of elements, and where the first starts."""
    short = raw[at] >> 4
    return (short, at + 1) if short < 15 else _varint(raw, at + 1)


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while raw[at] & 0x80:
        value |= (raw[at] & 0x7F) << shift
        shift += 7
        at += 1
    return value | raw[at] << shift, at + 1


def _zigzag(coded: int) -> int:
    return coded >> 1 ^ -(coded & 1)


def _to_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
