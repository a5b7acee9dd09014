"""Encodes samples to Opus while they come, in WebM clusters; and a part of a recording without what stands before it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from speech.containers import opened
from speech.decoding import mono_blocks
from speech.frames import Gap, Tally, unbroken
from speech.webm import CLUSTER_PACKETS, PACKET_MS, SAMPLE_RATE_HZ, Cluster, clusters_of

BIT_RATE = 32_000
PART_MS = 10_000
"""A recording is encoded in parts of this length, each by itself, in a tenth of a second of a core."""
_FRAME = SAMPLE_RATE_HZ * PACKET_MS // 1000
_PREROLL_PACKETS = 5
"""Packets before a part, which only bring the encoder into its state: the decoder hears no seam."""
_SEEK_S = 1.0
"""Decoding begins so much before the wanted time: MP3 and AAC need the packets before."""


class OpusEncoder:
    """Mono float samples at 48 kHz → packets of 20 ms."""

    def __init__(self) -> None:
        import av

        self._codec: Any = av.CodecContext.create("libopus", "w")
        self._codec.sample_rate, self._codec.layout, self._codec.format = SAMPLE_RATE_HZ, "mono", "flt"
        self._codec.bit_rate, self._codec.time_base = BIT_RATE, Fraction(1, SAMPLE_RATE_HZ)
        # Half of the time that the highest quality takes, which no listener hears at this bit rate.
        self._codec.options = {"application": "audio", "frame_duration": str(PACKET_MS), "compression_level": "5"}
        self._rest = np.zeros(0, np.float32)
        self._n_samples = 0

    def encode(self, samples: np.ndarray) -> list[bytes]:
        """The packets that are complete with these samples."""
        waiting = np.concatenate([self._rest, samples.astype(np.float32)])
        whole = len(waiting) // _FRAME * _FRAME
        self._rest = waiting[whole:]
        return [packet for at in range(0, whole, _FRAME) for packet in self._packets(waiting[at : at + _FRAME])]

    def finish(self) -> list[bytes]:
        """The last packets. The encoder takes no further samples."""
        padded = np.pad(self._rest, (0, -len(self._rest) % _FRAME))
        self._rest = self._rest[:0]
        last = self.encode(padded)
        return last + [bytes(packet) for packet in self._codec.encode(None)]

    def _packets(self, samples: np.ndarray) -> list[bytes]:
        import av

        frame: Any = av.AudioFrame.from_ndarray(np.clip(samples, -1, 1).reshape(1, -1), format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, self._n_samples, Fraction(1, SAMPLE_RATE_HZ)
        self._n_samples += len(samples)
        return [bytes(packet) for packet in self._codec.encode(frame)]


class ClusterEncoder:
    """Samples → the clusters of a stream that begins with them."""

    def __init__(self) -> None:
        self._encoder = OpusEncoder()
        self._packets: list[bytes] = []
        self._next_ms = 0

    def encode(self, samples: np.ndarray) -> list[Cluster]:
        """The clusters that are complete with these samples."""
        self._packets += self._encoder.encode(samples)
        whole = len(self._packets) // CLUSTER_PACKETS * CLUSTER_PACKETS
        return self._taken(whole)

    def finish(self) -> list[Cluster]:
        """The last clusters."""
        self._packets += self._encoder.finish()
        return self._taken(len(self._packets))

    def _taken(self, count: int) -> list[Cluster]:
        taken, self._packets = self._packets[:count], self._packets[count:]
        found = clusters_of(taken, self._next_ms)
        self._next_ms += count * PACKET_MS
        return found


def encode_part(source: Path, index: int) -> list[Cluster]:
    """The clusters of a part; fewer than a whole one has, or none, where the recording ends.

    Times are those of `decode_to_wav`, unless audio is lost before the part or the clock jumps: then encode the waveform.
    Raises NotAudio, Undecodable, OSError.
    """
    start_ms = index * PART_MS
    preroll = _PREROLL_PACKETS if index else 0
    encoder, packets = OpusEncoder(), list[bytes]()
    wanted = PART_MS // PACKET_MS + preroll
    for samples in samples_from(source, start_ms - preroll * PACKET_MS):
        packets += encoder.encode(samples)
        if len(packets) >= wanted:
            break
    else:
        packets += encoder.finish()
    return clusters_of(packets[preroll:wanted], start_ms)


def samples_from(source: Path, start_ms: int) -> Iterator[np.ndarray]:
    """Mono float samples at 48 kHz from this time on, in blocks of about a second."""
    with opened(source) as (container, stream):
        at_s = 0.0
        seeks = start_ms > 1000 * _SEEK_S
        first_s = float((stream.start_time or 0) * (stream.time_base or 0))
        if seeks:
            offset = round((start_ms / 1000 - _SEEK_S + first_s) / (stream.time_base or 1))
            container.seek(offset, stream=stream)
        frames = unbroken(source, container, stream, Tally(), clock_jumps=True)
        first = next(frames, None)
        if first is None:
            return
        if seeks and not isinstance(first, Gap):  # the frame knows its time
            at_s = (first.time or 0.0) - first_s
        skipped = round((start_ms / 1000 - at_s) * SAMPLE_RATE_HZ)
        if skipped < 0:
            yield np.zeros(-skipped, np.float32)
        for block in mono_blocks(chain([first], frames), SAMPLE_RATE_HZ):
            if len(block) > skipped:
                yield block[max(0, skipped) :].astype(np.float32) / 32_768
            skipped = max(0, skipped - len(block))
