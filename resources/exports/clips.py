"""The utterances of a shard with their audio, as formats take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Clips:
    """Some utterances of a shard, in order."""

    rows: pa.Table
    """With the schema `ROWS`."""
    audio: tuple[bytes, ...]
    """The file of each."""


def each_clip(clips: Iterable[Clips]) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The row and the audio of each utterance."""
    for some in clips:
        yield from zip(some.rows.to_pylist(), some.audio, strict=True)


def audio_path(split: str, row: dict[str, Any], codec: str) -> str:
    """Where a format with a file for each utterance puts it."""
    return f"audio/{split}/{row['episode_id']}/{row['id']}.{codec}"
