"""Opens an audio file of any container, and reads the duration that the container declares.

Only declared durations count: Xing frames, sample tables, STREAMINFO, the WAV data size. FFmpeg's estimate from the
bitrate (VBR MP3 without Xing, raw AAC) does not: measured, it is wrong by tens of per cent.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer

from speech.errors import NotAudio, PodlakeError, Undecodable

CONTAINERS = {
    "mp3": "mp3",
    "mov,mp4,m4a,3gp,3g2,mj2": "mp4",
    "aac": "aac",
    "ogg": "ogg",
    "matroska,webm": "webm",
    "flac": "flac",
    "wav": "wav",
    "w64": "w64",
    "aiff": "aiff",
    "caf": "caf",
    "asf": "asf",
    "mpegts": "mpegts",
    "mpeg": "mpeg",
    "avi": "avi",
    "flv": "flv",
    "amr": "amr",
    "ac3": "ac3",
}
"""FFmpeg's name → ours. Nothing else is opened: a playlist or script would make FFmpeg fetch what it names."""

UNTRUSTED = {"format_whitelist": ",".join(CONTAINERS), "protocol_whitelist": "file"}
"""FFmpeg's options for bytes of unknown origin."""

UNSTATED = frozenset({"mp3", "aac", "ac3", "amr"})
"""Bare streams: no clock and no total of their own, unless an MP3 carries a Xing header."""

MPEG = frozenset({"mpegts", "mpeg"})
"""FFmpeg derives their duration from the first and the last time stamp."""

LONGEST_FRAME_BYTES = 1441
"""MPEG-1 Layer III at 320 kbit/s and 32 kHz."""

END_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")
MAGIC = (b"ID3", b"OggS", b"fLaC", b"RIFF", b"\x1aE\xdf\xa3", b"FORM", b"caff")


@contextmanager
def opened(source: Path) -> Iterator[tuple[InputContainer, AudioStream]]:
    """The container and its best audio stream. Raises NotAudio or Undecodable."""
    if source.stat().st_size == 0:
        raise NotAudio(f"{source} is empty (0 bytes). Fetch it again, or ask the publisher.")
    try:
        container = av.open(f"file:{source}", options=UNTRUSTED, metadata_errors="replace")
    except av.error.FFmpegError as error:
        raise refusal(source, f"FFmpeg cannot open it ({error.strerror})") from error
    with container:
        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream):
            kinds = ", ".join(sorted({each.type for each in container.streams})) or "no streams"
            raise NotAudio(f"{source} holds no audio stream (it holds: {kinds}). Check the feed's enclosure.")
        if stream.codec_context is None:
            raise Undecodable(f"{source} holds audio in a codec that FFmpeg has no decoder for.")
        stream.codec_context.thread_count = 1  # one packet in, its frames out: errors stay with their packet
        yield container, stream


def refusal(source: Path, why: str) -> PodlakeError:
    """Undecodable where the first bytes are those of an audio file, else NotAudio."""
    with source.open("rb") as file:
        head = file.read(64)
    if head.startswith(MAGIC) or head[4:8] == b"ftyp":
        return Undecodable(f"{source} begins like audio, but {why}. Its bytes are cut or damaged: fetch it again.")
    return NotAudio(f"{source} is not audio: {why}; it begins with {head[:24]!r}. Check what the server answered.")


def container_name(container: InputContainer) -> str:
    return CONTAINERS.get(container.format.name, container.format.name)


