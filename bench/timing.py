"""Stages of work with the audio and the time that they took, and their table."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """One stage on one amount of audio."""

    stage: str
    audio_s: float
    wall_s: float

    @property
    def rtfx(self) -> float:
        """Seconds of audio per second."""
        return self.audio_s / self.wall_s


def table(rows: Sequence[Measured]) -> str:
    """A line per stage, with its rate as a multiple of the slowest one's."""
    slowest = min(row.rtfx for row in rows)
    lines = [f"{'stage':<36}{'audio s':>9}{'wall s':>9}{'x real time':>13}{'x slowest':>11}"]
    lines += [
        f"{row.stage:<36}{row.audio_s:>9.0f}{row.wall_s:>9.2f}{row.rtfx:>13.1f}{row.rtfx / slowest:>11.2f}"
        for row in rows
    ]
    return "\n".join(lines)


def measured(stage: str, audio_s: float, work: Callable[[], object]) -> Measured:
    """The wall time of `work`; it has to do the work, not promise it."""
    began = time.perf_counter()
    work()
    return Measured(stage, audio_s, time.perf_counter() - began)
