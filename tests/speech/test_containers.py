from __future__ import annotations

from pathlib import Path

import pytest

from speech.containers import id3_bytes, is_seam, mp3_frame, opened, refusal, stated_ms
from speech.errors import NotAudio, Undecodable

AUDIO = Path(__file__).parents[1] / "audio"


@pytest.mark.parametrize(
    ("header", "frame"),
    [
        ("fffb9064", (417, 1152, 44_100)),  # MPEG-1, 128 kbit/s
        ("fffb9264", (418, 1152, 44_100)),  # the same with a padding byte
        ("fffbe864", (1440, 1152, 32_000)),  # 320 kbit/s: the longest
        ("fff340c4", (104, 576, 22_050)),  # MPEG-2, 32 kbit/s
        ("ffe340c4", (208, 576, 11_025)),  # MPEG-2.5, 32 kbit/s
        ("fffbf064", None),  # no such bitrate
        ("fffd9064", None),  # Layer II
        ("49443303", None),  # a tag
        ("fffb", None),
    ],
)
def test_reads_mp3_frame_headers(header, frame):
    assert mp3_frame(bytes.fromhex(header)) == frame


def test_measures_id3_tags():
    assert id3_bytes(b"ID3\x04\x00\x00\x00\x00\x01\x02" + bytes(130)) == 140
    assert id3_bytes(b"ID3\x04\x00\x10\x00\x00\x01\x02" + bytes(140)) == 150, "a footer follows"
    assert id3_bytes(b"TAG") == 0


def test_a_seam_is_tags_and_little_else():
    tag = b"ID3\x04\x00\x00\x00\x00\x00\x05" + bytes(5)
    assert is_seam(tag)
    assert is_seam(tag + tag + bytes(417))
    assert not is_seam(tag + bytes(5_000))
    assert not is_seam(bytes(417))


@pytest.mark.parametrize(
    ("name", "expected_ms"),
    [
        ("vbr.mp3", 4_049),
        ("vbr_no_xing.mp3", None),
        ("tone.aac", None),
        ("cut_faststart.m4a", 4_000),
        ("cut.wav", 1_000),
    ],
)
def test_believes_only_what_is_stated(name, expected_ms):
    with opened(AUDIO / name) as (container, stream):
        assert stated_ms(AUDIO / name, container, stream) == expected_ms


def test_refuses_by_what_the_bytes_begin_with():
    assert isinstance(refusal(AUDIO / "cut.m4a", "it fails"), Undecodable)
    assert isinstance(refusal(AUDIO / "page.mp3", "it fails"), NotAudio)
