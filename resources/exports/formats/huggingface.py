"""Hugging Face `datasets`: Parquet files and a card. The folder can be uploaded to the hub as it is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

import pyarrow as pa

from resources.exports.clips import Clips
from resources.exports.folder import Shard
from resources.exports.formats.parquet import shard_name, write_shard
from resources.exports.rows import ROWS
from speech.types import SAMPLE_RATE_HZ

DATA_FILES = "data/{split}-*.parquet"
USAGE = """
```python
from datasets import load_dataset

data = load_dataset("path/to/this/folder")           # or the name of the repository
data["train"][0]["audio"], data["train"][0]["text"]  # decoding audio needs the package torchcodec
```
"""
AUDIO = pa.field("audio", pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())]))
_TYPES = {pa.bool_(): "bool", pa.string(): "string", pa.int32(): "int32", pa.float32(): "float32"}
FEATURES = {
    "audio": {"sampling_rate": SAMPLE_RATE_HZ, "_type": "Audio"},
    **{field.name: {"dtype": _TYPES[field.type], "_type": "Value"} for field in ROWS},
}
SCHEMA = pa.schema([AUDIO, *ROWS], metadata={"huggingface": json.dumps({"info": {"features": FEATURES}})})
"""`datasets` finds its features in the metadata."""


def write(shard: Shard, clips: Iterable[Clips]) -> None:
    write_shard(shard, f"data/{shard_name(shard)}", SCHEMA, _with_audio(clips, shard.codec))


def _with_audio(clips: Iterable[Clips], codec: str) -> Iterator[pa.Table]:
    for some in clips:
        paths = pa.array([f"{name}.{codec}" for name in some.rows["id"].to_pylist()], pa.string())
        audio = pa.StructArray.from_arrays([pa.array(some.audio, pa.binary()), paths], fields=list(AUDIO.type))
        yield some.rows.add_column(0, AUDIO, audio)
