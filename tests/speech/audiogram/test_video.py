"""The video: what each moment shows, that sound and picture are as long as asked, and that a reader decodes it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from speech.audiogram.card import PALETTE, Box, Card, Layout, ShownTurn, ShownWord, layout_of
from speech.audiogram.drawing import caption_image, clipped_to, cover_image, ground
from speech.audiogram.fonts import font_for, missing_characters
from speech.audiogram.video import FRAMES_PER_S, frame_at, write_audiogram
from speech.audiogram.waveform import Bars, bar_levels
from speech.stretches import RATE_HZ, attached_picture, stretch

AUDIO = Path(__file__).parents[2] / "audio"
SIZES: dict[Any, tuple[int, int]] = {"square": (270, 270), "vertical": (270, 480), "wide": (480, 270)}


def tone(seconds: float) -> np.ndarray:
    """A tone, loud in every other half second."""
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    sound = np.where(at % 1 < 0.5, 0.5, 0.0) * np.sin(2 * np.pi * 440 * at)
    return np.repeat(sound.astype(np.float32)[:, None], 2, axis=1)


def card(*turns: ShownTurn, cover: bytes | None = None, duration_ms: int = 2_000) -> Card:
    return Card("A garden on the roof", "The corner table", duration_ms, turns, cover)


def said(text: str, colour: str = PALETTE[0]) -> ShownTurn:
    words = enumerate(text.split())
    return ShownTurn("Maya", colour, tuple(ShownWord(word, i * 500, i * 500 + 400) for i, word in words))


def part(image: Image.Image, box: Box) -> np.ndarray:
    return np.asarray(image.convert("RGB"))[box.top : box.bottom, box.left : box.right].astype(int)


@pytest.mark.parametrize("shape", ["square", "vertical", "wide"])
def test_a_file_has_both_tracks_at_full_length(shape: Any, tmp_path: Path) -> None:
    layout = layout_of(shape, SIZES[shape])
    written = write_audiogram(tmp_path / "a.mp4", card(said("one two")), layout, tone(2))
    assert (written.width, written.height, written.frames) == (*SIZES[shape], 2 * FRAMES_PER_S)
    with av.open(str(tmp_path / "a.mp4")) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.width, video.height) == (written.codec, *SIZES[shape])
        frames = [frame.pts * frame.time_base for frame in container.decode(video=0)]
        assert [float(at) for at in frames] == [number / FRAMES_PER_S for number in range(2 * FRAMES_PER_S)]
        container.seek(0)
        samples = sum(frame.samples for frame in container.decode(audio=0))
        assert abs(samples - 2 * RATE_HZ) <= 1024
        assert audio.codec_context.name == "aac"
        assert container.metadata["title"] == "A garden on the roof"


@pytest.mark.parametrize("shape", ["square", "vertical", "wide"])
def test_the_parts_do_not_touch_each_other(shape: Any) -> None:
    for layout in (layout_of(shape), layout_of(shape, SIZES[shape])):
        boxes = [layout.cover, layout.title, layout.captions, layout.waveform, layout.progress]
        assert all(side % 2 == 0 for box in boxes for side in (box.left, box.top, box.width, box.height))
        assert all(box.left >= 0 and box.right <= layout.width and box.bottom <= layout.height for box in boxes)
        taken = np.zeros((layout.height, layout.width), int)
        for box in boxes:
            taken[box.top : box.bottom, box.left : box.right] += 1
        assert taken.max() == 1


def test_the_word_that_is_spoken_has_the_speakers_colour() -> None:
    layout = layout_of("square", SIZES["square"])
    shown = card(said("one two", "#ff0000"))
    box = layout.captions
    lines = Box(box.left, box.top + box.height // 4, box.width, box.height * 3 // 4)

    def red(at_ms: int) -> list[int]:
        """The columns that are red in the lines of the captions."""
        image = part(frame_at(shown, layout, tone(2), at_ms), lines)
        is_red = (image[..., 0] > 150) & (image[..., 1] < 90)
        return [int(column) for column in np.flatnonzero(is_red.any(axis=0))]

    first, second = red(250), red(750)
    assert 0 <= max(first) < min(second)
    assert red(1_950) == second  # it stays until another one begins


def test_captions_leave_the_frame_a_while_after_their_last_word() -> None:
    layout = layout_of("square", SIZES["square"])
    shown, empty = card(said("one"), duration_ms=3_000), card(duration_ms=3_000)
    sound = tone(3)
    at_two_s = [part(frame_at(each, layout, sound, 2_000), layout.captions) for each in (shown, empty)]
    assert np.array_equal(*at_two_s)
    assert not np.array_equal(*(part(frame_at(each, layout, sound, 1_500), layout.captions) for each in (shown, empty)))


def test_only_bars_progress_and_captions_change() -> None:
    layout = layout_of("wide", SIZES["wide"])
    shown = card(said("one two"))
    early, late = (np.asarray(frame_at(shown, layout, tone(2), at)).astype(int) for at in (100, 1_500))
    changed = np.abs(early - late).max(axis=2) > 0
    for box in (layout.waveform, layout.progress, layout.captions):
        margin = 2  # chroma of two pixels is one sample
        area = (slice(box.top - margin, box.bottom + margin), slice(box.left - margin, box.right + margin))
        assert changed[area].any()
        changed[area] = False
    assert not changed.any()


def test_bars_are_as_high_as_the_sound_is_loud_and_move_to_the_left() -> None:
    levels = bar_levels(tone(2), RATE_HZ)
    assert levels.shape == (40,)
    assert levels[5] == pytest.approx(1, abs=0.01)
    assert levels[15] == pytest.approx(0.06, abs=0.001)
    bars = Bars(levels, Box(0, 0, 256, 60))
    covered, is_past = bars.coverage(250)
    assert covered.shape == (60, 256)
    assert is_past.sum() == 128
    middle = covered[:, 128:132].sum(axis=0).max()
    silent = covered[:, 128 + 4 * 10 : 132 + 4 * 10].sum(axis=0).max()
    assert middle > 55 > 10 > silent
    later, _ = bars.coverage(300)
    assert np.allclose(later[:, :200], covered[:, 4:204], atol=1e-4)
    assert bar_levels(np.zeros((RATE_HZ, 2), np.float32), RATE_HZ).max() == np.float32(0.06)


def test_a_cover_is_cut_to_a_square_and_a_bad_one_is_drawn() -> None:
    picture = io.BytesIO()
    Image.new("RGB", (400, 100), "#00ff00").save(picture, "PNG")
    assert cover_image(card(cover=picture.getvalue()), 64).getpixel((32, 32)) == (0, 255, 0)
    drawn = [cover_image(card(cover=content), 64).tobytes() for content in (None, b"no image", b"\x89PNG\r\n\x1a\n12")]
    assert drawn[0] == drawn[1] == drawn[2]
    other = Card("Other", "Other", 1, ())
    assert cover_image(other, 64).tobytes() != drawn[0]


@pytest.mark.parametrize(
    "title", ["", "x", "W" * 400, "word " * 200, "שלום " * 40, "مرحبا بكم", "今天我们谈花园" * 9, "a\u0301" * 99]
)
def test_any_title_stays_in_its_box(title: str) -> None:
    layout = layout_of("square", SIZES["square"])
    plain = np.asarray(ground(Card("", "", 1, (), None), layout)).astype(int)
    shown = np.asarray(ground(Card(title, "", 1, (), None), layout)).astype(int)
    changed = np.abs(plain - shown).max(axis=2) > 0
    changed[layout.cover.top : layout.cover.bottom, layout.cover.left : layout.cover.right] = False
    box = layout.title
    outside = changed.copy()
    outside[box.top - 4 : box.bottom + 4, box.left - 4 : box.right + 4] = False
    assert not outside.any()
    assert changed.any() == bool(title)


def test_a_font_that_has_the_letters_is_chosen_and_what_none_has_is_named() -> None:
    assert missing_characters(["A garden — Übung, Ελλάς, Россия 12"]) == ""
    assert missing_characters(["\U000f0000a\U000f0000"]) == "\U000f0000"
    font = font_for("garden", 20)
    assert clipped_to(10_000, "garden", font) == "garden"
    assert clipped_to(60, "garden on the roof", font).endswith("…")
    assert font.getlength(clipped_to(60, "garden on the roof", font)) <= 60


@pytest.mark.parametrize("name", ["vbr.mp3", "tone.m4a", "tone.opus", "tone.webm", "hole.flac"])
def test_a_stretch_is_the_same_samples_wherever_it_begins(name: str) -> None:
    whole = stretch(AUDIO / name, 0, 4_000)
    assert whole.shape == (4 * RATE_HZ, 2)
    piece = stretch(AUDIO / name, 2_900, 3_400)
    start = 2_900 * RATE_HZ // 1000
    assert np.abs(piece - whole[start : start + len(piece)]).max() < 0.02


def test_a_stretch_in_a_file_is_the_same_and_leaves_no_file(tmp_path: Path) -> None:
    samples = stretch(AUDIO / "vbr.mp3", 500, 2_000, tmp_path)
    assert isinstance(samples, np.memmap)
    assert np.array_equal(samples, stretch(AUDIO / "vbr.mp3", 500, 2_000))
    assert list(tmp_path.iterdir()) == []


def test_bars_of_minutes_are_measured_as_a_whole() -> None:
    sound = np.concatenate([tone(61), tone(61) / 4])
    levels = bar_levels(sound, RATE_HZ)
    assert levels.shape == (20 * len(sound) // RATE_HZ,)
    assert levels[-15] < 0.6 < levels[5]


def test_a_stretch_after_the_end_is_silent() -> None:
    assert not stretch(AUDIO / "tone.opus", 60_000, 60_500).any()


def test_the_picture_in_the_tags_is_found(tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), "#0000ff").save(picture, "PNG")
    tagged = tmp_path / "tagged.mp3"
    with av.open(str(AUDIO / "cbr.mp3")) as source, av.open(str(tagged), "w", format="mp3") as target:
        sound = target.add_stream_from_template(source.streams.audio[0])
        cover: Any = target.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        target.mux(cover.encode(av.VideoFrame.from_image(Image.open(picture))))
        target.mux(cover.encode(None))
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = sound
                target.mux(packet)
    found = attached_picture(tagged)
    assert found is not None
    assert Image.open(io.BytesIO(found)).size == (32, 32)
    assert attached_picture(AUDIO / "cbr.mp3") is None


def test_no_page_is_the_bare_ground() -> None:
    layout: Layout = layout_of("square", SIZES["square"])
    box = layout.captions
    bare = np.asarray(ground(card(), layout))[box.top : box.bottom, box.left : box.right]
    assert np.array_equal(np.asarray(caption_image(None, 0, layout)), bare)
