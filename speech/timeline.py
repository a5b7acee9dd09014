"""Draws who speaks when: a picture with a lane per speaker, small enough for a run's metadata.

It is drawn larger and scaled down: edges are smooth, and where hundreds of segments share a pixel, its shade shows the
share of speech. The background is light and has a border, so that it is readable on a dark page.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING
from unicodedata import normalize

from speech.types import Segment, Span

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

WIDTH_PX = 900
LANE_PX = 24
BAR_PX = 14

MARGIN_PX = 18
LABELS_PX = 168
RIGHT_PX = 36
AXIS_PX = 22
FONT_PX = 13
SCALE = 3
"""Drawn this many times larger than it is shown."""

CARD, BORDER, TRACK, INK, FAINT = "#fbfbfd", "#ced3dc", "#ebedf2", "#2f3542", "#7b8494"
PALETTE = ("#4e79a7", "#e08a3c", "#5a9e6f", "#b8566b", "#8671ad", "#3f9ca3", "#c2a139", "#8c6d5a", "#6f7d92", "#cc7fae")
"""Colours that differ in lightness and hue; more speakers use them again from the start."""

TICKS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 28_800)
MAX_TICKS = 10


def timeline_png(segments: Sequence[Segment], duration_ms: int) -> bytes:
    """A PNG, 900 px wide: per speaker a name, the share of all talk, and the spans of speech.

    Lanes are in the order in which the speakers begin. Segments beyond `duration_ms` are clipped.
    """
    from PIL import Image, ImageDraw

    talk_ms = Counter[str]()
    for segment in sorted(segments, key=lambda s: s.start_ms):
        talk_ms[segment.speaker] += segment.end_ms - segment.start_ms
    axis_top_px = MARGIN_PX + LANE_PX * max(len(talk_ms), 1)
    height_px = axis_top_px + AXIS_PX + MARGIN_PX // 2
    image = Image.new("RGB", (WIDTH_PX * SCALE, height_px * SCALE), CARD)
    draw = ImageDraw.Draw(image)
    draw.rectangle(_box(0, 0, WIDTH_PX, height_px), outline=BORDER, width=SCALE)
    _draw_axis(draw, axis_top_px, duration_ms)
    if not talk_ms:
        _bar(draw, 0, Span(0, duration_ms), duration_ms, TRACK)
        _text(draw, (MARGIN_PX, MARGIN_PX + LANE_PX / 2), "no speech", FAINT, "lm")
    for lane, (speaker, speaker_ms) in enumerate(talk_ms.items()):
        middle_px = MARGIN_PX + LANE_PX * (lane + 0.5)
        _text(draw, (MARGIN_PX, middle_px), _shortened(speaker), INK, "lm")
        _text(draw, (LABELS_PX - 12, middle_px), _percent(speaker_ms, talk_ms.total()), FAINT, "rm")
        _bar(draw, lane, Span(0, duration_ms), duration_ms, TRACK)
        for segment in segments:
            if segment.speaker == speaker:
                _bar(draw, lane, segment, duration_ms, PALETTE[lane % len(PALETTE)])
    return _png(image)


def _draw_axis(draw: ImageDraw.ImageDraw, top_px: float, duration_ms: int) -> None:
    """A tick with its time every so many seconds, and a hair line through the lanes."""
    step_ms = next((s * 1_000 for s in TICKS_S if s * 1_000 * MAX_TICKS >= duration_ms), TICKS_S[-1] * 1_000)
    for at_ms in range(0, duration_ms + 1, step_ms):
        x_px = _x_px(at_ms, duration_ms)
        draw.rectangle(_box(x_px, MARGIN_PX - 4, x_px + 1 / SCALE, top_px + 4), BORDER)
        _text(draw, (x_px, top_px + 7), _clock(at_ms, duration_ms), FAINT, "mt")


def _bar(draw: ImageDraw.ImageDraw, lane: int, span: Span | Segment, duration_ms: int, colour: str) -> None:
    top_px = MARGIN_PX + LANE_PX * lane + (LANE_PX - BAR_PX) / 2
    left_px, right_px = _x_px(span.start_ms, duration_ms), _x_px(span.end_ms, duration_ms)
    draw.rectangle(_box(left_px, top_px, right_px, top_px + BAR_PX), colour)


def _x_px(at_ms: int, duration_ms: int) -> float:
    share = min(max(at_ms / duration_ms, 0.0), 1.0) if duration_ms else 0.0
    return LABELS_PX + share * (WIDTH_PX - RIGHT_PX - LABELS_PX)


def _box(left_px: float, top_px: float, right_px: float, bottom_px: float) -> tuple[int, int, int, int]:
    """Shown pixels as drawn ones, inclusive as the drawing library has it; at least one wide."""
    left, top, right, bottom = (round(px * SCALE) for px in (left_px, top_px, right_px, bottom_px))
    return left, top, max(right - 1, left), max(bottom - 1, top)


def _text(draw: ImageDraw.ImageDraw, at_px: tuple[float, float], text: str, colour: str, anchor: str) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(FONT_PX * SCALE)
    draw.text((at_px[0] * SCALE, at_px[1] * SCALE), text, colour, font, anchor)


def _shortened(name: str) -> str:
    """At most 14 characters, of those that the drawing library's own font has."""
    plain = normalize("NFKD", name).encode("ascii", "ignore").decode() or "?"
    return plain if len(plain) <= 14 else f"{plain[:13]}…"


def _percent(part_ms: int, whole_ms: int) -> str:
    return "< 1%" if 100 * part_ms < whole_ms else f"{part_ms / max(whole_ms, 1):.0%}"


def _clock(at_ms: int, duration_ms: int) -> str:
    """`mm:ss`, with hours where the recording has them."""
    minutes, seconds = divmod(at_ms // 1_000, 60)
    return (
        f"{minutes // 60}:{minutes % 60:02}:{seconds:02}" if duration_ms >= 3_600_000 else f"{minutes:02}:{seconds:02}"
    )


def _png(image: Image.Image) -> bytes:
    """Scaled down, and at 256 colours: a quarter of the bytes."""
    buffer = io.BytesIO()
    image.reduce(SCALE).quantize(256).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
