"""WebDataset: tar shards with an audio file and a JSON file for each utterance."""

from __future__ import annotations

from collections.abc import Iterable

from resources.exports.clips import Clips, each_clip
from resources.exports.folder import Shard
from resources.exports.formats.tar_file import add, tar_file
from resources.exports.rows import json_line

DATA_FILES = "{split}-*.tar"
USAGE = """
```python
import webdataset

data = webdataset.WebDataset("train-{000000..000000}.tar", shardshuffle=False)
for sample in data: sample["__key__"], sample["flac"], sample["json"]  # bytes; add .decode() for Python values
```
"""


def write(shard: Shard, clips: Iterable[Clips]) -> None:
    with shard.file(f"{shard.split}-{shard.index:06d}.tar") as stream, tar_file(stream) as tar:
        for row, audio in each_clip(clips):
            add(tar, f"{row['id']}.{shard.codec}", audio)
            add(tar, f"{row['id']}.json", json_line(row).encode())
