"""NVIDIA NeMo: a manifest for each split, and audio files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from resources.exports.clips import Clips, audio_path, each_clip
from resources.exports.folder import Shard
from resources.exports.rows import json_line

DATA_FILES = None
USAGE = """
```yaml
model:
  train_ds:
    manifest_filepath: train_manifest.json  # paths in it are relative to its folder
    sample_rate: 16000
```
"""


def write(shard: Shard, clips: Iterable[Clips]) -> None:
    with shard.lines(f"{shard.split}_manifest.json") as lines:
        for row, audio in each_clip(clips):
            path = audio_path(shard.split, row, shard.codec)
            with shard.file(path, durable=False) as stream:
                stream.write(audio)
            lines.write(json_line(entry(row, path)).encode())


def entry(row: dict[str, Any], audio_filepath: str) -> dict[str, Any]:
    """A line of a manifest: NeMo's fields, then ours."""
    own = {"audio_filepath": audio_filepath, "duration": row["duration_ms"] / 1000, "text": row["text"],
           "lang": row["language"], "speaker": row["speaker"]}  # fmt: skip
    return own | {
        name: value for name, value in row.items() if name not in ("text", "language", "speaker", "duration_ms")
    }