def stated_ms(source: Path, container: InputContainer, stream: AudioStream) -> int | None:
    """The audio's length as the file itself states it; None where it states none."""
    name = container_name(container)
    if name == "mp3":
        return _xing_ms(source)
    if name == "wav":
        return _wav_ms(source)
    if name in UNSTATED | MPEG:
        return None
    if stream.duration is not None and stream.time_base is not None:
        return round(1000 * stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:
        return round(container.duration / 1000)
    return None


def is_cut_frame(packet: bytes) -> bool:
    """Whether an MP3 packet holds less than its header says."""
    frame = mp3_frame(packet)
    return frame is not None and len(packet) < frame[0]


def ogg_is_closed(source: Path) -> bool:
    """Whether the last page carries the end-of-stream flag (RFC 3533); a page is at most 65 307 bytes."""
    with source.open("rb") as file:
        file.seek(max(0, source.stat().st_size - 65_307))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if not page.startswith(b"OggS") or len(page) < 27:
        return False
    n_segments = page[26]
    whole = len(page) >= 27 + n_segments + sum(page[27 : 27 + n_segments])
    return bool(page[5] & 4) and whole


def is_seam(junk: bytes) -> bool:
    """Whether `junk` separates or ends joined MP3 files: tags, and at most the Xing frame of the next file."""
    if junk.startswith(END_TAGS):
        return True
    rest = junk
    while tag := id3_bytes(rest):
        rest = rest[tag:]
    return len(rest) < len(junk) and len(rest) <= LONGEST_FRAME_BYTES


def id3_bytes(data: bytes) -> int:
    """Length of the ID3v2 tag that `data` begins with; 0 where it begins with none."""
    if len(data) < 10 or not data.startswith(b"ID3"):
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if data[5] & 0x10 else 0)


def mp3_frame(data: bytes) -> tuple[int, int, int] | None:
    """(bytes, samples, sample rate) of the Layer III frame that `data` begins with; None where there is none."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE6 != 0xE2:  # sync and Layer III
        return None
    version, bitrate_idx, rate_idx = data[1] >> 3 & 3, data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or bitrate_idx in (0, 15) or rate_idx == 3:
        return None
    mpeg1 = version == 3
    kbps = (_KBPS_MPEG1 if mpeg1 else _KBPS_MPEG2)[bitrate_idx]
    rate_hz = (44_100, 48_000, 32_000)[rate_idx] >> {3: 0, 2: 1, 0: 2}[version]
    samples = 1152 if mpeg1 else 576
    return samples // 8 * kbps * 1000 // rate_hz + (data[2] >> 1 & 1), samples, rate_hz


_KBPS_MPEG1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBPS_MPEG2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)


def _xing_ms(source: Path) -> int | None:
    """Frames that the Xing or Info header of the first MP3 frame counts, as a time."""
    with source.open("rb") as file:
        start = 0
        while tag := id3_bytes(file.read(10)):
            start += tag
            file.seek(start)
        file.seek(start)
        head = file.read(4096)
    sync = next((at for at in range(len(head) - 4) if mp3_frame(head[at:])), None)
    if sync is None:
        return None
    frame = head[sync:]
    _, samples, rate_hz = mp3_frame(frame) or (0, 0, 1)
    mono = frame[3] >> 6 == 3
    at = 4 + ({True: 17, False: 32} if samples == 1152 else {True: 9, False: 17})[mono]
    if frame[at : at + 4] not in (b"Xing", b"Info") or not frame[at + 7] & 1:
        return None
    return round(1000 * int.from_bytes(frame[at + 8 : at + 12], "big") * samples / rate_hz)


def _wav_ms(source: Path) -> int | None:
    """The size of the chunk `data` as a time; None where the file was written as a stream, with no size."""
    with source.open("rb") as file:
        head = file.read(65_536)
    at, bytes_per_s = 12, 0
    while at + 24 <= len(head):
        name, size = head[at : at + 4], int.from_bytes(head[at + 4 : at + 8], "little")
        if name == b"fmt ":
            bytes_per_s = int.from_bytes(head[at + 16 : at + 20], "little")
        if name == b"data":
            stated = 0 < size < 0xFFFF_0000 and bytes_per_s > 0
            return round(1000 * size / bytes_per_s) if stated else None
        at += 8 + size + size % 2
    return None
