"""The picture of who speaks when: its size, its lanes, its colours."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image, ImageColor

from speech.timeline import (
    BAR_PX,
    BORDER,
    CARD,
    LABELS_PX,
    LANE_PX,
    MARGIN_PX,
    PALETTE,
    RIGHT_PX,
    TRACK,
    WIDTH_PX,
    timeline_png,
)
from speech.types import Segment

HOUR_MS = 3_600_000


def picture(segments: list[Segment], duration_ms: int) -> Image.Image:
    return Image.open(io.BytesIO(timeline_png(segments, duration_ms))).convert("RGB")


def colour_at(image: Image.Image, lane: int, share: float) -> tuple[int, ...]:
    """The colour in the middle of a lane at a share of the time axis."""
    x_px = LABELS_PX + share * (WIDTH_PX - RIGHT_PX - LABELS_PX)
    return image.getpixel((round(x_px), round(MARGIN_PX + LANE_PX * (lane + 0.5))))


def near(colour: tuple[int, ...], name: str) -> bool:
    """The palette of the file may move a colour by a little."""
    return max(abs(a - b) for a, b in zip(colour, ImageColor.getrgb(name), strict=False)) <= 4


def test_each_speaker_has_a_lane_in_order_of_appearance():
    image = picture([Segment("B", 5_000, 10_000), Segment("A", 0, 5_000)], 10_000)
    assert near(colour_at(image, 0, 0.25), PALETTE[0])
    assert near(colour_at(image, 0, 0.75), TRACK)
    assert near(colour_at(image, 1, 0.25), TRACK)
    assert near(colour_at(image, 1, 0.75), PALETTE[1])


def test_the_card_is_light_and_has_a_border():
    image = picture([], 30_000)
    assert near(image.getpixel((WIDTH_PX // 2, 5)), CARD)
    assert all(near(image.getpixel(at), BORDER) for at in [(0, 0), (WIDTH_PX - 1, image.height - 1)])


def test_a_dense_pixel_is_shaded_by_how_much_of_it_is_speech():
    segments = [Segment("A", at_ms, at_ms + 1_000) for at_ms in range(0, 5 * HOUR_MS, 2_000)]
    red, _, _ = colour_at(picture(segments, 5 * HOUR_MS), 0, 0.5)
    full, empty = ImageColor.getrgb(PALETTE[0])[0], ImageColor.getrgb(TRACK)[0]
    assert full <= red < empty


def test_a_segment_beyond_the_end_is_clipped():
    image = picture([Segment("A", 0, 90_000)], 10_000)
    assert image.getpixel((WIDTH_PX - RIGHT_PX // 2, MARGIN_PX + LANE_PX // 2)) == image.getpixel((WIDTH_PX // 2, 5))


@pytest.mark.parametrize(
    ("n_speakers", "duration_ms"),
    [(0, 0), (0, 30_000), (1, 999), (2, 186_000), (8, HOUR_MS), (4, 3 * HOUR_MS), (24, HOUR_MS)],
)
def test_it_is_a_small_png_with_a_lane_per_speaker(n_speakers, duration_ms):
    step_ms = max(duration_ms // 700, 1)
    segments = [
        Segment(f"speaker_{i % n_speakers}", i * step_ms, i * step_ms + step_ms // 2)
        for i in range(700 if n_speakers else 0)
    ]
    png = timeline_png(segments, duration_ms)
    width_px, height_px = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG")
    assert len(png) <= 20_000
    assert (width_px, height_px) == (WIDTH_PX, MARGIN_PX + LANE_PX * max(n_speakers, 1) + 22 + MARGIN_PX // 2)
    assert BAR_PX < LANE_PX


def test_the_same_segments_make_the_same_bytes():
    segments = [
        Segment("MÉO069", 0, 400),
        Segment("说话人", 300, 900),
        Segment("a name that is far too long", 900, 901),
    ]
    assert timeline_png(segments, 1_000) == timeline_png(segments, 1_000)
