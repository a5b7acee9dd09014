"""A stretch of an audio file as samples, on podlake's timeline: it counts decoded samples, not a file's time stamps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

import av
import numpy as np
from av.audio.frame import AudioFrame

from speech.containers import opened
from speech.errors import Undecodable
from speech.frames import ClockJump, Gap, Tally, unbroken

RATE_HZ = 48_000
CHANNELS = 2


def stretch(source: Path, start_ms: int, end_ms: int, folder: Path | None = None) -> np.ndarray:
    """The samples of `[start_ms, end_ms)`, float32 in [-1, 1], 48 kHz, stereo, shape (n, 2), filled up with silence.

    The file is decoded from its start, so that the place is exact. A minute has 23 MB: with `folder`, they are in a file
    there, which is removed with the array. Raises NotAudio and Undecodable.
    """
    n = end_ms * RATE_HZ // 1000 - start_ms * RATE_HZ // 1000
    try:
        try:
            return _stretch(source, start_ms, _room(n, folder), clock_jumps=False)
        except ClockJump:
            return _stretch(source, start_ms, _room(n, folder), clock_jumps=True)
    except av.error.FFmpegError as error:
        raise Undecodable(f"{source}: FFmpeg stops ({error}). Fetch it again, or ask the publisher.") from error


def _room(n: int, folder: Path | None) -> np.ndarray:
    """Silence of `n` samples."""
    if folder is None or not n:
        return np.zeros((n, CHANNELS), np.float32)
    with TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.float32, "w+", shape=(n, CHANNELS))


def _stretch(source: Path, start_ms: int, samples: np.ndarray, *, clock_jumps: bool) -> np.ndarray:
    """Fill the samples with what is heard from `start_ms` on."""
    first = start_ms * RATE_HZ // 1000
    last = first + len(samples)
    at = 0
    with opened(source) as (container, stream):
        for block in _blocks(unbroken(source, container, stream, Tally(), clock_jumps=clock_jumps), first):
            n = block if isinstance(block, int) else len(block)
            low, high = max(at, first), min(at + n, last)
            if low < high and not isinstance(block, int):
                samples[low - first : high - first] = block[low - at : high - at]
            at += n
            if at >= last:
                break
    return samples


def _blocks(frames: Iterator[AudioFrame | Gap], first: int) -> Iterator[np.ndarray | int]:
    """Blocks of samples, shape (n, 2); a number where silence or what nobody hears stands for so many samples.

    Frames that end two seconds before the stretch are counted, not converted.
    """
    resampler: av.AudioResampler | None = None
    kind, at_s = None, 0.0
    given = 0
    for frame in frames:
        if isinstance(frame, Gap):
            for block in _drained(resampler):
                given += len(block)
                yield block
            resampler = None
            at_s += frame.seconds
            silence = max(0, round(at_s * RATE_HZ) - given)
            given += silence
            yield silence
            continue
        at_s += frame.samples / frame.sample_rate
        if resampler is None and at_s * RATE_HZ < first - 2 * RATE_HZ:
            skipped = max(0, round(at_s * RATE_HZ) - given)
            given += skipped
            yield skipped
            continue
        now = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None or now != kind:
            for block in _drained(resampler):
                given += len(block)
                yield block
            kind, resampler = now, av.AudioResampler("flt", "stereo", RATE_HZ, frame_size=RATE_HZ // 10)
        frame.pts = None  # the timeline counts samples
        for part in resampler.resample(frame):
            block = part.to_ndarray().reshape(-1, CHANNELS)
            given += len(block)
            yield block
    yield from _drained(resampler)


def _drained(resampler: av.AudioResampler | None) -> Iterator[np.ndarray]:
    for part in resampler.resample(None) if resampler else ():
        yield part.to_ndarray().reshape(-1, CHANNELS)


def attached_picture(source: Path) -> bytes | None:
    """The cover in the file's tags, as an image file; None if there is none."""
    try:
        with av.open(f"file:{source}", metadata_errors="replace") as container:
            for stream in container.streams.video:
                if stream.disposition & av.stream.Disposition.attached_pic:
                    return next((bytes(packet) for packet in container.demux(stream) if packet.size), None)
    except av.error.FFmpegError:
        return None
    return None
