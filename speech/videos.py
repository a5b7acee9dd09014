"""Probes the file of a lesson: its container, its picture, its sound and its length. Times are milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from speech.containers import container_name, opened
from speech.errors import BadLesson, NotAudio, Undecodable

FORMATS = (".mp4", ".mov", ".avi", ".mkv", ".webm")
"""Endings of video files that are taken."""
CONTAINERS = frozenset({"mp4", "avi", "webm"})
"""What is in them, as `container_name` calls it; the ending alone proves nothing."""


@dataclass(frozen=True)
class Picture:
    """The video stream of a lesson."""

    codec: str
    width: int
    height: int
    frames_per_s: float | None


@dataclass(frozen=True)
class VideoFacts:
    """What a lesson's file holds."""

    container: str
    duration_ms: int
    """To the end of its longest stream, by the time stamps of the packets; nothing is decoded."""
    audio_codec: str
    audio_channels: int
    sample_rate_hz: int
    picture: Picture | None
    """None: audio only."""


@dataclass(frozen=True)
class LessonLimits:
    """What a lesson may have at most."""

    max_bytes: int
    max_ms: int


def probe(path: Path) -> VideoFacts:
    """The facts of a file. Raises `NotAudio` without sound, `Undecodable` where FFmpeg cannot read it."""
    with opened(path) as (container, sound):
        picture = picture_stream(container)
        return VideoFacts(
            container=container_name(container),
            duration_ms=_duration_ms(container, sound, picture),
            audio_codec=sound.codec_context.codec.canonical_name,
            audio_channels=sound.codec_context.channels,
            sample_rate_hz=sound.codec_context.sample_rate,
            picture=_facts(picture) if picture else None,
        )


def sound_begins_ms(path: Path) -> int:
    """When the first sample is heard: a recording may begin without sound. Times of words count from this sample."""
    with opened(path) as (_, sound):
        return max(0, round(1000 * float((sound.start_time or 0) * (sound.time_base or 0))))


def check_lesson_file(path: Path, limits: LessonLimits) -> VideoFacts:
    """The facts of a video file that a user gives. Raises `BadLesson` for another format or a file over the limits."""
    if path.suffix.lower() not in FORMATS:
        raise BadLesson(f"{path.name} is no video of these formats: {', '.join(FORMATS)}.")
    size = path.stat().st_size
    if size > limits.max_bytes:
        raise BadLesson(
            f"{path.name} has {size / 1e9:.2f} GB; PODLAKE_LESSON_MAX_GB allows {limits.max_bytes / 1e9:g}."
        )
    try:
        facts = probe(path)
    except (NotAudio, Undecodable) as error:
        raise BadLesson(_unreadable(path, error)) from error
    if facts.container not in CONTAINERS:
        raise BadLesson(f"{path.name} is a file of the format {facts.container}, not one of {', '.join(FORMATS)}.")
    check_length(path.name, facts.duration_ms, limits)
    return facts


def _unreadable(path: Path, error: NotAudio | Undecodable) -> str:
    """What a user is told who gives such a file: the errors speak to those who fetch audio."""
    if path.stat().st_size == 0:
        return f"{path.name} is empty (0 bytes). Send the file again."
    if isinstance(error, NotAudio) and error.__cause__ is None:
        return f"{path.name} has no sound, so that there is nothing to dub."
    return (
        f"{path.name} cannot be read as a video: it is damaged, cut off, or another kind of file. Send it again, or "
        "export it as MP4."
    )


def check_length(name: str, duration_ms: int, limits: LessonLimits) -> None:
    """Raises `BadLesson`."""
    if duration_ms > limits.max_ms:
        raise BadLesson(
            f"{name} lasts {duration_ms / 60_000:.1f} minutes; PODLAKE_LESSON_MAX_MINUTES allows {limits.max_ms / 60_000:g}."
        )


def picture_stream(container: InputContainer) -> VideoStream | None:
    """The video stream that moves; the cover of an audio file is none."""
    for stream in container.streams.video:
        if not stream.disposition & av.stream.Disposition.attached_pic:
            return stream
    return None


def _facts(stream: VideoStream) -> Picture:
    rate = stream.average_rate
    return Picture(
        stream.codec_context.codec.canonical_name, stream.width, stream.height, float(rate) if rate else None
    )


def _duration_ms(container: InputContainer, sound: AudioStream, picture: VideoStream | None) -> int:
    """The end of the last packet. Headers of broken recordings lie, and some containers have none."""
    streams = [sound, *([picture] if picture else [])]
    end_ms = 0.0
    for packet in container.demux(streams):
        if packet.pts is not None and packet.time_base is not None:
            end_ms = max(end_ms, 1000 * float((packet.pts + (packet.duration or 0)) * packet.time_base))
    return round(end_ms)
