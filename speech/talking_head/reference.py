"""Chooses the part of a recording that a voice is cloned from: 3–30 s of speech."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from speech.containers import UNTRUSTED
from speech.decoding import decode_to_wav
from speech.engines.line_synthesizer import Sound
from speech.errors import BadReference
from speech.stretches import RATE_HZ, stretch
from speech.types import Span, mapped_samples
from speech.vad import VadSettings, speech_spans

LEAST_SPEECH_MS, MOST_MS = 3_000, 30_000
STRICT = VadSettings(on=0.5, off=0.35, min_silence_ms=300, min_speech_ms=250, pad_ms=150)
"""Only what is clearly speech: the reference is cloned with its noises."""


@dataclass(frozen=True)
class Chosen:
    """The reference: mono int16 at 48 kHz."""

    sound: Sound
    span: Span
    """Where it is in the recording."""
    speech_ms: int
    """Speech in it."""


@dataclass(frozen=True)
class Picture:
    """The picture track of an uploaded video."""

    width: int
    height: int
    codec: str
    duration_ms: int | None


def check_recording(source: Path, name: str) -> None:
    """Raises `BadReference` for a file with neither picture nor sound; nothing is decoded."""
    try:
        with av.open(f"file:{source}", options=UNTRUSTED, metadata_errors="replace") as container:
            if any(stream.type in ("video", "audio") for stream in container.streams):
                return
    except (av.error.FFmpegError, OSError):
        pass
    raise BadReference(
        f"{name} is no video or recording that can be read: it is empty, damaged or another kind of file. Send it again, "
        "or export it as MP4 or WAV."
    )


def choose_reference(source: Path) -> Chosen:
    """The stretch of at most 30 s with the most speech. Raises `BadReference` for under 3 s of speech, NotAudio, Undecodable."""
    with tempfile.TemporaryDirectory() as folder:
        waveform = Path(folder) / "reference.wav"
        report = decode_to_wav(source, waveform)
        spans = speech_spans(mapped_samples(waveform), STRICT)
    best = best_span(spans)
    speech_ms = sum(_overlap(one, best) for one in spans) if best else 0
    if best is None or speech_ms < LEAST_SPEECH_MS:
        raise BadReference(
            f"The reference has {speech_ms / 1000:.1f} s of speech in {report.duration_ms / 1000:.1f} s; "
            f"a voice needs {LEAST_SPEECH_MS // 1000}–{MOST_MS // 1000} s. Upload a recording of the person who speaks."
        )
    samples = stretch(source, best.start_ms, best.end_ms).mean(axis=1)
    return Chosen(Sound((np.clip(samples, -1, 1) * 32_767).astype(np.int16), RATE_HZ), best, speech_ms)


def best_span(spans: list[Span]) -> Span | None:
    """The stretch of at most 30 s, from the start of a span to the end of one, with the most speech; None without any."""
    best, most_ms = None, 0
    for first in spans:
        end_ms = first.start_ms + MOST_MS
        inside = [one for one in spans if one.start_ms >= first.start_ms and one.end_ms <= end_ms]
        whole = Span(first.start_ms, inside[-1].end_ms) if inside else Span(first.start_ms, min(first.end_ms, end_ms))
        speech_ms = sum(_overlap(one, whole) for one in spans)
        if speech_ms > most_ms:
            best, most_ms = whole, speech_ms
    return best


def picture_of(source: Path) -> Picture:
    """The picture track of a video. Raises `BadReference` if it has none that moves."""
    try:
        with av.open(f"file:{source}", options=UNTRUSTED, metadata_errors="replace") as container:
            stream = container.streams.best("video")
            if not isinstance(stream, av.VideoStream) or stream.disposition & av.stream.Disposition.attached_pic:
                raise BadReference(
                    f"{source.name} has no moving picture. Upload a video of the person who is to speak."
                )
            frame = next(container.decode(stream), None)
            if frame is None:
                raise BadReference(f"No picture of {source.name} can be decoded. Upload it as MP4 with H.264.")
            duration = None if container.duration is None else round(container.duration / 1000)
            return Picture(frame.width, frame.height, stream.codec_context.name, duration)
    except av.error.FFmpegError as error:
        raise BadReference(
            f"{source.name} is no video that podlake reads ({error.strerror}). Upload an MP4."
        ) from error


def _overlap(one: Span, other: Span) -> int:
    return max(0, min(one.end_ms, other.end_ms) - max(one.start_ms, other.start_ms))
