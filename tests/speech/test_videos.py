"""What a lesson's file holds, and which files are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from speech.errors import BadLesson
from speech.videos import LessonLimits, check_lesson_file, probe
from tests.videos import tone, write_video

LIMITS = LessonLimits(max_bytes=10_000_000, max_ms=60_000)
AUDIO = Path(__file__).parents[1] / "audio"


@pytest.mark.parametrize(
    ("name", "video", "audio", "container"),
    [
        ("a.mp4", "libx264", "aac", "mp4"),
        ("a.mov", "libx264", "aac", "mp4"),
        ("a.mkv", "libx264", "libopus", "webm"),
        ("a.webm", "libvpx", "libopus", "webm"),
        ("a.avi", "mpeg4", "libmp3lame", "avi"),
    ],
)
def test_each_format_is_probed(tmp_path: Path, name: str, video: str, audio: str, container: str) -> None:
    facts = check_lesson_file(write_video(tmp_path / name, tone(2), video=video, audio=audio), LIMITS)
    assert facts.duration_ms == pytest.approx(2_000, abs=110)  # AVI has no clock for frames that come in another order
    assert (facts.sample_rate_hz, facts.audio_channels) == (48_000, 1)
    assert facts.picture is not None
    assert (facts.picture.width, facts.picture.height) == (160, 90)
    assert facts.picture.frames_per_s == pytest.approx(10, abs=0.5)
    assert facts.container == container


def test_audio_alone_has_no_picture() -> None:
    facts = probe(AUDIO / "vbr_no_xing.mp3")
    assert facts.picture is None
    assert facts.audio_codec == "mp3"
    assert facts.duration_ms > 1_000


def test_files_over_the_limits_are_refused(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", tone(2))
    with pytest.raises(BadLesson, match=r"PODLAKE_LESSON_MAX_MINUTES allows 0\.0166667"):
        check_lesson_file(path, replace(LIMITS, max_ms=1_000))
    with pytest.raises(BadLesson, match="PODLAKE_LESSON_MAX_GB allows 1e-06"):
        check_lesson_file(path, replace(LIMITS, max_bytes=1_000))


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadLesson, match="no video of these formats"):
        check_lesson_file(AUDIO / "vbr.mp3", LIMITS)
    fake = tmp_path / "page.mp4"
    fake.write_text("<html>not found</html>")
    with pytest.raises(BadLesson, match=r"page\.mp4 cannot be read as a video"):
        check_lesson_file(fake, LIMITS)
    with pytest.raises(BadLesson, match=r"mute\.mp4 has no sound, so that there is nothing to dub"):
        check_lesson_file(write_video(tmp_path / "mute.mp4", tone(1), audio=None), LIMITS)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(BadLesson, match=r"empty\.mp4 is empty \(0 bytes\)"):
        check_lesson_file(tmp_path / "empty.mp4", LIMITS)
    renamed = tmp_path / "sound.mp4"
    renamed.write_bytes((AUDIO / "vbr.mp3").read_bytes())
    with pytest.raises(BadLesson, match="a file of the format mp3"):
        check_lesson_file(renamed, LIMITS)
