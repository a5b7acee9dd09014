"""Decode audio of any container to a 16 kHz mono int16 WAV, and report the properties of the file.

Memory does not grow with the length. Lost time becomes silence and is counted, more than `MOST_LOST` is an
error, and a missing end is flagged.
"""

from __future__ import annotations

import hashlib
import math
import wave
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import av
import numpy as np
from av.audio.frame import AudioFrame

from speech.containers import container_name, is_cut_frame, ogg_is_closed, opened, refusal, stated_ms
from speech.errors import StorageError, TooLarge, Undecodable
from speech.frames import ClockJump, Gap, Tally, unbroken
from speech.types import SAMPLE_RATE_HZ

MOST_LOST = 0.05
"""Largest share of the timeline that may be lost."""
SHORTEST_S = 0.1
MISSING_END_MS = 250
"""A file holds less than it states by more than this: it is truncated. Encoder padding stays below 100 ms."""
LONGEST_S = (2**32 - 44) // (2 * SAMPLE_RATE_HZ) - 1
"""37 hours: what a WAV file's 32-bit sizes can say."""


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """Properties of the file, and of decoding it."""

    container: str
    codec: str
    bitrate_bps: int
    """Bits of the audio stream over its duration; no container's estimate."""
    sample_rate_hz: int
    """Of most of the audio, as are the channels."""
    channels: int
    duration_header_ms: int | None
    """What the file states; None where it states nothing (raw AAC, MP3 without Xing header)."""
    duration_ms: int
    """Of the decoded samples, silence for lost time included."""
    packets: int
    decode_errors: int
    """Packets that do not decode, and reads that fail."""
    lost_ms: int
    """Time that was lost; inside the audio it was replaced by silence."""
    format_changes: int
    """Changes of sample rate, channels or sample format on the way: dynamic ads."""
    clock_jumps: int
    """Jumps of the time stamps. The samples are then followed, so that only losses of under 0.5 s are filled."""
    truncated: bool
    """The file itself promises more than it holds."""
    pcm16k_sha256: str
    """Of the decoded samples: little-endian int16, 16 kHz, mono, without the WAV header."""
    peak_dbfs: float | None
    """Of the decoded samples; None for digital silence, which has no level."""
    clip_rate: float
    """Share of decoded samples at full scale."""


