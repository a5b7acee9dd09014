"""The dubbed file: the picture is copied, both sounds have their languages, subtitles are there and in time."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from speech.burnt_subtitles import burn
from speech.dub_video import SubtitleTrack, container_for, mux
from speech.errors import BadLesson
from speech.sound_files import RATE_HZ, write_blocks
from speech.subtitles import Cue
from speech.videos import probe
from tests.videos import tone, write_video

CUES = (Cue(500, 1_500, ("Hola {mundo}", "dos")), Cue(1_500, 2_500, ("adiós",)))


def dub_with_click(path: Path, at_s: float = 1.0) -> Path:
    sound = np.zeros((2, 3 * RATE_HZ), np.float32)
    sound[:, int(at_s * RATE_HZ) : int(at_s * RATE_HZ) + 100] = 0.8
    write_blocks(path, [sound], codec="aac", bit_rate=128_000)
    return path


def picture_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(video=0) if packet.size]


@pytest.mark.parametrize(
    ("name", "video", "audio", "container"),
    [
        ("a.mp4", "libx264", "aac", "mp4"),
        ("a.mkv", "libx264", "libopus", "mp4"),
        ("a.webm", "libvpx", "libopus", "mkv"),
        ("a.avi", "mpeg4", "libmp3lame", "mp4"),
    ],
)
def test_two_sounds_and_subtitles_beside_the_copied_picture(
    tmp_path: Path, name: str, video: str, audio: str, container: str
) -> None:
    source = write_video(tmp_path / name, tone(3), video=video, audio=audio)
    facts = probe(source)
    assert facts.picture is not None
    assert container_for(facts.picture.codec, facts.audio_codec) == container
    target = tmp_path / f"out.{container}"
    mux(
        source, dub_with_click(tmp_path / "dub.m4a"), target, source_language="en", target_language="es",
        subtitles=[SubtitleTrack("es", "es", CUES), SubtitleTrack("en", "en", CUES[:1])], title="T",
    )  # fmt: skip
    assert [bytes(one) for one in picture_packets(target)] == picture_packets(source)
    assert probe(target).duration_ms == pytest.approx(facts.duration_ms, abs=60)
    with av.open(str(target)) as file:
        assert [stream.metadata["language"] for stream in file.streams.audio] == ["spa", "eng"]
        assert [bool(stream.disposition & av.stream.Disposition.default) for stream in file.streams.audio] == [
            True,
            False,
        ]
        assert [stream.metadata["language"] for stream in file.streams.subtitles] == ["spa", "eng"]
        begin_s = float((file.streams.video[0].start_time or 0) * file.streams.video[0].time_base)
        shown = [(float(one.pts * one.time_base) - begin_s, one) for one in file.demux(subtitles=0) if one.size > 2]
    assert [round(at, 2) for at, _ in shown] == pytest.approx([0.5, 1.5], abs=0.03)
    text = bytes(shown[0][1]).decode("utf-8", "replace")
    assert "Hola (mundo)\ndos" in text.replace("\r", "")
    assert click_s(target) - begin_s == pytest.approx(1.0, abs=0.03)


def click_s(path: Path) -> float:
    """When the loudest sample of the first sound is heard."""
    with av.open(str(path)) as file:
        frames = [(frame.time, frame.to_ndarray()[0]) for frame in file.decode(audio=0)]
    samples = np.concatenate([part for _, part in frames])
    return float(frames[0][0]) + int(np.abs(samples).argmax()) / RATE_HZ


def test_sound_without_a_picture(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.m4a", tone(3), video=None)
    target = tmp_path / "out.mp4"
    mux(source, dub_with_click(tmp_path / "dub.m4a"), target, source_language="en", target_language="es")
    with av.open(str(target)) as file:
        assert [stream.type for stream in file.streams] == ["audio", "audio"]


def test_subtitles_are_drawn_into_the_picture_while_they_last(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", tone(3), size=(320, 180))
    burnt = tmp_path / "burnt.mp4"
    burn(source, burnt, CUES)
    with av.open(str(burnt)) as file:
        brightest = [int(frame.to_ndarray(format="gray")[90:].max()) for frame in file.decode(video=0)]
    assert len(brightest) == 30
    assert max(brightest[:4]) < 200
    assert min(brightest[6:24]) > 230
    assert max(brightest[26:]) < 200
    target = tmp_path / "out.mp4"
    mux(
        source, dub_with_click(tmp_path / "dub.m4a"), target, source_language="en", target_language="es",
        picture_from=burnt,
    )  # fmt: skip
    assert picture_packets(target) == picture_packets(burnt)


def test_burnt_subtitles_have_letters_of_other_alphabets(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", tone(1), size=(320, 180))
    pictures = set()
    for text in ("¿é", "ñá", "Да", "שם", "مر"):
        burn(source, tmp_path / "burnt.mp4", [Cue(0, 1_000, (text,))])
        with av.open(str(tmp_path / "burnt.mp4")) as file:
            pictures.add(next(file.decode(video=0)).to_ndarray(format="gray").tobytes())
    assert len(pictures) == 5, "a font without these letters draws the same box for each"
    with pytest.raises(BadLesson, match="No font of this machine has \U000f0000"):
        burn(source, tmp_path / "burnt.mp4", [Cue(0, 1_000, ("a \U000f0000",))])


def test_burnt_subtitles_stand_upright_in_a_picture_that_is_turned(tmp_path: Path) -> None:
    """Phones store an upright picture lying, and say that it is to be turned."""
    lying = write_video(tmp_path / "lying.mp4", tone(1), size=(320, 180))
    source = turned(lying, tmp_path / "a.mp4")
    burn(source, tmp_path / "burnt.mp4", [Cue(0, 1_000, ("MMMMMM",))])
    with av.open(str(tmp_path / "burnt.mp4")) as file:
        frame = next(file.decode(video=0))
    grey = frame.to_ndarray(format="gray")
    assert (grey.shape, frame.rotation) == ((320, 180), 0)
    rows, columns = np.nonzero(grey > 200)
    assert rows.min() > 270
    assert columns.max() - columns.min() > 3 * (rows.max() - rows.min())


def turned(source: Path, target: Path) -> Path:
    """The same file, whose picture players turn by 90 degrees."""
    content = source.read_bytes()
    straight = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    quarter = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 180 << 16, 0, 1 << 30)
    at = content.rindex(straight)  # the last track is the picture
    target.write_bytes(content[:at] + quarter + content[at + len(straight) :])
    return target
