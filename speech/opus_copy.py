"""The small copy of an episode's audio that pages carry, and that stays of audio that retention removes."""

from __future__ import annotations

import io
from pathlib import Path

BIT_RATE = 24_000
"""Opus at this rate is clear for speech: 11 MB an hour."""
SAMPLE_RATE_HZ = 48_000
MEDIA_TYPE = "audio/ogg"


def opus_copy(path: Path) -> bytes:
    """The audio as mono Opus in Ogg, on the same timeline. Raises av.FFmpegError for audio that cannot be decoded."""
    import av
    from av.audio.resampler import AudioResampler

    written = io.BytesIO()
    with av.open(str(path)) as source, av.open(written, "w", format="ogg") as target:
        stream = target.add_stream("libopus", rate=SAMPLE_RATE_HZ, layout="mono", bit_rate=BIT_RATE)
        resampler = AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
        for frame in source.decode(audio=0):
            frame.pts = None  # follow the samples, as podlake's own timeline does
            for part in resampler.resample(frame):
                target.mux(stream.encode(part))
        for part in resampler.resample(None):
            target.mux(stream.encode(part))
        target.mux(stream.encode(None))
    return written.getvalue()
