"""Encodes a podcast: MP3 with ID3 tags, Opus with Vorbis comments, both with chapters, and WebM in parts for streaming."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from speech.errors import BadOutput
from speech.formats.chapters import Chapter
from speech.mastering import (
    CEILING_DBTP,
    MONO_LUFS,
    MOST_DBTP,
    SAMPLE_RATE_HZ,
    loudness_lufs,
    mastered,
    true_peak_dbtp,
)
from speech.webm import Cluster, clusters_of

MP3_BIT_RATE = 96_000
OPUS_BIT_RATE = 32_000
TOLERANCE_LU = 0.3
_FRAME = SAMPLE_RATE_HZ // 10
_TRIES = 4


@dataclass(frozen=True)
class Encoded:
    """The files, and what was measured on the decoded MP3."""

    mp3: bytes
    opus: bytes
    loudness_lufs: float
    true_peak_dbtp: float
    duration_ms: int


def encode_podcast(samples: np.ndarray, tags: Mapping[str, str], chapters: Sequence[Chapter]) -> Encoded:
    """Master and encode. Both files meet loudness and peak after decoding."""
    mp3, loudness, mp3_peak = _at_loudness(samples, "mp3", "libmp3lame", MP3_BIT_RATE, tags, chapters)
    opus, _, opus_peak = _at_loudness(samples, "ogg", "libopus", OPUS_BIT_RATE, tags, chapters)
    duration_ms = round(1000 * len(samples) / SAMPLE_RATE_HZ)
    return Encoded(mp3, opus, loudness, max(mp3_peak, opus_peak), duration_ms)


def _at_loudness(
    samples: np.ndarray, container: str, codec: str, bit_rate: int, tags: Mapping[str, str], chapters: Sequence[Chapter]
) -> tuple[bytes, float, float]:
    """A file, its loudness and its peak. What a codec takes from the loudness and adds to peaks is made good."""
    target, ceiling = MONO_LUFS, CEILING_DBTP
    content, loudness, peak = b"", -70.0, 0.0
    for _ in range(_TRIES):
        final = mastered(samples, target_lufs=target, ceiling_dbtp=ceiling)
        content = _encoded(final, container, codec, bit_rate, tags, chapters)
        decoded = _decoded(content)
        measured, peak = loudness_lufs(decoded, SAMPLE_RATE_HZ), true_peak_dbtp(decoded)
        if measured is None:
            raise BadOutput("The encoded podcast is silent.")
        loudness = measured
        if peak <= MOST_DBTP and abs(loudness - MONO_LUFS) <= TOLERANCE_LU:
            break
        target += MONO_LUFS - loudness
        ceiling -= max(0.0, peak - MOST_DBTP + 0.2)
    return content, loudness, peak


def webm_clusters(opus: bytes) -> list[Cluster]:
    """The clusters of an Ogg Opus stream, which is not encoded again."""
    import av

    with av.open(io.BytesIO(opus), "r") as source:
        packets = [bytes(packet) for packet in source.demux(audio=0) if packet.dts is not None]
    return clusters_of(packets)


def _encoded(
    samples: np.ndarray, container: str, codec: str, bit_rate: int, tags: Mapping[str, str], chapters: Sequence[Chapter]
) -> bytes:
    import av

    written = io.BytesIO()
    with av.open(written, "w", format=container) as target:
        stream: Any = target.add_stream(codec, rate=SAMPLE_RATE_HZ, layout="mono", bit_rate=bit_rate)
        if codec == "libopus":
            stream.options = {"application": "audio", "frame_duration": "20"}
        holder = stream if container == "ogg" else target
        holder.metadata.update(tags)
        target.set_chapters(
            [
                {
                    "id": number, "start": chapter.start_ms, "end": chapter.end_ms or chapter.start_ms + 1,
                    "time_base": Fraction(1, 1000), "metadata": {"title": chapter.title},
                }
                for number, chapter in enumerate(chapters)
            ]
        )  # fmt: skip
        for start in range(0, len(samples), _FRAME):
            block = np.clip(samples[start : start + _FRAME], -1, 1).astype(np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, start, Fraction(1, SAMPLE_RATE_HZ)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return written.getvalue()


def _decoded(content: bytes) -> np.ndarray:
    """Mono float samples at 48 kHz."""
    import av
    from av.audio.resampler import AudioResampler

    with av.open(io.BytesIO(content), "r") as source:
        resampler = AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE_HZ)
        frames = [part for frame in source.decode(audio=0) for part in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
