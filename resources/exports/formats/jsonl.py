"""JSONL: a line for each utterance, and its audio as a file."""

from __future__ import annotations

from collections.abc import Iterable

from resources.exports.clips import Clips, audio_path, each_clip
from resources.exports.folder import Shard
from resources.exports.rows import json_line

DATA_FILES = "{split}.jsonl"
USAGE = """
```python
import json, soundfile

for line in open("train.jsonl"):
    row = json.loads(line)
    samples, rate_hz = soundfile.read(row["audio"])  # paths are relative to this folder
```
"""


def write(shard: Shard, clips: Iterable[Clips]) -> None:
    with shard.lines(f"{shard.split}.jsonl") as lines:
        for row, audio in each_clip(clips):
            path = audio_path(shard.split, row, shard.codec)
            with shard.file(path, durable=False) as stream:
                stream.write(audio)
            lines.write(json_line({"audio": path, **row}).encode())
