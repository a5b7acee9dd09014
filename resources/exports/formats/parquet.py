"""Parquet: a row for each utterance, with the bytes of its audio file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from resources.exports.clips import Clips
from resources.exports.folder import Shard
from resources.exports.rows import ROWS

DATA_FILES = "{split}-*.parquet"
USAGE = """
```python
import duckdb
duckdb.sql("select speaker, sum(duration_ms) / 3.6e6 as hours from 'train-*.parquet' group by all")

import io, pyarrow.dataset, soundfile
for batch in pyarrow.dataset.dataset("train-00000-of-00001.parquet").to_batches():
    samples, rate_hz = soundfile.read(io.BytesIO(batch["audio"][0].as_py()))
```
"""
AUDIO = pa.field("audio", pa.binary(), nullable=False, metadata={"description": "The file of the utterance."})
SCHEMA = pa.schema([AUDIO, *ROWS])
GROUP_BYTES, GROUP_ROWS = 16 << 20, 1_000
"""A row group ends at either."""


def write(shard: Shard, clips: Iterable[Clips]) -> None:
    write_shard(shard, shard_name(shard), SCHEMA, _with_audio(clips))


def shard_name(shard: Shard) -> str:
    return f"{shard.split}-{shard.index:05d}-of-{shard.count:05d}.parquet"


def write_shard(shard: Shard, path: str, schema: pa.Schema, tables: Iterable[pa.Table]) -> None:
    """Write the tables as one file with row groups of some size."""
    with (
        shard.file(path) as stream,
        # Audio is compressed already, and no two clips are equal.
        pq.ParquetWriter(
            stream, schema, compression=dict.fromkeys(ROWS.names, "zstd"), use_dictionary=_with_repeats(schema)
        ) as writer,
    ):
        for group in _groups(tables):
            writer.write_table(group.cast(schema), row_group_size=GROUP_ROWS)


def _with_audio(clips: Iterable[Clips]) -> Iterator[pa.Table]:
    for some in clips:
        yield some.rows.add_column(0, AUDIO, pa.array(some.audio, pa.binary()))


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(one.nbytes for one in waiting) >= GROUP_BYTES or sum(one.num_rows for one in waiting) >= GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def _with_repeats(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if field.type == pa.string() and field.name not in ("id", "text")]
