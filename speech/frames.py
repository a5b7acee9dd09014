"""Packets → frames on an unbroken timeline: a Gap stands for time that was lost in the middle.

Measured by damaging 20-s files (1 kB and 5 % of the bytes, random and zero) and aligning what follows:

* Containers with time stamps (MP4, Ogg, WebM …): the gap between two frames' stamps is the lost time, exact to
  1 ms. A damaged Ogg or WebM page is dropped without an error, so only the stamps show it.
* MP3: FFmpeg joins the junk into one bad packet; its bytes over the bitrate so far are the lost time, exact for
  a constant bitrate, a few per cent off otherwise.
  Tags between stitched MP3 files come as such packets too, and are no loss.
* FLAC: frames are dropped without an error; the number in each frame gives its position: exact.
* Raw AAC: FFmpeg skips junk and does not report where; its length is counted at the end, and no silence is inserted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from speech.containers import UNSTATED, container_name, is_seam

LONGEST_LOSS_S = 600.0
"""Time stamps that advance by more are a new clock, not lost audio."""
JUMP_S = 0.5
"""Time stamps that go back by this much show that the file's clock jumps. Then forward steps of this size are jumps
too: which of them are lost audio is unknown."""
MAX_FAILED_READS = 100
"""Failed reads in a row after which the rest of the file is given up."""


@dataclass
class Tally:
    """Counts of packets, errors and lost time; complete after the last frame."""

    packets: int = 0
    packet_bytes: int = 0
    errors: int = 0
    filled_s: float = 0.0
    """Time that is missing between frames, returned as `Gap`s."""
    tail_s: float = 0.0
    """Estimated length of the bytes at the end that do not decode, or whose position is unknown."""
    clock_jumps: int = 0
    last_packet: Packet | None = None
    last_is_bad: bool = False


class ClockJump(Exception):
    """The time stamps cannot be trusted; decode again and follow the samples."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing time between two frames."""

    seconds: float


Decoded = Iterator[tuple[Packet, list[AudioFrame] | None]]


def unbroken(
    source: Path, container: InputContainer, stream: AudioStream, tally: Tally, *, clock_jumps: bool
) -> Iterator[AudioFrame | Gap]:
    """The stream's frames in order, with a Gap where time was lost.

    Raises ClockJump unless the caller knows of it (`clock_jumps`): then jumps are counted and the samples followed.
    """
    clock = _Clock(tally, clock_jumps)
    decoded = _decoded(container, stream, tally)
    name = container_name(container)
    timeline: Iterator[AudioFrame | Gap]
    if name in UNSTATED:
        timeline = _by_bytes(decoded, tally, None if name == "mp3" else source.stat().st_size)
    elif name == "flac":
        timeline = _by_frame_number(decoded, clock)
    else:
        timeline = _by_stamp(decoded, tally, clock)
    for item in timeline:
        if isinstance(item, Gap):
            tally.filled_s += item.seconds
        yield item


@dataclass
class _Clock:
    """Compares the stamps of a file with its samples."""

    tally: Tally
    is_known_to_jump: bool

    def gap(self, start_s: float | None, end_s: float | None, frame: AudioFrame) -> Iterator[Gap]:
        """The lost time between two frames. Half a frame is tolerated: stamps are rounded, to 1 ms in WebM."""
        if start_s is None or end_s is None:
            return
        step_s = start_s - end_s
        if step_s < -JUMP_S or step_s > (JUMP_S if self.is_known_to_jump else LONGEST_LOSS_S):
            if not self.is_known_to_jump:
                raise ClockJump
            self.tally.clock_jumps += 1
        elif step_s > 0.5 * frame.samples / frame.sample_rate:
            yield Gap(step_s)


def _decoded(container: InputContainer, stream: AudioStream, tally: Tally) -> Decoded:
    """Every packet with its frames; None for a packet that does not decode."""
    for packet in _packets(container, stream, tally):
        tally.packets += bool(packet.size)  # the last one is empty: it fetches what the decoder still holds
        frames: list[AudioFrame] | None
        try:
            frames = packet.decode()  # type: ignore[assignment]
        except av.error.FFmpegError:  # not only InvalidDataError: damaged AAC gives EPERM and unknown codes
            if is_seam(bytes(packet)):
                continue
            frames = None
            tally.errors += 1
        if packet.size:
            tally.last_is_bad = frames is None or packet.is_corrupt
            tally.last_packet = packet
            tally.packet_bytes += packet.size
        yield packet, frames


def _packets(container: InputContainer, stream: AudioStream, tally: Tally) -> Iterator[Packet]:
    """Packets until the end; a read that fails is counted and reading goes on behind it."""
    failed = 0
    while failed < MAX_FAILED_READS:
        try:
            for packet in container.demux(stream):
                failed = 0
                yield packet
        except av.error.FFmpegError:
            tally.errors += 1
            failed += 1
        else:
            return


def _by_stamp(decoded: Decoded, tally: Tally, clock: _Clock) -> Iterator[AudioFrame | Gap]:
    end_s: float | None = None
    bad_until_s = 0.0
    for packet, frames in decoded:
        if frames is None and packet.pts is not None and packet.time_base is not None:
            bad_until_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
        for frame in frames or ():
            start_s = frame.time if frame.pts is not None else end_s
            yield from clock.gap(start_s, end_s, frame)
            end_s = (start_s or 0.0) + frame.samples / frame.sample_rate
            yield frame
    if end_s is not None and bad_until_s > end_s and not clock.is_known_to_jump:
        tally.tail_s = bad_until_s - end_s


def _by_frame_number(decoded: Decoded, clock: _Clock) -> Iterator[AudioFrame | Gap]:
    """FLAC: the number of a frame (fixed block size) or of its first sample (variable) opens every frame."""
    end_s: float | None = None
    block_size = 0
    for packet, frames in decoded:
        for idx, frame in enumerate(frames or ()):
            block_size = max(block_size, frame.samples)
            start_s = end_s  # damage joins frames into one packet, of which the first can be read
            if idx == 0 and packet.size:
                header = bytes(packet)[:11]
                unit = 1 if header[1] & 1 else block_size
                start_s = _coded_number(header[4:]) * unit / frame.sample_rate
            yield from clock.gap(start_s, end_s, frame)
            end_s = (start_s or 0.0) + frame.samples / frame.sample_rate
            yield frame


def _by_bytes(decoded: Decoded, tally: Tally, end: int | None) -> Iterator[AudioFrame | Gap]:
    """`end`: where the bytes end, for formats whose junk FFmpeg skips silently; None where junk comes as packets."""
    good_bytes = junk_bytes = start = 0
    good_s = 0.0
    for packet, frames in decoded:
        if tally.packets == 1:
            start = packet.pos or 0
        if frames is None:
            junk_bytes += packet.size
            continue
        if junk_bytes and good_s and frames:
            yield Gap(junk_bytes * good_s / good_bytes)
            junk_bytes = 0
        good_bytes += packet.size
        for frame in frames:
            good_s += frame.samples / frame.sample_rate
            yield frame
    skipped = 0 if end is None else max(0, end - start - tally.packet_bytes)
    if good_bytes:
        tally.tail_s = (junk_bytes + skipped) * good_s / good_bytes


def _coded_number(data: bytes) -> int:
    """FLAC's coded number (RFC 9639, 9.1.5): UTF-8's scheme, up to seven bytes."""
    n_ones = 8 - (~data[0] & 0xFF).bit_length()
    number = data[0] & 0x7F >> n_ones
    for byte in data[1 : max(1, n_ones)]:
        number = number << 6 | byte & 0x3F
    return number
