"""Sound in blocks: decodes any file to float samples at one rate, and encodes blocks to a file.

Memory does not grow with the length. The timeline is that of the waveforms that engines see (`speech.decoding`): time
that is lost in the middle of a damaged file is silence, so that the times of words are times of these samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from speech.containers import opened
from speech.frames import ClockJump, Gap, Tally, unbroken

RATE_HZ = 48_000
_LAYOUTS = {1: "mono", 2: "stereo"}
_FORMATS = {"aac": "fltp", "flac": "s16"}


def read_blocks(source: Path, *, rate_hz: int = RATE_HZ, channels: int = 2) -> Iterator[np.ndarray]:
    """The sound of a file as float32 blocks of shape (channels, n), each of its own n.

    Raises NotAudio and Undecodable.
    """
    from av.audio.resampler import AudioResampler

    clock_jumps = _clock_jumps(source)
    with opened(source) as (container, stream):
        resampler = AudioResampler(format="fltp", layout=_LAYOUTS[channels], rate=rate_hz)
        for item in unbroken(source, container, stream, Tally(), clock_jumps=clock_jumps):
            if isinstance(item, Gap):
                yield np.zeros((channels, round(item.seconds * rate_hz)), np.float32)
                continue
            item.pts = None  # the timeline is ours: counted in samples
            for frame in resampler.resample(item):
                yield frame.to_ndarray()
        for frame in resampler.resample(None):
            yield frame.to_ndarray()


def even_blocks(blocks: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same samples in blocks of `size`; the last one may be shorter."""
    waiting: list[np.ndarray] = []
    n_waiting = 0
    for block in blocks:
        waiting.append(block)
        n_waiting += block.shape[1]
        if n_waiting >= size:
            joined = np.concatenate(waiting, axis=1)
            whole = n_waiting // size * size
            for start in range(0, whole, size):
                yield joined[:, start : start + size]
            waiting, n_waiting = [joined[:, whole:]], n_waiting - whole
    if n_waiting:
        yield np.concatenate(waiting, axis=1)


def write_blocks(target: Path, blocks: Iterable[np.ndarray], *, codec: str, bit_rate: int | None = None) -> int:
    """Encode float32 blocks of shape (channels, n) at 48 kHz as `aac` or `flac`, by the ending of the name.

    The file appears whole or not at all. Returns the samples per channel.
    """
    part = target.with_name(f".{uuid4().hex[:8]}.{target.name}")
    try:
        n_samples = _encoded(part, blocks, codec, bit_rate)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return n_samples


def _encoded(target: Path, blocks: Iterable[np.ndarray], codec: str, bit_rate: int | None) -> int:
    import av

    at = 0
    with av.open(str(target), "w") as container:
        stream: Any = None
        for block in blocks:
            if stream is None:
                stream = container.add_stream(codec, rate=RATE_HZ, layout=_LAYOUTS[block.shape[0]])
                if bit_rate:
                    stream.bit_rate = bit_rate
            samples: Any = np.ascontiguousarray(np.clip(block, -1, 1), np.float32)
            if _FORMATS[codec] == "s16":
                samples = np.round(samples * 32_767).astype(np.int16).T.reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(samples, format=_FORMATS[codec], layout=_LAYOUTS[block.shape[0]])
            frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, at, Fraction(1, RATE_HZ)
            at += block.shape[1]
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode(None))
    return at


def _clock_jumps(source: Path) -> bool:
    """Whether the time stamps of the file cannot be trusted. It is known at the jump only, so all is decoded."""
    with opened(source) as (container, stream):
        try:
            for _ in unbroken(source, container, stream, Tally(), clock_jumps=False):
                pass
        except ClockJump:
            return True
    return False
