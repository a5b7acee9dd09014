"""What an audiogram shows: the words of a stretch of audio with their speakers, a cover, a title; and where on the frame.

Times are milliseconds from the start of the stretch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Shape = Literal["square", "vertical", "wide"]
SIZES: Mapping[Shape, tuple[int, int]] = {"square": (1080, 1080), "vertical": (1080, 1920), "wide": (1920, 1080)}
"""Width and height in pixels, as the usual networks take them."""
PALETTE = ("#7fb2ff", "#ffb86b", "#8fe0a4", "#ff9db0", "#c9b3ff", "#7fe0e6", "#f2d96b", "#e0b79b", "#b9c4d0", "#f5b0dc")
"""Colours of speakers, light on a dark ground."""


@dataclass(frozen=True, slots=True)
class ShownWord:
    """A word of the captions."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class ShownTurn:
    """Consecutive words of one speaker."""

    speaker: str
    """The name to show; empty: none."""
    colour: str
    words: tuple[ShownWord, ...]


@dataclass(frozen=True, slots=True)
class Card:
    """Everything that is drawn, apart from the waveform."""

    title: str
    show: str
    """The name of the podcast, under the title."""
    duration_ms: int
    turns: tuple[ShownTurn, ...]
    cover: bytes | None = None
    """An image file; None: a cover is drawn."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All texts that are drawn."""
        words = (word.text for turn in self.turns for word in turn.words)
        return (self.title, self.show, *(turn.speaker for turn in self.turns), *words)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels, with even sides: a chroma sample of the video covers two by two of them."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the parts are."""

    width: int
    height: int
    cover: Box
    title: Box
    captions: Box
    """The speaker's name above the lines."""
    waveform: Box
    progress: Box
    unit: int
    """A hundredth of the shorter side, which sizes of fonts are multiples of."""
    lines: int
    """Lines of captions at once."""


def layout_of(shape: Shape, size: tuple[int, int] | None = None) -> Layout:
    """The layout of a shape; of another size with its proportions, for previews."""
    width, height = size or SIZES[shape]
    boxes = _BOXES[shape]
    cover, title, captions, waveform, progress = (
        Box(*(_even(part * whole) for part, whole in zip(box, (width, height) * 2, strict=True))) for box in boxes
    )
    side = min(cover.width, cover.height)
    cover = Box(cover.left + _even((cover.width - side) / 2), cover.top, side, side)
    return Layout(
        width, height, cover, title, captions, waveform, progress, max(1, min(width, height) // 100),
        lines=4 if shape == "vertical" else 3,
    )  # fmt: skip


def _even(pixels: float) -> int:
    return 2 * round(pixels / 2)


_BOXES: Mapping[Shape, tuple[tuple[float, float, float, float], ...]] = {
    "square": (
        (0.06, 0.06, 0.24, 0.24),
        (0.34, 0.06, 0.60, 0.24),
        (0.06, 0.345, 0.88, 0.40),
        (0.06, 0.77, 0.88, 0.14),
        (0.06, 0.935, 0.88, 0.012),
    ),
    "vertical": (
        (0.20, 0.07, 0.60, 0.3375),
        (0.07, 0.425, 0.86, 0.10),
        (0.07, 0.545, 0.86, 0.255),
        (0.07, 0.815, 0.86, 0.09),
        (0.07, 0.925, 0.86, 0.006),
    ),
    "wide": (
        (0.04, 0.09, 0.34, 0.604),
        (0.42, 0.09, 0.54, 0.20),
        (0.42, 0.31, 0.54, 0.40),
        (0.04, 0.745, 0.92, 0.15),
        (0.04, 0.925, 0.92, 0.012),
    ),
}
"""Left, top, width and height of the cover, the title, the captions, the waveform and the progress, as shares of the frame."""
