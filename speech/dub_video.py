"""Puts the dubbed sound into a lesson: the picture is copied, the new track stands beside the original, with subtitles.

The new track comes first and is the default, so that players play it. MP4 where the codecs allow it, else Matroska.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from heapq import merge
from pathlib import Path
from typing import Any
from uuid import uuid4

import av
from av.packet import Packet
from av.stream import Disposition

from speech.containers import UNTRUSTED, opened
from speech.subtitles import Cue
from speech.videos import picture_stream

MP4_PICTURES = frozenset({"h264", "hevc", "mpeg4", "av1", "vp9"})
MP4_SOUNDS = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"})
_SUBTITLES = {"mp4": "mov_text", "mkv": "srt"}
_HEADER = (
    b"[Script Info]\r\nScriptType: v4.00+\r\n\r\n[V4+ Styles]\r\nFormat: Name, Fontname, Fontsize, PrimaryColour, "
    b"SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, "
    b"BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding\r\nStyle: Default,Arial,16,&Hffffff,"
    b"&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0\r\n\r\n[Events]\r\nFormat: Layer, Start, End, Style, Name, "
    b"MarginL, MarginR, MarginV, Effect, Text\r\n"
)
"""What the encoders of text subtitles ask for: a style."""
_TICKS = {"mp4": 1_000_000, "mkv": 1_000}
"""Time base of subtitles, in units per second."""


@dataclass(frozen=True)
class SubtitleTrack:
    """Subtitles of one language."""

    language: str
    title: str
    cues: tuple[Cue, ...]


def container_for(video_codec: str | None, audio_codec: str) -> str:
    """`mp4`, or `mkv` for a picture or sound that MP4 does not take."""
    is_mp4 = audio_codec in MP4_SOUNDS and (video_codec is None or video_codec in MP4_PICTURES)
    return "mp4" if is_mp4 else "mkv"


def mux(
    source: Path, dub: Path, target: Path, *, source_language: str, target_language: str,
    subtitles: Sequence[SubtitleTrack] = (), picture_from: Path | None = None, title: str = "",
) -> None:  # fmt: skip
    """Write the dubbed lesson, which appears whole or not at all. Nothing is encoded but the subtitles.

    `picture_from`: another file of the same picture, with burnt-in subtitles. The name of `target` says which container.
    """
    part = target.with_name(f".{uuid4().hex[:8]}.{target.name}")
    try:
        with ExitStack() as stack:
            _mux(stack, source, dub, part, source_language, target_language, subtitles, picture_from, title)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _mux(
    stack: ExitStack, source: Path, dub: Path, part: Path, source_language: str, target_language: str,
    subtitles: Sequence[SubtitleTrack], picture_from: Path | None, title: str,
) -> None:  # fmt: skip
    kind = part.suffix.removeprefix(".")
    options = {"movflags": "+faststart"} if kind == "mp4" else {}
    original, sound = stack.enter_context(opened(source))
    spoken, line = stack.enter_context(opened(dub))
    shown: Any = original
    if picture_from is not None:
        shown = stack.enter_context(av.open(str(picture_from), options=UNTRUSTED))
    target = stack.enter_context(av.open(str(part), "w", container_options=options))
    target.metadata["title"] = title
    packets: list[Iterator[tuple[float, int, Packet]]] = []
    of_original: dict[int, Any] = {}
    picture = picture_stream(shown)
    if picture is not None:
        copy = target.add_stream_from_template(picture)
        if shown is original:
            of_original[picture.index] = copy
        else:
            packets.append(_copied(shown, {picture.index: copy}))
    new = target.add_stream_from_template(line)
    old = target.add_stream_from_template(sound)
    of_original[sound.index] = old
    for stream, language, name, disposition in (
        (new, target_language, "dubbed", Disposition.default), (old, source_language, "original", Disposition(0)),
    ):  # fmt: skip
        stream.metadata.update(language=_iso3(language), title=name, handler_name=name)
        stream.disposition = disposition
    texts = [(_subtitle_stream(target, kind, track), track) for track in subtitles]
    packets.append(_copied(original, of_original))
    # The dub's time begins with the first sample of the original, which may be later than the picture.
    begin: Any = sound.start_time or 0
    offset_s = float(begin * (sound.time_base or 0))
    packets.append(_copied(spoken, {line.index: new}, max(0.0, offset_s)))
    packets += [_encoded(stream, kind, track) for stream, track in texts]
    for _, _, packet in merge(*packets, key=lambda item: item[0]):
        target.mux(packet)


def _copied(container: Any, streams: dict[int, Any], offset_s: float = 0.0) -> Iterator[tuple[float, int, Packet]]:
    """The packets of these streams, with their times in seconds, for other streams."""
    packet: Any
    for packet in _with_times(container.demux([container.streams[index] for index in streams])):
        if offset_s:
            shift = round(Fraction(offset_s) / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
        seconds = float(packet.dts * packet.time_base)
        packet.stream = streams[packet.stream.index]
        yield seconds, packet.stream.index, packet


def _with_times(packets: Iterator[Packet]) -> Iterator[Packet]:
    """All packets with the time at which they are decoded. Matroska does not say it of the first ones."""
    untimed: dict[int, list[Packet]] = {}
    for packet in packets:
        if packet.size == 0:
            continue
        waiting = untimed.setdefault(packet.stream.index, [])
        if packet.dts is None:
            waiting.append(packet)
            continue
        step = packet.duration or 1
        for number, early in enumerate(waiting):
            early.dts = packet.dts - (len(waiting) - number) * step
            yield early
        waiting.clear()
        yield packet
    for waiting in untimed.values():  # a stream that has no times of decoding at all
        for packet in waiting:
            if packet.pts is not None:
                packet.dts = packet.pts
                yield packet


def _subtitle_stream(target: Any, kind: str, track: SubtitleTrack) -> Any:
    stream = target.add_stream(_SUBTITLES[kind])
    stream.codec_context.subtitle_header = _HEADER
    stream.codec_context.time_base = Fraction(1, _TICKS[kind])
    stream.time_base = Fraction(1, _TICKS[kind])
    stream.metadata.update(language=_iso3(track.language), title=track.title, handler_name=track.title)
    stream.disposition = Disposition(0)
    return stream


def _encoded(stream: Any, kind: str, track: SubtitleTrack) -> Iterator[tuple[float, int, Packet]]:
    from av.subtitles.subtitle import SubtitleSet

    ticks = _TICKS[kind] // 1000
    for number, cue in enumerate(track.cues):
        text = "\\N".join(line.replace("{", "(").replace("}", ")").replace("\\", "/") for line in cue.lines)
        shown = SubtitleSet.create(
            f"{number},0,Default,,0,0,0,,{text}".encode(), 0, (cue.end_ms - cue.start_ms) * ticks, cue.start_ms * ticks
        )
        packet = stream.codec_context.encode_subtitle(shown)
        packet.stream = stream
        packet.time_base = Fraction(1, _TICKS[kind])
        yield cue.start_ms / 1000, stream.index, packet


def _iso3(language: str) -> str:
    """The tag of three letters that containers have."""
    import langcodes

    return langcodes.Language.get(language).to_alpha3(variant="B")
