"""Writes the video. A frame is the frame before it with what has changed drawn on its planes: bars, progress, captions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from speech.audiogram.captions import Page, pages_of
from speech.audiogram.card import Box, Card, Layout
from speech.audiogram.drawing import caption_image, ground, measured
from speech.audiogram.waveform import Bars, bar_levels
from speech.errors import EngineUnavailable
from speech.stretches import CHANNELS, RATE_HZ

FRAMES_PER_S = 20
AUDIO_BIT_RATE = 128_000
_HIDDEN_AFTER_MS = 1_500
"""Captions stay so long after their last word."""
_BAR, _SPOKEN_BAR = (102, 118, 148), (140, 184, 255)
_ENCODERS: tuple[tuple[str, dict[str, str]], ...] = (
    ("libx264", {"preset": "veryfast", "crf": "21", "tune": "stillimage"}),
    ("h264_videotoolbox", {"b:v": "4M"}),
    ("libopenh264", {"b:v": "4M"}),
    ("mpeg4", {"qscale": "3"}),
)
"""Encoders and their options, the first choice first. The last one is in every FFmpeg; browsers do not play it."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What was written."""

    codec: str
    """`h264`, or `mpeg4` where this FFmpeg has no encoder of H.264."""
    width: int
    height: int
    frames: int
    duration_ms: int


