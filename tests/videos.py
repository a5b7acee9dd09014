"""Small videos for tests: a picture that moves, and the given sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE_HZ = 48_000
FRAMES_PER_S = 10


def tone(seconds: float, level: float = 0.1, hz: float = 440.0) -> np.ndarray:
    """Mono float samples at 48 kHz."""
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (level * np.sin(2 * np.pi * hz * at)).astype(np.float32)


def write_video(
    path: Path, samples: np.ndarray, *, video: str | None = "libx264", audio: str | None = "aac",
    size: tuple[int, int] = (160, 90), sound_begins_s: float = 0.0,
) -> Path:  # fmt: skip
    """A file with a grey picture that gets lighter, as long as the samples. The sound may begin after the picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as target:
        sound = target.add_stream(audio, rate=RATE_HZ, layout="mono") if audio else None
        if video:
            picture = target.add_stream(video, rate=FRAMES_PER_S)
            picture.width, picture.height, picture.pix_fmt = *size, "yuv420p"
            n_frames = round(len(samples) / RATE_HZ * FRAMES_PER_S)
            for number in range(n_frames):
                grey = np.full((size[1], size[0], 3), 60 + 120 * number // n_frames, np.uint8)
                target.mux(picture.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            target.mux(picture.encode(None))
        if sound is not None:
            for start in range(0, len(samples), 4_800):
                frame = av.AudioFrame.from_ndarray(samples[start : start + 4_800].reshape(1, -1), "fltp", "mono")
                pts = start + round(sound_begins_s * RATE_HZ)
                frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, pts, Fraction(1, RATE_HZ)
                target.mux(sound.encode(frame))
            target.mux(sound.encode(None))
    return path
