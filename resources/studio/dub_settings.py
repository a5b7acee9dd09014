"""What the settings say of dubbed videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Subtitles = Literal["muxed", "burnt", "none"]


@dataclass(frozen=True)
class DubSettings:
    """How a dubbed video is put together."""

    subtitles: Subtitles = "muxed"
    """Tracks of their own, or drawn into the picture, which is encoded again for it."""
