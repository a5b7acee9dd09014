"""NVIDIA NeMo, tarred: a folder for each split with tar shards and their manifest."""

from __future__ import annotations

from collections.abc import Iterable

from resources.exports.clips import Clips, each_clip
from resources.exports.folder import Shard
from resources.exports.formats.nemo import entry
from resources.exports.formats.tar_file import add, tar_file
from resources.exports.rows import json_line

DATA_FILES = None
USAGE = """
```yaml
model:
  train_ds:
    is_tarred: true
    tarred_audio_filepaths: train/audio__OP_0..0_CL_.tar  # the last number is that of the last shard
    manifest_filepath: train/tarred_audio_manifest.json
    sample_rate: 16000
```
"""


def write(shard: Shard, clips: Iterable[Clips]) -> None:
    with (
        shard.lines(f"{shard.split}/tarred_audio_manifest.json") as lines,
        shard.file(f"{shard.split}/audio_{shard.index}.tar") as stream,
        tar_file(stream) as tar,
    ):
        for row, audio in each_clip(clips):
            name = f"{row['id']}.{shard.codec}"
            add(tar, name, audio)
            lines.write(json_line(entry(row, name) | {"shard_id": shard.index}).encode())
