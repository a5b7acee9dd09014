"""Writes WebM with one track of Opus, as live streams are written: a header, then clusters that begin every 500 ms.

Packet `n` of a stream is at 20·n ms, so that packets of several encoders, and of parts made at different times, fit together.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SAMPLE_RATE_HZ = 48_000
"""The rate of Opus, whatever the rate of the source."""
PACKET_MS = 20
CLUSTER_MS = 500
CLUSTER_PACKETS = CLUSTER_MS // PACKET_MS
MIME = 'audio/webm; codecs="opus"'
LOOKAHEAD = 312
"""Samples by which Opus' packets are later than what was encoded; a decoder removes so many at the beginning."""
_PREROLL_NS = 80_000_000
"""Audio from which a decoder finds its state again after a jump."""
_CLUSTER = 0x1F43B675
_UNKNOWN_SIZE = b"\x01" + b"\xff" * 7


@dataclass(frozen=True, slots=True)
class Cluster:
    """Half a second of audio; less at the end of a stream."""

    start_ms: int
    content: bytes


def webm_header() -> bytes:
    """What stands before the first cluster: MediaSource's initialisation segment."""
    opus_head = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, LOOKAHEAD, SAMPLE_RATE_HZ, 0, 0)
    audio = _element(0xB5, struct.pack(">d", SAMPLE_RATE_HZ)) + _number(0x9F, 1)
    track = (
        _number(0xD7, 1) + _number(0x73C5, 1) + _number(0x83, 2) + _number(0x9C, 0) + _element(0x86, b"A_OPUS")
        + _number(0x56AA, LOOKAHEAD * 1_000_000_000 // SAMPLE_RATE_HZ) + _number(0x56BB, _PREROLL_NS)
        + _element(0x63A2, opus_head) + _element(0xE1, audio)
    )  # fmt: skip
    ebml = (
        _number(0x4286, 1) + _number(0x42F7, 1) + _number(0x42F2, 4) + _number(0x42F3, 8)
        + _element(0x4282, b"webm") + _number(0x4287, 4) + _number(0x4285, 2)
    )  # fmt: skip
    info = _number(0x2AD7B1, 1_000_000) + _element(0x4D80, b"podlake") + _element(0x5741, b"podlake")
    tracks = _element(0x1654AE6B, _element(0xAE, track))
    return _element(0x1A45DFA3, ebml) + _id(0x18538067) + _UNKNOWN_SIZE + _element(0x1549A966, info) + tracks


def webm_cluster(start_ms: int, packets: Sequence[bytes]) -> Cluster:
    """A cluster of packets of 20 ms."""
    blocks = b"".join(
        _element(0xA3, b"\x81" + struct.pack(">h", index * PACKET_MS) + b"\x80" + packet)
        for index, packet in enumerate(packets)
    )
    return Cluster(start_ms, _element(_CLUSTER, _number(0xE7, start_ms) + blocks))


def clusters_of(packets: Sequence[bytes], start_ms: int = 0) -> list[Cluster]:
    """All packets in clusters; the last one may be shorter."""
    return [
        webm_cluster(start_ms + index * PACKET_MS, packets[index : index + CLUSTER_PACKETS])
        for index in range(0, len(packets), CLUSTER_PACKETS)
    ]


def read_clusters(content: bytes) -> Iterator[Cluster]:
    """The clusters of bytes that begin with one. Raises ValueError for other bytes."""
    at = 0
    while at < len(content):
        if content[at : at + 4] != _id(_CLUSTER):
            raise ValueError(f"There is no cluster at byte {at}.")
        size, body = _size_at(content, at + 4)
        if body + size > len(content) or content[body] != 0xE7:
            raise ValueError(f"The cluster at byte {at} is not complete.")
        length, time = _size_at(content, body + 1)
        yield Cluster(int.from_bytes(content[time : time + length]), content[at : body + size])
        at = body + size


def _size_at(content: bytes, at: int) -> tuple[int, int]:
    """The size of an element, and where its body begins."""
    width = 9 - content[at].bit_length()
    return int.from_bytes(content[at : at + width]) & ((1 << 7 * width) - 1), at + width


def _element(number: int, body: bytes) -> bytes:
    width = next(width for width in range(1, 9) if len(body) < (1 << 7 * width) - 1)
    return _id(number) + (len(body) | 1 << 7 * width).to_bytes(width) + body


def _number(number: int, value: int) -> bytes:
    return _element(number, value.to_bytes(max(1, (value.bit_length() + 7) // 8)))


def _id(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8)
