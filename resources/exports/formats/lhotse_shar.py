"""Lhotse Shar: a folder for each split with shards of cuts, and of their recordings in tar files."""

from __future__ import annotations

import gzip
from collections.abc import Iterable

from resources.exports.clips import Clips, each_clip
from resources.exports.folder import Shard
from resources.exports.formats.lhotse import cut, recording
from resources.exports.formats.tar_file import add, tar_file
from resources.exports.rows import json_line

DATA_FILES = None
USAGE = """
```python
from lhotse import CutSet

cuts = CutSet.from_shar(in_dir="train")
```
"""


def write(shard: Shard, clips: Iterable[Clips]) -> None:
    number = f"{shard.index:06d}"
    with (
        shard.file(f"{shard.split}/cuts.{number}.jsonl.gz") as cuts,
        gzip.GzipFile(filename="", fileobj=cuts, mode="wb", mtime=0) as lines,
        shard.file(f"{shard.split}/recording.{number}.tar") as stream,
        tar_file(stream) as tar,
    ):
        for row, audio in each_clip(clips):
            placeholder = recording(row, "shar", "")
            add(tar, f"{row['id']}.{shard.codec}", audio)
            add(tar, f"{row['id']}.json", json_line(placeholder).encode())
            lines.write(json_line(cut(row, placeholder)).encode())
