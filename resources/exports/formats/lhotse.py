"""Lhotse CutSet: a manifest of cuts for each split, and audio files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from resources.exports.clips import Clips, audio_path, each_clip
from resources.exports.folder import Shard
from resources.exports.rows import json_line
from speech.types import SAMPLE_RATE_HZ

DATA_FILES = None
USAGE = """
```python
from lhotse import CutSet

cuts = CutSet.from_file("cuts_train.jsonl").with_recording_path_prefix("path/to/this/folder")
```
"""
_IN_SUPERVISION = ("text", "language", "speaker")


def write(shard: Shard, clips: Iterable[Clips]) -> None:
    with shard.lines(f"cuts_{shard.split}.jsonl") as lines:
        for row, audio in each_clip(clips):
            path = audio_path(shard.split, row, shard.codec)
            with shard.file(path, durable=False) as stream:
                stream.write(audio)
            lines.write(json_line(cut(row, recording(row, "file", path))).encode())


def cut(row: dict[str, Any], audio: dict[str, Any]) -> dict[str, Any]:
    """A cut that is its whole recording, with one supervision."""
    span = {"start": 0.0, "duration": row["duration_ms"] / 1000, "channel": 0}
    custom = {name: value for name, value in row.items() if name not in ("id", "duration_ms", *_IN_SUPERVISION)}
    supervision = {"id": row["id"], "recording_id": row["id"], **span, **{name: row[name] for name in _IN_SUPERVISION}}
    return {"id": row["id"], **span, "supervisions": [{**supervision, "custom": custom}],
            "recording": audio, "type": "MonoCut"}  # fmt: skip


def recording(row: dict[str, Any], kind: str, source: str) -> dict[str, Any]:
    """The recording of an utterance."""
    n_samples = row["duration_ms"] * SAMPLE_RATE_HZ // 1000
    return {"id": row["id"], "sources": [{"type": kind, "channels": [0], "source": source}],
            "sampling_rate": SAMPLE_RATE_HZ, "num_samples": n_samples, "duration": row["duration_ms"] / 1000,
            "channel_ids": [0]}  # fmt: skip