def decode_to_wav(source: Path, target: Path) -> DecodeReport:
    """Decode `source` into `target`, which appears whole or not at all.

    Raises NotAudio, Undecodable, TooLarge (over 37 hours), StorageError (cannot be read or written).
    """
    part = target.with_name(f"{target.name}.{uuid4().hex}.part")
    try:
        try:
            report = _decode(source, part, clock_jumps=False)
        except ClockJump:
            report = _decode(source, part, clock_jumps=True)
        part.replace(target)
    except av.error.FFmpegError as error:  # some are OSErrors too, but their cause is the file, not the disk
        raise Undecodable(f"{source}: FFmpeg stops ({error}). Fetch it again, or ask the publisher.") from error
    except OSError as error:
        raise StorageError(
            f"{source} could not be decoded into {target}: {error}. Check disk space and rights."
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return report


Format = tuple[str, str, int]
"""Sample format, layout, sample rate of a frame."""
Note = Callable[[Format, int], None]


@dataclass
class _Formats:
    """The formats that the frames come in."""

    changes: int = 0
    samples: Counter[Format] = field(default_factory=Counter)
    last: Format | None = None
    settled: Format | None = None

    def add(self, now: Format, n_samples: int) -> None:
        """A change counts from its second frame on: FFmpeg labels the first one half with the old format."""
        self.samples[now] += n_samples
        if now == self.last != self.settled:
            self.changes += self.settled is not None
            self.settled = now
        self.last = now


@dataclass
class _Samples:
    """Measurements of the decoded samples, updated block by block."""

    n: int = 0
    peak: int = 0
    clipped: int = 0
    sha256: hashlib._Hash = field(default_factory=hashlib.sha256)

    def add(self, block: np.ndarray) -> None:
        low, high = int(block.min()), int(block.max())
        self.n += len(block)
        self.peak = max(self.peak, high, -low)
        if high == 32_767 or low == -32_768:
            self.clipped += int(np.count_nonzero((block == 32_767) | (block == -32_768)))
        self.sha256.update(block.data)


def _decode(source: Path, part: Path, *, clock_jumps: bool) -> DecodeReport:
    tally, formats, samples = Tally(), _Formats(), _Samples()
    with opened(source) as (container, stream), part.open("wb") as file, wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(SAMPLE_RATE_HZ)
        for block in mono_blocks(
            unbroken(source, container, stream, tally, clock_jumps=clock_jumps), SAMPLE_RATE_HZ, formats.add
        ):
            samples.add(block)
            wav.writeframesraw(block.data)
            if samples.n > LONGEST_S * SAMPLE_RATE_HZ:
                raise TooLarge(f"{source} is longer than {LONGEST_S // 3600} hours, the most that a WAV file holds.")
        duration_ms = round(1000 * samples.n / SAMPLE_RATE_HZ)
        stated = stated_ms(source, container, stream)
        missing_ms = None if stated is None else stated - duration_ms
        lost_s = tally.filled_s
        if missing_ms is None or missing_ms > MISSING_END_MS:  # otherwise the bytes after the stated end are not audio
            lost_s += tally.tail_s
        _check_enough(source, duration_ms / 1000 - tally.filled_s, lost_s, tally)
        name = container_name(container)
        _, layout, rate_hz = formats.samples.most_common(1)[0][0]
        return DecodeReport(
            container=name,
            codec=stream.codec_context.codec.canonical_name,
            bitrate_bps=round(8000 * tally.packet_bytes / duration_ms),
            sample_rate_hz=rate_hz,
            channels=av.AudioLayout(layout).nb_channels,
            duration_header_ms=stated,
            duration_ms=duration_ms,
            packets=tally.packets,
            decode_errors=tally.errors,
            lost_ms=round(1000 * lost_s),
            format_changes=formats.changes,
            clock_jumps=tally.clock_jumps,
            truncated=_is_truncated(source, name, missing_ms, tally),
            pcm16k_sha256=samples.sha256.hexdigest(),
            peak_dbfs=round(20 * math.log10(samples.peak / 32_768), 2) if samples.peak else None,
            clip_rate=samples.clipped / samples.n,
        )


def _is_truncated(source: Path, container: str, missing_ms: int | None, tally: Tally) -> bool:
    if container == "ogg":  # its duration is only that of the last page that is there
        return not ogg_is_closed(source)
    if container == "mp3" and tally.last_packet is not None and is_cut_frame(bytes(tally.last_packet)):
        return True
    if missing_ms is not None:
        return missing_ms > MISSING_END_MS
    return tally.last_is_bad and container != "wav"  # samples without a stated end may end anywhere


def _check_enough(source: Path, decoded_s: float, lost_s: float, tally: Tally) -> None:
    if decoded_s < SHORTEST_S:
        why = f"only {decoded_s:.3f} s of it decode ({tally.errors} of {tally.packets} packets are bad)"
        raise refusal(source, why)
    if lost_s > MOST_LOST * (decoded_s + lost_s):
        raise Undecodable(
            f"{source}: {lost_s:.1f} of {decoded_s + lost_s:.1f} s cannot be decoded "
            f"({tally.errors} bad packets), more than {MOST_LOST:.0%}. Fetch it again, or ask the publisher."
        )


def mono_blocks(
    frames: Iterator[AudioFrame | Gap], rate_hz: int, note: Note = lambda _format, _n: None
) -> Iterator[np.ndarray]:
    """Mono int16 blocks of about a second; lost time is silence. `note` is told the format of each frame, and its samples.

    FFmpeg scales the mix of channels so that int16 cannot clip.
    """
    resampler: av.AudioResampler | None = None
    before: Format | None = None
    for frame in frames:
        if isinstance(frame, Gap):
            yield from _drained(resampler)
            resampler = None
            yield np.zeros(max(1, round(frame.seconds * rate_hz)), np.int16)
            continue
        now = (frame.format.name, frame.layout.name, frame.sample_rate)
        note(now, frame.samples)
        if resampler is None or now != before:
            yield from _drained(resampler)
            resampler = av.AudioResampler("s16", "mono", rate_hz, frame_size=rate_hz)
        before = now
        frame.pts = None  # the timeline is ours: counted in samples
        for block in resampler.resample(frame):
            yield block.to_ndarray()[0]
    yield from _drained(resampler)


def _drained(resampler: av.AudioResampler | None) -> Iterator[np.ndarray]:
    for block in resampler.resample(None) if resampler else ():
        yield block.to_ndarray()[0]