def write_audiogram(path: Path, card: Card, layout: Layout, samples: np.ndarray) -> Encoded:
    """Write the MP4 file. `samples` is float32 stereo at 48 kHz, shape (n, 2), as long as the card.

    Raises `EngineUnavailable` if this FFmpeg has no video encoder.
    """
    name, options = _encoder()
    frames = -(-card.duration_ms * FRAMES_PER_S // 1000)
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as target:
        video: Any = target.add_stream(name, rate=FRAMES_PER_S, options=options)
        video.width, video.height, video.pix_fmt = layout.width, layout.height, "yuv420p"
        video.codec_context.time_base = Fraction(1, FRAMES_PER_S)
        video.codec_context.thread_count = 2
        video.codec_context.thread_type = "FRAME"  # a frame is encoded while the next one is drawn
        audio: Any = target.add_stream("aac", rate=RATE_HZ, layout="stereo", bit_rate=AUDIO_BIT_RATE)
        target.metadata.update({"title": card.title, "album": card.show})
        sound = _Sound(samples)
        for number, planes in enumerate(_planes(card, layout, samples)):
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_S)
            target.mux(video.encode(frame))
            for part in sound.until((number + 1) * RATE_HZ // FRAMES_PER_S):
                target.mux(audio.encode(part))
        target.mux(video.encode(None))
        for part in sound.until(len(samples)):
            target.mux(audio.encode(part))
        target.mux(audio.encode(None))
    return Encoded(video.codec_context.codec.canonical_name, layout.width, layout.height, frames, card.duration_ms)


def frame_at(card: Card, layout: Layout, samples: np.ndarray, at_ms: int) -> Image.Image:
    """The picture of one moment, as the video has it."""
    wanted = at_ms * FRAMES_PER_S // 1000
    for number, planes in enumerate(_planes(card, layout, samples)):
        if number == wanted:
            image: Image.Image = av.VideoFrame.from_ndarray(planes, format="yuv420p").to_image()
            return image
    raise ValueError(f"The audiogram ends before {at_ms} ms.")


def _planes(card: Card, layout: Layout, samples: np.ndarray) -> Iterator[np.ndarray]:
    """The frames as planes Y, U and V under each other, uint8, shape (1.5 × height, width): one array, changed in place."""
    still = _as_planes(ground(card, layout))
    canvas = _Canvas(still)
    bars = Bars(bar_levels(samples, RATE_HZ), layout.waveform)
    pages = pages_of(card.turns, layout.captions.width, layout.lines, partial(measured, layout))
    begins_ms = [page.start_ms for page in pages]
    shown: tuple[int, int] | None = None
    for number in range(-(-card.duration_ms * FRAMES_PER_S // 1000)):
        at_ms = 1000 * number / FRAMES_PER_S
        canvas.draw_bars(layout.waveform, *bars.coverage(at_ms))
        canvas.draw_progress(layout.progress, at_ms / max(1, card.duration_ms))
        index = _page_at(pages, begins_ms, at_ms)
        page = pages[index] if index is not None else None
        now = (-1, 0) if page is None or index is None else (index, page.spoken_at(int(at_ms)))
        if now != shown:
            shown = now
            canvas.paste(_as_planes(caption_image(page, now[1], layout)), layout.captions)
        yield canvas.planes


def _page_at(pages: list[Page], begins_ms: list[int], at_ms: float) -> int | None:
    """The page that is shown: the last one that has begun, for a while after its last word."""
    index = bisect_right(begins_ms, at_ms) - 1
    return None if index < 0 or at_ms > pages[index].end_ms + _HIDDEN_AFTER_MS else index


class _Canvas:
    """The planes of the frame that is being made, and of the ground under it."""

    def __init__(self, still: np.ndarray) -> None:
        self.planes = still.copy()
        self._still = [plane.astype(np.float32) for plane in _split(still)]
        self._parts = _split(self.planes)

    def paste(self, planes: np.ndarray, box: Box) -> None:
        for target, source, scale in zip(self._parts, _split(planes), (1, 2, 2), strict=True):
            target[_area(box, scale)] = source

    def draw_bars(self, box: Box, covered: np.ndarray, is_past: np.ndarray) -> None:
        shared = (covered[::2, ::2] + covered[1::2, ::2] + covered[::2, 1::2] + covered[1::2, 1::2]) / 4
        past = (is_past, is_past[::2], is_past[::2])
        colours = zip(_yuv(_BAR), _yuv(_SPOKEN_BAR), strict=True)
        parts = zip(self._parts, self._still, (covered, shared, shared), past, colours, (1, 2, 2), strict=True)
        for target, still, share, spoken, (ahead, behind), scale in parts:
            under = still[_area(box, scale)]
            colour = np.where(spoken, np.float32(behind), np.float32(ahead))[None, :]
            target[_area(box, scale)] = (under + share * (colour - under) + 0.5).astype(np.uint8)

    def draw_progress(self, box: Box, share: float) -> None:
        done = Box(box.left, box.top, min(box.width, 2 * round(share * box.width / 2)), box.height)
        for target, value, scale in zip(self._parts, _yuv(_SPOKEN_BAR), (1, 2, 2), strict=True):
            target[_area(done, scale)] = value


class _Sound:
    """The samples as frames of a thousand or so."""

    def __init__(self, samples: np.ndarray) -> None:
        self._samples, self._at = samples, 0

    def until(self, end: int) -> Iterator[av.AudioFrame]:
        while self._at < min(end, len(self._samples)):
            block = np.clip(self._samples[self._at : min(end, self._at + 1024)], -1, 1)
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(block).reshape(1, -1), format="flt", layout="stereo" if CHANNELS == 2 else "mono"
            )
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self._at, Fraction(1, RATE_HZ)
            self._at += len(block)
            yield frame


def _encoder() -> tuple[str, dict[str, str]]:
    for name, options in _ENCODERS:
        try:
            av.Codec(name, "w")
        except (av.codec.codec.UnknownCodecError, ValueError):
            continue
        return name, options
    raise EngineUnavailable("This FFmpeg has no video encoder. Install av from the package registry: pip install av")


def _as_planes(image: Image.Image) -> np.ndarray:
    planes: np.ndarray = av.VideoFrame.from_image(image).reformat(format="yuv420p").to_ndarray()
    return planes


def _split(planes: np.ndarray) -> list[np.ndarray]:
    """Views of Y, U and V."""
    height, width = planes.shape[0] * 2 // 3, planes.shape[1]
    chroma = planes[height:].reshape(2, height // 2, width // 2)
    return [planes[:height], chroma[0], chroma[1]]


def _area(box: Box, scale: int) -> tuple[slice, slice]:
    return slice(box.top // scale, box.bottom // scale), slice(box.left // scale, box.right // scale)


def _yuv(rgb: tuple[int, int, int]) -> tuple[float, float, float]:
    """BT.601 in the limited range, as FFmpeg converts images."""
    red, green, blue = (value / 255 for value in rgb)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return 16 + 219 * luma, 128 + 112 * (blue - luma) / 0.886, 128 + 112 * (red - luma) / 0.701
