"""Draws subtitles into the picture, for players that show no tracks. The picture is encoded again, as H.264."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import av
import numpy as np

from speech.containers import opened
from speech.errors import BadLesson
from speech.subtitles import Cue
from speech.videos import picture_stream

if TYPE_CHECKING:
    from speech.audiogram.fonts import Font

TEXT_SHARE = 1 / 18
"""Height of a line, of the height of the picture."""
CONSTANT_QUALITY = "20"


def burn(source: Path, target: Path, cues: Sequence[Cue]) -> None:
    """Write the picture of `source`, without sound, with the cues in it. It appears whole or not at all.

    A picture that players turn is turned here. Raises `BadLesson` where there is no picture, and where no font of this
    machine has the characters.
    """
    from speech.audiogram.fonts import missing_characters

    if missing := missing_characters(line for cue in cues for line in cue.lines):
        raise BadLesson(
            f"No font of this machine has {missing[:20]}. Install one (fonts-noto-core, fonts-noto-cjk), or set "
            "PODLAKE_DUB_SUBTITLES=muxed."
        )
    part = target.with_name(f".{uuid4().hex[:8]}.{target.name}")
    try:
        with opened(source) as (container, _), av.open(str(part), "w") as written:
            picture = picture_stream(container)
            if picture is None:
                raise BadLesson(f"{source} has no picture to draw subtitles into.")
            stream: Any = written.add_stream(
                "libx264", rate=picture.average_rate or 25, options={"crf": CONSTANT_QUALITY}
            )
            stream.time_base = stream.codec_context.time_base = picture.time_base or Fraction(1, 1000)
            drawn: _Drawn | None = None
            for frame in container.decode(picture):
                if drawn is None:
                    drawn = _Drawn(cues, frame.width // 2 * 2, frame.height // 2 * 2, frame.rotation // 90 % 4)
                    stream.width, stream.height = drawn.shown_size
                    stream.pix_fmt = "yuv420p"
                shown = drawn.on(frame)
                shown.pts, shown.time_base = frame.pts, frame.time_base
                written.mux(stream.encode(shown))
            written.mux(stream.encode(None))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


class _Drawn:
    """Draws the cue of each frame; the frames are in order."""

    def __init__(self, cues: Sequence[Cue], width: int, height: int, quarter_turns: int) -> None:
        self._waiting = list(reversed(cues))
        self._size = width, height
        self._quarter_turns = quarter_turns
        """Against the clock, from the stored picture to the shown one."""
        self.shown_size = (height, width) if quarter_turns % 2 else (width, height)
        self._shown: tuple[Cue, np.ndarray, np.ndarray] | None = None
        """The cue, its colours and how opaque they are."""

    def on(self, frame: av.VideoFrame) -> av.VideoFrame:
        at_ms = 1000 * float(frame.time or 0.0)
        while self._waiting and self._waiting[-1].end_ms <= at_ms:
            self._waiting.pop()
        cue = self._waiting[-1] if self._waiting and self._waiting[-1].start_ms <= at_ms else None
        width, height = self._size
        plain = frame.reformat(width=width, height=height, format="rgb24")
        if cue is None and not self._quarter_turns:
            return plain
        pixels = np.rot90(plain.to_ndarray(), self._quarter_turns)
        if cue is None:
            return av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels, np.uint8), format="rgb24")
        if self._shown is None or self._shown[0] is not cue:
            self._shown = cue, *_text_picture(cue, *self.shown_size)
        _, colours, alpha = self._shown
        mixed = pixels * (1 - alpha) + colours * alpha
        return av.VideoFrame.from_ndarray(mixed.astype(np.uint8), format="rgb24")


def _text_picture(cue: Cue, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """White text with a black edge at the bottom: colours of shape (height, width, 3), opacity of (height, width, 1)."""
    from PIL import Image, ImageDraw

    size = max(8, round(height * TEXT_SHARE))
    picture = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    text = "\n".join(cue.lines)
    font = _fitting(draw, text, size, width)
    draw.multiline_text(
        (width / 2, height - size), text, font=font, anchor="md", align="center", fill="white",
        stroke_width=max(1, size // 10), stroke_fill="black",
    )  # fmt: skip
    pixels = np.asarray(picture, np.float32)
    return pixels[..., :3], pixels[..., 3:] / 255


def _fitting(draw: Any, text: str, size: int, width: int) -> Font:
    """The first font that has the characters, smaller where a line is wider than the picture."""
    from speech.audiogram.fonts import font_for

    while size > 8:
        font = font_for(text, size, is_bold=False)
        left, _, right, _ = draw.multiline_textbbox((0, 0), text, font=font)
        if right - left <= 0.95 * width:
            return font
        size -= 1
    return font_for(text, size, is_bold=False)
